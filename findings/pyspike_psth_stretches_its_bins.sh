#!/usr/bin/env bash
# pyspike 0.9.0: `psth` does not use the width of its bins: they are stretched to a whole number of bins, up to almost
# twice.
#
# Input: spikes at 0.5, 1.5, ..., 9.5 in an interval of 10, widths of 1, 3, 4 and 6; then an interval of 0.3 with a
# width of 0.1.
#
# Expected: bins of that width, or an error: `bin_size` is documented as the width of the bins. For 0.3 and 0.1 three
# bins.
#
# Seen: widths of 1, 3.33, 5 and 10 with 1, 3 (or 4), 5 and 10 spikes each, and two bins of 0.15. Counts that are
# divided by `bin_size` for a rate are too high, by two thirds for a width of 6.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "pyspike==0.9.0" "numpy==2.4.6"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import numpy as np
from pyspike import SpikeTrain, psth

widths = []
for end, size in ((10, 1), (10, 3), (10, 4), (10, 6), (0.3, 0.1)):
    result = psth([SpikeTrain(end * (np.arange(10) + 0.5) / 10, edges=[0, end])], bin_size=size)
    widths.append(float(result.x[1] - result.x[0]))
    print(f"interval {end}, bin_size {size}: bins of {widths[-1]:.2f}, counts {result.y.tolist()}")
assert np.allclose(widths, [1, 10 / 3, 5, 10, 0.15])
PYTHON

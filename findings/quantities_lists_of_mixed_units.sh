#!/usr/bin/env bash
# quantities 0.16.4: `Quantity([...], units)` takes a list of quantities in other units by their bare numbers.
#
# Input: a list of 1 s and 500 ms as a quantity in s, and one of 1 nA and 200 pA in A; a single quantity in another unit
# beside it.
#
# Expected: 1 s and 0.5 s, or an error: `Quantity(500 * ms, 's')` is 0.5 s.
#
# Seen: 1 s and 500 s; 1 A and 200 A. `[...] * s` does that, too, and `numpy.mean` of such a list is 250.5 without a
# unit.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "quantities==0.16.4" "numpy==2.4.6"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import numpy as np
import quantities as pq

times = pq.Quantity([1 * pq.s, 500 * pq.ms], "s")
currents = pq.Quantity([1 * pq.nA, 200 * pq.pA], "A")
single = pq.Quantity(500 * pq.ms, "s")
print(f"list: {times}, {currents}; single: {single}; times s: {[1 * pq.s, 500 * pq.ms] * pq.s}; mean: {np.mean([1 * pq.s, 500 * pq.ms])}")
assert times.magnitude.tolist() == [1, 500]
assert currents.magnitude.tolist() == [1, 200]
assert float(single.magnitude) == 0.5
PYTHON

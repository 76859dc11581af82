#!/usr/bin/env bash
# tonic 1.7.0: `ToAveragedTimesurface` gives one recording different surfaces, by how long its clock has been running.
#
# Input: two events of neighbouring pixels, 50 microseconds apart, tau = 100, that start at 0, after 17 minutes and
# after 100 minutes.
#
# Expected: the same each time: the representation takes differences of times only. A neighbour of 50 counts exp(-0.5) =
# 0.607.
#
# Seen: 0.607, 0.527, 1.000. Times are turned into 32-bit floats before they are subtracted, which have steps of 64 and
# of 512 microseconds there. With times since 1970 all neighbours count 1.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "tonic==1.7.0" "numpy==2.4.6"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import numpy as np
from tonic.transforms import ToAveragedTimesurface

seen = []
for start in (0, 1_000_000_000, 6_000_000_000):
    events = np.zeros(2, [("x", np.int16), ("y", np.int16), ("t", np.int64), ("p", np.int8)])
    events["t"], events["x"], events["y"], events["p"] = [start, start + 50], [2, 3], 3, 1
    surface = ToAveragedTimesurface(sensor_size=(10, 10, 2), tau=100)(events)[0, 1]
    seen.append(2 * float(surface[2, 1]))
    print(f"start {start / 6e7:5.1f} min: the neighbour counts {seen[-1]:.3f}")
assert abs(seen[0] - np.exp(-0.5)) < 1e-4
assert abs(seen[1] - np.exp(-0.64)) < 1e-3
assert seen[2] == 1.0
PYTHON

#!/usr/bin/env bash
# tonic 1.7.0: the linear decay of `ToAveragedTimesurface` goes on below zero: older events count against newer ones.
#
# Input: two events of neighbouring pixels, 900 microseconds apart, with `decay='lin'` and all else by default (tau 100,
# window 1,000).
#
# Expected: 0 for the older one: a linear decay ends where it has reached zero, after 3 tau here.
#
# Seen: -2: it is twice as strong as a new event, with the wrong sign. With what is the default, all between 300 and
# 1,000 microseconds is subtracted.
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

events = np.zeros(2, [("x", np.int16), ("y", np.int16), ("t", np.int64), ("p", np.int8)])
events["t"], events["x"], events["y"], events["p"] = [0, 900], [2, 3], 3, 1
surfaces = {d: 2 * ToAveragedTimesurface(sensor_size=(10, 10, 2), decay=d)(events)[0, 1] for d in ("exp", "lin")}
for name, surface in surfaces.items():
    print(f"{name}: the neighbour of 900 microseconds ago counts {surface[2, 1]:.4f}")
assert abs(surfaces["lin"][2, 1] + 2) < 1e-5
PYTHON

#!/usr/bin/env bash
# tonic 1.7.0: `ToAveragedTimesurface` does not see neighbours to the left and above if coordinates are unsigned, as
# several readers give them.
#
# Input: an event at x = 3, after events at x = 2 and x = 4, with coordinates as int16 and as uint16.
#
# Expected: both neighbours in the surface.
#
# Seen: both with int16, and only the right one with uint16: the difference 2 - 3 wraps to 65,535, which is far away.
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

rows = []
for kind in (np.int16, np.uint16):
    events = np.zeros(3, [("x", kind), ("y", kind), ("t", np.int64), ("p", np.int8)])
    events["t"], events["x"], events["y"], events["p"] = [0, 0, 50], [2, 4, 3], 3, 1
    surface = ToAveragedTimesurface(sensor_size=(10, 10, 2), surface_size=3, tau=100)(events)[0, 1]
    rows.append(surface[1].round(3).tolist())
    print(f"{np.dtype(kind)}: the row of the event is {rows[-1]}")
assert rows[0][0] == rows[0][2] > 0.2
assert rows[1][0] == 0 and rows[1][2] == rows[0][2]
PYTHON

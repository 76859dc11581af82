#!/usr/bin/env bash
# tonic 1.7.0: `ToVoxelGrid` counts OFF events as ON if the polarity is a Boolean, as it is in DVSGesture, CIFAR10DVS
# and other data sets of tonic.
#
# Input: five OFF and no ON events, with the polarity as int8 and as bool; `tonic.io.events_struct` has bool.
#
# Expected: a sum below zero both times: OFF counts as -1.
#
# Seen: -4 with integers and +4 with Booleans. The value -1 is written into the array of polarities, and -1 as a Boolean
# is true.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "tonic==1.7.0" "numpy==2.4.6"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import numpy as np
from tonic.io import events_struct
from tonic.transforms import ToVoxelGrid

sums = []
for kind in (np.dtype([("x", np.int16), ("y", np.int16), ("t", np.int64), ("p", np.int8)]), events_struct):
    events = np.zeros(5, kind)
    events["t"] = [0, 100, 200, 300, 400]
    sums.append(float(ToVoxelGrid(sensor_size=(2, 2, 2), n_time_bins=5)(events).sum()))
    print(f"polarity as {kind['p']}: the sum of five OFF events is {sums[-1]:.0f}")
assert sums == [-4.0, 4.0]
PYTHON

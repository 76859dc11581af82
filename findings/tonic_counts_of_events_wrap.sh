#!/usr/bin/env bash
# tonic 1.7.0: frames count events in 16 bits, and the counts wrap without a word.
#
# Input: 40,000 events of one pixel at one time and one event a millisecond later; `ToFrame(n_time_bins=1)`.
#
# Expected: 40,000 (the last event is left out by design of the bins).
#
# Seen: -25536.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "tonic==1.7.0" "numpy==2.4.6"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import numpy as np
from tonic.transforms import ToFrame

events = np.zeros(40_001, [("t", int), ("x", int), ("p", int)])
events["t"][-1] = 1000
frame = ToFrame(sensor_size=(4, 1, 1), n_time_bins=1)(events)
print(f"{frame.dtype}: the counts are {frame.min()} to {frame.max()}")
assert frame.dtype == np.int16
assert frame.min() == -25536
PYTHON

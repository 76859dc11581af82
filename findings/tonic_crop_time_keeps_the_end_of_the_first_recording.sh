#!/usr/bin/env bash
# tonic 1.7.0: `CropTime(min=...)` without `max` cuts every later recording at the end of the first one.
#
# Input: one transform `CropTime(min=0)`, as a data set uses it: a recording of 3 ms, then one of 6 ms.
#
# Expected: all events of both. `max` is documented as the time above which events are dropped, and none was given.
#
# Seen: 3 of 3 events, then 3 of 6. The first call writes the last time of its recording into `max`, and there it stays.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "tonic==1.7.0" "numpy==2.4.6"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import numpy as np
from tonic.transforms import CropTime

def recording(n):
    events = np.zeros(n, [("t", int), ("x", int), ("y", int), ("p", int)])
    events["t"] = 1000 * np.arange(1, n + 1)
    return events

crop = CropTime(min=0)
first, second = len(crop(recording(3))), len(crop(recording(6)))
print(f"kept: {first} of 3, then {second} of 6; max is now {crop.max}")
assert (first, second) == (3, 3)
PYTHON

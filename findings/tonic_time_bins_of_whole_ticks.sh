#!/usr/bin/env bash
# tonic 1.7.0: a fixed number of time bins covers only a part of a recording whose times are coarse: their length is cut
# to a whole number.
#
# Input: 200 events, one each millisecond, times in milliseconds as after `Downsample(time_factor=0.001)`;
# `ToFrame(n_time_bins=100)` and 150 bins.
#
# Expected: all events, or all but the last, in the frames, with bins of 2 ms and of 1.3 ms.
#
# Seen: 100 and 150 events: the bins have 1 ms, and all that comes after the first 100 or 150 ms is not in any frame.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "tonic==1.7.0" "numpy==2.4.6"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import numpy as np
from tonic.transforms import Compose, Downsample, ToFrame

events = np.zeros(200, [("t", np.int64), ("x", int), ("y", int), ("p", int)])
events["t"] = 1000 * np.arange(200)
seen = []
for bins in (100, 150):
    frames = Compose([Downsample(time_factor=0.001), ToFrame(sensor_size=(1, 1, 2), n_time_bins=bins)])(events)
    seen.append(int(frames.sum()))
    print(f"{bins} frames hold {seen[-1]} of 200 events")
assert seen == [100, 150]
PYTHON

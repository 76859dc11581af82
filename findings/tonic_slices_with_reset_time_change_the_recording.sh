#!/usr/bin/env bash
# tonic 1.7.0: `SliceByTime(reset_time=True)` writes into the recording that it slices, and with an overlap subtracts
# more than once. In a `SlicedDataset` it does nothing.
#
# Input: six events from 0 to 250, windows of 100; without overlap, with one of 50, and in a `SlicedDataset`.
#
# Expected: slices with times from 0 to 99, the recording as it was: the documentation names it as of use for the
# `start_time` and `end_time` of `ToFrame`.
#
# Seen: the times in the recording itself are changed, so that slicing it again gives something else. With the overlap
# times reach -350: slices are views of one array, and each event is in two of them. A `SlicedDataset` does not use the
# method that resets.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "tonic==1.7.0" "numpy==2.4.6"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import numpy as np
from tonic import SlicedDataset
from tonic.slicers import SliceByTime

def recording():
    events = np.zeros(6, [("t", int), ("x", int), ("y", int), ("p", int)])
    events["t"] = [0, 50, 100, 150, 200, 250]
    return events

plain, overlapping = recording(), recording()
SliceByTime(time_window=100, reset_time=True).slice(plain, None)
slices, _ = SliceByTime(time_window=100, overlap=50, reset_time=True).slice(overlapping, None)
data = SlicedDataset([(recording(), 0)], slicer=SliceByTime(time_window=100, reset_time=True))
print("the recording afterwards:", plain["t"].tolist())
print("slices with overlap:", [s["t"].tolist() for s in slices])
print("second slice of a SlicedDataset:", data[1][0]["t"].tolist())
assert plain["t"].tolist() == [0, 50, 0, 50, 200, 250]
assert min(s["t"].min() for s in slices) == -350
assert data[1][0]["t"].tolist() == [100, 150]
PYTHON

#!/usr/bin/env bash
# tonic 1.7.0: `Denoise(filter_time)` filters nothing until `filter_time` has passed.
#
# Input: five events, far from each other in space and one millisecond apart, `filter_time` 10 ms; the same 20 ms later.
#
# Expected: no event left, both times: an event is dropped if no other one occurred within one pixel and `filter_time`.
#
# Seen: all five are kept in the first 10 ms, none later. The memory of each pixel starts as if there had been an event
# at time 0. With recordings that start at 0, as those of most data sets, all noise of the start stays.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "tonic==1.7.0" "numpy==2.4.6"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import numpy as np
from tonic.transforms import Denoise

events = np.zeros(5, [("t", int), ("x", int), ("y", int), ("p", int)])
events["t"] = 1000 * np.arange(1, 6)
events["x"] = events["y"] = 10 * np.arange(5)
kept = []
for start in (0, 20_000):
    moved = events.copy()
    moved["t"] += start
    kept.append(len(Denoise(filter_time=10_000)(moved)))
print(f"isolated events kept: {kept[0]} of 5 at the start, {kept[1]} of 5 later")
assert kept == [5, 0]
PYTHON

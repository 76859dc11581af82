#!/usr/bin/env bash
# tonic 1.7.0: `DropEventByArea(area_ratio=(a, b))` draws its ratio from b to 1 (from 0 to 1 if a is 0), and not from a
# to b.
#
# Input: one event in each of 100 x 100 pixels, the range (0.05, 0.1) and the range (0.0, 0.1), 200 times each.
#
# Expected: a box of at most 0.1 of each side, that is 1 % of the events: the ratio is chosen in [min, max).
#
# Seen: up to 98 % of the events are dropped, and 0.1 is about the least ratio of the first range. The two bounds reach
# the random generator joined by `and`, as one number, which it takes as the lower bound, beside an upper bound of 1.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "tonic==1.7.0" "numpy==2.4.6"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import numpy as np
from tonic.transforms import DropEventByArea

np.random.seed(0)
x, y = np.meshgrid(np.arange(100), np.arange(100))
events = np.zeros(10_000, [("t", int), ("x", int), ("y", int), ("p", int)])
events["t"], events["x"], events["y"] = np.arange(10_000), x.ravel(), y.ravel()
for low, high in ((0.05, 0.1), (0.0, 0.1)):
    drop = DropEventByArea(sensor_size=(100, 100, 2), area_ratio=(low, high))
    sides = [(1 - len(drop(events)) / 10_000) ** 0.5 for _ in range(200)]
    print(f"range ({low}, {high}): side of the box {min(sides):.2f} to {max(sides):.2f}, mean {np.mean(sides):.2f}")
    assert max(sides) > 0.9 and np.mean(sides) > 0.4
PYTHON

#!/usr/bin/env bash
# tonic 1.7.0: `SpatialJitter` moves all events by half a pixel to the left and half a pixel up on average.
#
# Input: 10,000 events at pixel (50, 50); variances of 1, as by default, and of 0.0001, a hundredth of a pixel.
#
# Expected: a mean position of 50, which the documentation gives as the mean of the distribution; and no move at all for
# a hundredth of a pixel.
#
# Seen: 49.5, and with a hundredth of a pixel half of all events change their pixel. The sum is a float, and putting it
# into integer coordinates cuts the fraction off.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "tonic==1.7.0" "numpy==2.4.6"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import numpy as np
from tonic.transforms import SpatialJitter

np.random.seed(0)
events = np.zeros(10_000, [("t", int), ("x", np.int16), ("y", np.int16), ("p", int)])
events["x"] = events["y"] = 50
means, moved = [], []
for variance in (1, 0.0001):
    after = SpatialJitter(sensor_size=(100, 100, 2), var_x=variance, var_y=variance)(events)
    means.append((float(after["x"].mean()), float(after["y"].mean())))
    moved.append(float((after["x"] != 50).mean()))
    print(f"variance {variance}: mean x {means[-1][0]:.2f}, mean y {means[-1][1]:.2f}, x changed in {100 * moved[-1]:.0f} %")
assert all(abs(m - 49.5) < 0.05 for pair in means for m in pair)
assert abs(moved[1] - 0.5) < 0.03
PYTHON

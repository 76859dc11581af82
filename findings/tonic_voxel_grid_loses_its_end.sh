#!/usr/bin/env bash
# tonic 1.7.0: the voxel grid of `ToVoxelGrid` is not that of the paper it names, and loses events at the end.
#
# Input: 1,001 ON events, one each millisecond from 0 to 1 s, two bins and five.
#
# Expected: 1,001 in all. Zhu et al. (2019) scale time to 0 ... B - 1, so that the first event is all in the first bin,
# the last one all in the last, and nothing is lost. The code that the source names does so as well.
#
# Seen: 750 of 1,001 with two bins and 900 with five: time is scaled to 0 ... B, and what belongs to the bin after the
# last one is dropped. The last event is lost entirely.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "tonic==1.7.0" "numpy==2.4.6"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import numpy as np
from tonic.transforms import ToVoxelGrid

events = np.zeros(1001, [("x", int), ("y", int), ("t", int), ("p", int)])
events["t"], events["p"] = 1000 * np.arange(1001), 1
for bins, expected in ((2, 750), (5, 900)):
    grid = ToVoxelGrid(sensor_size=(1, 1, 2), n_time_bins=bins)(events.copy()).ravel()
    scaled = (bins - 1) * events["t"] / 1e6
    paper = [np.maximum(0, 1 - np.abs(b - scaled)).sum() for b in range(bins)]
    print(f"{bins} bins: {grid.round(1)}, sum {grid.sum():.1f}; the paper: {np.round(paper, 1)}, sum {sum(paper):.1f}")
    assert abs(grid.sum() - expected) < 1 and abs(sum(paper) - 1001) < 1e-6
PYTHON

#!/usr/bin/env bash
# elephant 1.2.1 (neo 0.14.6, quantities 0.16.4): `cv2` and `lv` of intervals in an unsigned integer type are wrong by
# many orders of magnitude.
#
# Input: the intervals 300, 450, 670, 930, 610, 500 in samples, as int64, and as uint64 and uint32, the types in which
# several spike sorters store times.
#
# Expected: 0.35 and 0.09 in each type: they are at most 2 and 3 for any intervals.
#
# Seen: right for int64; about 1e16 and 2.5e32 for uint64, 3e6 and 1e13 for uint32. Differences of neighbouring
# intervals are taken in that type, and wrap where an interval is shorter than the one before it. The comment in the
# source says that the values are cast to float.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "elephant==1.2.1" "neo==0.14.6" "quantities==0.16.4" "numpy==2.4.6" "scipy==1.17.1"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import numpy as np
from elephant.statistics import cv2, lv

intervals = np.array([300, 450, 670, 930, 610, 500])
seen = {}
for kind in (np.int64, np.uint64, np.uint32):
    seen[kind] = float(cv2(intervals.astype(kind))), float(lv(intervals.astype(kind)))
    print(f"{np.dtype(kind)}: CV2 {seen[kind][0]:.4g}, LV {seen[kind][1]:.4g}")
assert seen[np.int64][0] < 2 and seen[np.int64][1] < 3
assert seen[np.uint64][0] > 1e9 and seen[np.uint64][1] > 1e9
PYTHON

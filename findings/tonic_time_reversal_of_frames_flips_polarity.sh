#!/usr/bin/env bash
# tonic 1.7.0: `RandomTimeReversal(flip_polarities=False)` flips the polarities of frames.
#
# Input: four frames with one ON event in the first, p = 1, `flip_polarities=False`; the same as events.
#
# Expected: one ON event in the last frame.
#
# Seen: one OFF event in the last frame. For events the parameter works, for frames the axis of polarities is reversed
# in any case.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "tonic==1.7.0" "numpy==2.4.6"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import numpy as np
from tonic.transforms import RandomTimeReversal

reverse = RandomTimeReversal(p=1.0, flip_polarities=False)
frames = np.zeros((4, 2, 1, 1), int)
frames[0, 1] = 1
events = np.zeros(2, [("t", int), ("x", int), ("y", int), ("p", int)])
events["t"], events["p"] = [0, 3], 1
turned = reverse(frames)[:, :, 0, 0]
print(f"events: polarities {reverse(events)['p'].tolist()}; frames (time x polarity): {turned.tolist()}")
assert reverse(events)["p"].tolist() == [1, 1]
assert turned[3].tolist() == [1, 0]
PYTHON

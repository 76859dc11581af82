#!/usr/bin/env bash
# tonic 1.7.0: `RandomFlipPolarity(p)` does not flip individual events: it flips all of a recording or none. Polarities
# of -1 become 0.
#
# Input: a recording of 1,000 ON events, p = 0.5, 50 times; then the polarities -1 and 1 with p = 1.
#
# Expected: about 500 events flipped each time: the documentation says polarity of individual events, with a probability
# for individual event polarities. And -1 to 1, as it says, too.
#
# Seen: 0 or 1,000 each time. -1 and 1 both become 0, so that a recording with -1 for OFF is left with one polarity.
# `RandomTimeReversal` does that as well.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "tonic==1.7.0" "numpy==2.4.6"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import numpy as np
from tonic.transforms import RandomFlipPolarity, RandomTimeReversal

np.random.seed(0)
events = np.zeros(1000, [("t", int), ("x", int), ("y", int), ("p", int)])
events["t"], events["p"] = np.arange(1000), 1
flipped = [int((RandomFlipPolarity(p=0.5)(events)["p"] == 0).sum()) for _ in range(50)]
print("flipped of 1000:", sorted(set(flipped)))
signed = events[:2].copy()
signed["p"] = -1, 1
after = RandomFlipPolarity(p=1.0)(signed)["p"].tolist()
turned = RandomTimeReversal(p=1.0)(signed)["p"].tolist()
print(f"polarities -1, 1: flipped {after}, reversed in time {turned}")
assert set(flipped) == {0, 1000}
assert after == turned == [0, 0]
PYTHON

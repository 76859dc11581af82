#!/usr/bin/env bash
# bindsnet 0.3.4 (PyTorch 2.14.1): `rank_order` gives no spike for the weakest inputs, and does not code ranks.
#
# Input: four inputs, 1, 2, 3 and 4, with 100 steps; then 1, 1, 1 and 4; then 1, 60, 61 and 62.
#
# Expected: one spike per neuron, as documented, in the order of the intensities.
#
# Seen: the input of 1 is silent each time, three of four units in the second case. In the third the other three fire in
# step 1, all of them: a time is the inverse of the intensity, scaled to `time`, which is the first step that is left
# out, and not a rank.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "bindsnet==0.3.4" "torch==2.14.1" "torchvision==0.29.1" "numpy==2.4.6"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import torch
from bindsnet.encoding import rank_order

seen = []
for inputs in ([1.0, 2.0, 3.0, 4.0], [1.0, 1.0, 1.0, 4.0], [1.0, 60.0, 61.0, 62.0]):
    spikes = rank_order(torch.tensor(inputs), time=100)
    seen.append([int(s.argmax()) if s.any() else None for s in spikes.T])
    print(f"inputs {inputs}: spikes in steps {seen[-1]}")
assert seen[0][0] is None and None not in seen[0][1:]
assert seen[1][:3] == [None] * 3
assert seen[2][0] is None and len(set(seen[2][1:])) == 1
PYTHON

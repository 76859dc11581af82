#!/usr/bin/env bash
# bindsnet 0.3.4 (PyTorch 2.14.1): `single` puts all its spikes into the first step.
#
# Input: inputs of 1 to 5, ten steps, a sparsity of 0.6.
#
# Expected: earlier spikes for stronger inputs: the documentation says timing-based encoding, and that a spike occurs
# earlier if the intensity is higher.
#
# Seen: the inputs of 3, 4 and 5 have a spike in step 0, the others none. It is a threshold at a quantile, without time.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "bindsnet==0.3.4" "torch==2.14.1" "torchvision==0.29.1" "numpy==2.4.6"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import torch
from bindsnet.encoding import single

spikes = single(torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]), time=10, sparsity=0.6)
places = spikes.nonzero().tolist()
print("spikes (step, unit):", places)
assert places == [[0, 2], [0, 3], [0, 4]]
PYTHON

#!/usr/bin/env bash
# bindsnet 0.3.4 (PyTorch 2.14.1): `bernoulli` and `rank_order` divide the tensor that they are given by its maximum, in
# place.
#
# Input: a picture with values up to 255, encoded by `bernoulli`, then by `poisson` with rates in Hz; the same without
# `bernoulli`.
#
# Expected: the picture unchanged, and 255 Hz at its brightest pixel.
#
# Seen: the picture is scaled to [0, 1] afterwards, and `poisson` gives 0 or 1 spike in a second. The scaling is written
# to a view of the input.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "bindsnet==0.3.4" "torch==2.14.1" "torchvision==0.29.1" "numpy==2.4.6"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import torch
from bindsnet.encoding import bernoulli, poisson, rank_order

torch.manual_seed(0)
alone = poisson(torch.tensor([[0.0, 128.0], [64.0, 255.0]]), time=1000).sum(0)
picture = torch.tensor([[0.0, 128.0], [64.0, 255.0]])
bernoulli(picture, time=10)
after = poisson(picture, time=1000).sum(0)
ranked = torch.tensor([1.0, 2.0, 4.0])
rank_order(ranked, time=10)
print(f"spikes in 1 s: {alone.tolist()}; after bernoulli: {after.tolist()}")
print(f"the picture is now {picture.tolist()}, the input of rank_order, which was [1, 2, 4], {ranked.tolist()}")
assert picture.max() == 1 and ranked.max() == 1
assert int(alone.max()) > 200 and int(after.max()) <= 2
PYTHON

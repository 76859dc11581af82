#!/usr/bin/env bash
# snnTorch 1.0.0 (PyTorch 2.14.1): the surrogate `triangular` has a negative derivative above the threshold, and no triangle.
#
# Input: `snntorch.surrogate.triangular()` at nine potentials from -2 to 2, relative to the threshold.
#
# Expected: a derivative that is a triangle, largest at the threshold and never negative: what papers and other packages
# call so.
#
# Seen: 1 below the threshold and -1 at and above it, however far. It is the slope of a triangle, and not a triangle: where
# a unit spikes, descent moves its potential the wrong way.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "snntorch==1.0.0" "torch==2.14.1" "numpy==2.4.6"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import torch
from snntorch import surrogate

above = torch.linspace(-2, 2, 9, requires_grad=True)
spikes = surrogate.triangular()(above)
(slope,) = torch.autograd.grad(spikes.sum(), above)
print("above threshold:", above.tolist())
print("spikes:         ", spikes.tolist())
print("derivative:     ", slope.tolist())
assert slope.tolist() == [1.0] * 4 + [-1.0] * 5
PYTHON

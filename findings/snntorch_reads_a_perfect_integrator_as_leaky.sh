#!/usr/bin/env bash
# snnTorch 1.0.0 (nir 1.0.8, nirtorch 2.6): the node IF of NIR, an integrator without a leak, is read as a neuron that keeps
# 0.9 of its potential in each step.
#
# Input: input -> affine (1) -> IF with r = 1 and threshold 1 -> output, a constant input of 0.1 for 200 steps.
#
# Expected: dv/dt = r I; the unit spikes after every ten or eleven steps.
#
# Seen: the module is `Leaky(beta=0.9)`, whose potential comes near 1 and never passes it. No spike.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "snntorch==1.0.0" "nir==1.0.8" "nirtorch==2.6" "torch==2.14.1" "numpy==2.4.6"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import contextlib
import io

import nir
import numpy as np
import snntorch
import torch
from snntorch.import_nir import import_from_nir

n = np.ones(1)
graph = nir.NIRGraph.from_list(nir.Affine(np.eye(1), 0 * n), nir.IF(r=n, v_threshold=n, v_reset=0 * n))
with contextlib.redirect_stdout(io.StringIO()):
    module = import_from_nir(graph)
(neuron,) = [part for part in module.modules() if isinstance(part, snntorch.Leaky)]
state, spikes = None, 0.0
for _ in range(200):
    out, state = module(torch.full((1, 1), 0.1), state)
    spikes += float((out[0] if isinstance(out, tuple) else out).flatten()[0])
print(f"read as a Leaky with beta = {float(neuron.beta):.1f}: {spikes:.0f} spikes in 200 steps")
assert abs(float(neuron.beta) - 0.9) < 1e-6
assert spikes == 0
PYTHON

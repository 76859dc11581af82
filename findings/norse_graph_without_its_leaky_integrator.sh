#!/usr/bin/env bash
# norse 1.1.0 (nir 1.0.8, nirtorch 2.6): a leaky integrator in a graph of NIR vanishes. No error, no warning.
#
# Input: input -> affine (1) -> LI with tau = 20 ms -> output: a usual readout. A single 1, then zeros.
#
# Expected: a potential that decays over 20 ms; or that the reader refuses a node that it does not know.
#
# Seen: what comes out is what came in, 1, 0, 0, 0, ...
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "norse==1.1.0" "nir==1.0.8" "nirtorch==2.6" "torch==2.14.1" "numpy==2.4.6"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import nir
import norse.torch as norse
import numpy as np
import torch

n = np.ones(1)
graph = nir.NIRGraph.from_list(nir.Affine(np.eye(1), 0 * n), nir.LI(tau=0.02 * n, r=n, v_leak=0 * n))
module, state, seen = norse.from_nir(graph), None, []
for t in range(5):
    out, state = module(torch.full((1, 1), float(t == 0)), state)
    seen.append(float(out.flatten()[0].detach()))
print("out:", seen)
assert seen == [1.0, 0.0, 0.0, 0.0, 0.0]
PYTHON

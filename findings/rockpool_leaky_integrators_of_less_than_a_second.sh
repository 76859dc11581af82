#!/usr/bin/env bash
# rockpool 3.1.0 (nir 1.0.8, nirtorch 2.6): the time constant of a leaky integrator is cut to whole seconds when a graph of
# NIR is read. One of 20 ms becomes 0.
#
# Input: input -> affine (identity) -> LI with tau = 20 ms, r = tau / dt - 1 for dt = 1 ms -> output, two units; ones for
# five steps. The same with tau = 2.5 s.
#
# Expected: tau is in seconds in NIR and in rockpool, so 0.02 and 2.5.
#
# Seen: 0 and 2. With 0 all outputs are 0.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "rockpool[torch]==3.1.0" "nir==1.0.8" "nirtorch==2.6" "torch==2.14.1" "numpy==2.4.6"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import nir
import numpy as np
import torch
from rockpool.nn.modules.torch import ExpSynTorch
from rockpool.nn.modules.torch.nir import from_nir

n = np.ones(2)


def read(tau):
    layer = nir.LI(tau=tau * n, r=(tau / 1e-3 - 1) * n, v_leak=0 * n)
    module = from_nir(nir.NIRGraph.from_list(nir.Affine(np.eye(2), 0 * n), layer))
    (synapse,) = [part for part in module.modules() if isinstance(part, ExpSynTorch)]
    out = module(torch.ones(1, 5, 2))
    return float(synapse.tau.flatten()[0]), (out[0] if isinstance(out, tuple) else out).detach()


(short, silent), (long, _) = read(0.02), read(2.5)
print(f"tau = 0.02 s is read as {short:g}, 2.5 s as {long:g}; the output of the first is {silent.abs().max():g} at most")
assert short == 0 and long == 2
assert not silent.any()
PYTHON

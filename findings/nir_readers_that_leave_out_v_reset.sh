#!/usr/bin/env bash
# norse 1.1.0 and snnTorch 1.0.0 (nir 1.0.8, nirtorch 2.6): the reset potential of a LIF in a graph of NIR is not read.
#
# Input: input -> affine (1) -> LIF with tau = 20 ms, threshold 1, and v_reset 0 or -0.5 -> output; a constant input.
#
# Expected: from -0.5 it takes longer to the threshold, so that spikes come more rarely.
#
# Seen: the same spikes, in both packages, without a warning.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "norse==1.1.0" "snntorch==1.0.0" "nir==1.0.8" "nirtorch==2.6" "torch==2.14.1" \
    "numpy==2.4.6"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import contextlib
import io

import nir
import norse.torch as norse
import numpy as np
import torch
from snntorch.import_nir import import_from_nir

n = np.ones(1)


def spikes(read, r, current, v_reset):
    lif = nir.LIF(tau=0.02 * n, r=r * n, v_leak=0 * n, v_threshold=n, v_reset=v_reset * n)
    graph = nir.NIRGraph.from_list(nir.Affine(np.eye(1), 0 * n), lif)
    with contextlib.redirect_stdout(io.StringIO()):
        module, state, found = read(graph), None, []
        for t in range(100):
            out, state = module(torch.full((1, 1), current), state)
            if float((out[0] if isinstance(out, tuple) else out).flatten()[0]):
                found.append(t)
    return found


for name, given in (("norse", (norse.from_nir, 1.0, 1.5)), ("snnTorch", (import_from_nir, 0.02 / 1e-4, 0.3))):
    at_zero, below = spikes(*given, 0.0), spikes(*given, -0.5)
    print(f"{name}: {at_zero[:4]} from 0, {below[:4]} from -0.5")
    assert at_zero == below and len(at_zero) > 3
PYTHON

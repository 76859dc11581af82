#!/usr/bin/env bash
# snnTorch 1.0.0 (nir 1.0.8, nirtorch 2.6): a layer that hears itself, read from a graph of NIR, hears its input through
# the recurrent weights.
#
# Input: input -> affine (identity) -> LIF -> output, and LIF -> linear (w times identity) -> LIF, two units, a constant
# input of 0.4 for 40 steps. The LIF has r = tau / 1e-4, which snnTorch asks for.
#
# Expected: with w = 0 the loop adds nothing, and a unit spikes whenever 0.4 has added up to its threshold of 1, in every
# third step.
#
# Seen: the reader makes of the loop a graph of its own, whose input leads to the linear node. With w = 0 nothing arrives,
# and no unit ever spikes; with w = 0.5 half of the input arrives.
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
import torch
from snntorch.import_nir import import_from_nir

n, tau = np.ones(2), 0.02


def spikes(w):
    nodes = {
        "input": nir.Input({"input": np.array([2])}),
        "fc": nir.Affine(np.eye(2), 0 * n),
        "layer.lif": nir.LIF(tau=tau * n, r=tau / 1e-4 * n, v_leak=0 * n, v_threshold=n, v_reset=0 * n),
        "layer.w_rec": nir.Linear(w * np.eye(2)),
        "output": nir.Output({"output": np.array([2])}),
    }
    edges = [("input", "fc"), ("fc", "layer.lif"), ("layer.lif", "layer.w_rec"), ("layer.w_rec", "layer.lif")]
    graph = nir.NIRGraph(nodes, [*edges, ("layer.lif", "output")])
    with contextlib.redirect_stdout(io.StringIO()):
        module, state, found = import_from_nir(graph), None, []
        for t in range(40):
            out, state = module(torch.full((1, 2), 0.4), state)
            if float((out[0] if isinstance(out, tuple) else out).flatten()[0]):
                found.append(t)
    return found


without, half = spikes(0.0), spikes(0.5)
print(f"w = 0: spikes at {without}; w = 0.5: {half[:6]}")
assert without == []
assert half[:6] == [5, 8, 11, 14, 17, 20]
PYTHON

#!/usr/bin/env bash
# norse 1.1.0 (nir 1.0.8, nirtorch 2.6): `to_nir` writes tau = dt / tau_mem_inv, and `from_nir` reads tau_mem_inv = 1 / tau.
# With the dt that both take for granted, 1e-3, a time constant of 10 ms is written as 0.01 ms, and does not come back.
#
# Input: a `LIFBoxCell` of two units with tau_mem_inv = 100 per second, as the documentation has it; `to_nir` and
# `from_nir` without further arguments.
#
# Expected: NIR's tau is in seconds: 0.01. What is written and read again is the same neuron.
#
# Seen: tau = 1e-5 in the file, and tau_mem_inv = 100,000 after reading it, a hundred steps' worth of leak in one.
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
import torch


def full(value):
    return torch.full((2,), value)


parameters = norse.LIFBoxParameters(tau_mem_inv=full(100.0), v_leak=full(0.0), v_th=full(1.0), v_reset=full(0.0))
graph = norse.to_nir(torch.nn.Sequential(norse.LIFBoxCell(parameters)), torch.ones(1, 2))
(node,) = [node for node in graph.nodes.values() if isinstance(node, nir.LIF)]
(cell,) = [part for part in norse.from_nir(graph).modules() if isinstance(part, norse.LIFBoxCell)]
tau, inverse = float(node.tau[0]), float(torch.as_tensor(cell.p.tau_mem_inv).flatten()[0])
print(f"written tau = {tau:.1e} s; read again tau_mem_inv = {inverse:.0f} per second, for 100")
assert abs(tau - 1e-5) < 1e-9
assert abs(inverse - 1e5) < 1
PYTHON

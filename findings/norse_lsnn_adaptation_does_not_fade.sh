#!/usr/bin/env bash
# norse 1.1.0 (PyTorch 2.14.1): the adaptive threshold of `LSNNCell()` does not come back. Its default time constant is 800
# seconds, beside 5 and 10 milliseconds of the synapse and the membrane.
#
# Input: one unit with the parameters as they are, a constant input of 2 for 50 steps of 1 ms, then none for a second.
#
# Expected: that of the LSNN papers, an adaptation of 700 to 2,000 ms, of which 24 to 60 % is left after a second.
#
# Seen: `tau_adapt_inv` is 1/800, and all inverse time constants are per second. After a second 99.9 % is left. Each spike
# raises the threshold by all of `beta`, 1.8 times the threshold itself, so that a unit that spikes falls silent and stays
# so.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "norse==1.1.0" "torch==2.14.1" "numpy==2.4.6"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import norse.torch as norse
import torch

cell, state, raised = norse.LSNNCell(), None, []
for _ in range(50):
    before = 0.0 if state is None else float(state.b)
    spikes, state = cell(torch.full((1,), 2.0), state)
    if spikes:
        raised.append(float(state.b) - before)
adapted = float(state.b)
for _ in range(1000):
    _, state = cell(torch.zeros(1), state)
left = float(state.b) / adapted
parameters = norse.LSNNParameters()
print(f"inverse time constants (1/s): membrane {float(parameters.tau_mem_inv):.0f}, "
      f"synapse {float(parameters.tau_syn_inv):.0f}, adaptation {float(parameters.tau_adapt_inv):.5f}")
print(f"{len(raised)} spikes in 50 ms, each raises the threshold by {raised[0]:.2f}; after 1 s {100 * left:.1f} % is left")
assert abs(left - 0.9988) < 1e-3
assert abs(raised[0] - 1.8) < 0.01
PYTHON

#!/usr/bin/env bash
# brainpy 2.8.2 with brainpy-state 0.1.0 (jax 0.10.2; the same in brainpy 2.9.0): `PoissonInput` brings fewer spikes than
# its number of inputs times rate times step.
#
# Input: 100 inputs of 100 Hz and of 1,000 Hz with weight 1, steps of 1 ms, 2,000 targets, 20 steps.
#
# Expected: 10 and 100 a step on the average, a Poisson process of that rate. The docstring gives the probability freq *
# dt, and a mean of num_input times it.
#
# Seen: 9.5 and 63. The probability is 1 - exp(-freq dt), that of at least one spike in a step; a second spike of an
# input in the same step is lost. The drive depends on the step: 5 % are missing at 100 Hz and 1 ms.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "brainpy==2.8.2" "brainpy-state==0.1.0" "brainstate==0.5.4" "braintools==0.3.0" \
    "brainunit==0.5.2" "saiunit==0.5.2" "brainevent==0.2.1" "jax==0.10.2" "jaxlib==0.10.2" "numpy==2.4.6"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import brainpy.state as bp
import brainstate
import brainunit as u
import jax.numpy as jnp


class Target(brainstate.nn.Module):
    def __init__(self):
        super().__init__()
        self.v = brainstate.HiddenState(jnp.zeros(2000))


def mean(rate, inputs):
    brainstate.random.seed(0)
    target = Target()
    with brainstate.environ.context(dt=1.0 * u.ms):
        poisson = bp.PoissonInput(brainstate.nn.Prefetch(target, "v"), None, inputs, rate * u.Hz, 1.0)
        for _ in range(20):
            poisson.update()
    return float(target.v.value.mean()) / 20


slow, fast = mean(100, 100), mean(1000, 100)
print(f"spikes a step of 100 inputs: {slow:.2f} at 100 Hz (10 expected), {fast:.1f} at 1,000 Hz (100 expected)")
assert abs(slow - 9.516) < 0.1
assert abs(fast - 63.2) < 0.3
PYTHON

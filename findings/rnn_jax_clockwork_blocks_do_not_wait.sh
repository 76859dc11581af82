#!/usr/bin/env bash
# rnn-jax 0.0.2 (jax 0.10.2, Python 3.13): the slow blocks of `ClockWorkRNNCell` change at every step.
#
# Input: blocks with periods 1 and 64, tanh, no input; the slow block starts at 1; steps 1 to 20.
#
# Expected: 1 throughout. By the paper of the clockwork RNN a block keeps its state until its period is over.
#
# Seen: 0.76 after one step, 0.26 after 20. The state of a block that waits goes through the nonlinearity once a step.
# With relu, states below 0 are cut; only with the identity, or relu and positive states, does a block wait.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python=${PYTHON:-$(ls "$HOME"/.pyenv/versions/3.1[23].*/bin/python 2>/dev/null | tail -n 1 || true)} # 3.11 is not enough
"${python:-python3.13}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "jax==0.10.2" "jaxlib==0.10.2" "equinox==0.13.8" "einops==0.8.2" "numpy==2.4.6"
"$folder/env/bin/pip" install --quiet --no-deps "rnn-jax==0.0.2"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import jax
import jax.numpy as jnp
from rnn_jax.cells import ClockWorkRNNCell

cell = ClockWorkRNNCell(1, 2, [1, 64], jnp.tanh, key=jax.random.key(0))
state, slow = (jnp.zeros(2), jnp.ones(2), jnp.array([1.0])), []
for _ in range(20):
    state, _ = cell(jnp.zeros(1), state)
    slow.append(float(state[1][0]))
expected = 1.0
for _ in range(20):
    expected = float(jnp.tanh(expected))
print(f"the block of period 64: {slow[0]:.2f} after one step, {slow[-1]:.2f} after 20")
assert abs(slow[0] - 0.7616) < 1e-3 and abs(slow[-1] - expected) < 1e-3 and slow[-1] < 0.4
PYTHON

#!/usr/bin/env bash
# rnn-jax 0.0.2 (equinox 0.13.8, jax 0.10.2, Python 3.13): `LongShortTermMemory` sets the bias of the candidate to 1, not
# that of the forget gate.
#
# Input: `LongShortTermMemory(2, 3)`; its bias; a cell state of 1 with weights of 0.
#
# Expected: a forget gate that starts with a bias of 1, which the source says is meant, as in the package's own
# `LongShortTermMemoryCell`.
#
# Seen: the ones stand in the third quarter. The gates of equinox's cell are in the order input, forget, candidate,
# output, so that the second quarter is that of the forget gate; it keeps its random start. Without input a new cell
# writes tanh(1) = 0.76 through its input gate at each step.
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
import equinox as eqx
import jax
import jax.numpy as jnp
from rnn_jax.cells.gated import LongShortTermMemory

cell = LongShortTermMemory(2, 3, key=jax.random.key(0))
bias = cell.lstm.bias.reshape(4, 3)
plain = eqx.tree_at(lambda c: (c.lstm.weight_ih, c.lstm.weight_hh), cell, (jnp.zeros((12, 2)), jnp.zeros((12, 3))))
_, c = plain(jnp.zeros(2), (jnp.zeros(3), jnp.ones(3)))[0]
expected = jax.nn.sigmoid(bias[1]) + jax.nn.sigmoid(bias[0]) * jnp.tanh(bias[2])
print(f"biases: input {bias[0]}, forget {bias[1]}, candidate {bias[2]}, output {bias[3]}")
assert jnp.allclose(c, expected)
assert jnp.all(bias[2] == 1) and jnp.all(jnp.abs(bias[1]) < 0.6)
PYTHON

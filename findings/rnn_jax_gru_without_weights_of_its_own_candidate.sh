#!/usr/bin/env bash
# rnn-jax 0.0.2 (jax 0.10.2, Python 3.13): `GatedRecurrentUnitCell` is no GRU: the candidate has no weights and no bias
# of its own.
#
# Input: the shapes of the parameters of `GatedRecurrentUnitCell(2, 3)`; the derivative of a step by them; the candidate
# with all weights at 0 and all biases at 2.
#
# Expected: those of the GRU of Cho et al. that the README names: weights of the update gate, of the reset gate and of
# the candidate, and the reset gate on the state that goes into the candidate.
#
# Seen: two pairs of weights. The candidate is computed from the weights of the update gate, and the update gate
# multiplies the state that goes into it, while the reset gate acts inside of the update gate. The biases do not reach
# the candidate, which is 0 here. The wrapper `GatedRecurrentUnit` of equinox's cell is not concerned, nor is
# `LongShortTermMemoryCell`.
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
from rnn_jax.cells.gated import GatedRecurrentUnitCell

cell = GatedRecurrentUnitCell(2, 3, nonlinearity=jnp.tanh, key=jax.random.key(0))
names = sorted(name for name in vars(cell) if name[0] in "wb")
x, h = jnp.array([1.0, -2.0]), jnp.array([0.3, 0.5, -0.4])
update = jax.nn.sigmoid(cell.w_ii @ x + cell.w_ih @ (jax.nn.sigmoid(cell.w_fi @ x + cell.w_fh @ h + cell.b_f) * h))
shared = (1 - update) * h + update * jnp.tanh(cell.w_ii @ x + cell.w_ih @ (update * h))
flat = eqx.tree_at(lambda c: [getattr(c, n) for n in names], cell,
                   [jnp.full(getattr(cell, n).shape, 2.0 if n[0] == "b" else 0.0) for n in names])
print(f"parameters {names}; a step {cell(x, (h,))[1]}, by the weights of the update gate {shared}; "
      f"with biases alone {flat(x, (jnp.zeros(3),))[1]}")
assert names == ["b_f", "b_i", "w_fh", "w_fi", "w_ih", "w_ii"]
assert jnp.allclose(cell(x, (h,))[1], shared)
assert jnp.all(flat(x, (jnp.zeros(3),))[1] == 0)
PYTHON

#!/usr/bin/env bash
# rnn-jax 0.0.2 (jax 0.10.2, Python 3.13): the recurrence of `UnitaryEvolutionRNNCell` is not unitary, and not linear.
#
# Input: the recurrent map of a cell with four units, applied to 0 and to twenty random vectors; the cell for 50 steps of
# no input and no input bias.
#
# Expected: 0 stays 0 and lengths stay the same. The docstring calls W unitary, a product of phases, Fourier transforms
# and Householder reflectors.
#
# Seen: 0 goes to a vector of length above 1, and lengths change by factors from 0.6 to 12. In place of the reflection h
# - 2 v (v* h) / |v|^2 it computes 1 - 2 v (v h) / |v|: a one stands where the state should, the vector is not
# conjugated, and the norm is not squared. Gradients over long sequences are not kept.
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
from rnn_jax.cells import UnitaryEvolutionRNNCell

cell = UnitaryEvolutionRNNCell(1, 4, use_bias_in=False, key=jax.random.key(0))
turn = cell._hh_layer
of_zero = float(jnp.linalg.norm(turn(jnp.zeros(4, jnp.complex64))))
vectors = jax.random.normal(jax.random.key(1), (20, 4)).astype(jnp.complex64)
ratios = jnp.linalg.norm(jax.vmap(turn)(vectors), axis=1) / jnp.linalg.norm(vectors, axis=1)
state = (vectors[0],)
(stepped,), _ = cell(jnp.zeros(1), state)
print(f"0 gets the length {of_zero:.2f}; lengths are multiplied by {ratios.min():.2f} to {ratios.max():.2f}; "
      f"in a step of the cell by {jnp.linalg.norm(stepped) / jnp.linalg.norm(vectors[0]):.2f}")
assert of_zero > 1
assert ratios.max() / ratios.min() > 1.3
assert abs(jnp.linalg.norm(stepped) / jnp.linalg.norm(vectors[0]) - 1) > 0.01
PYTHON

#!/usr/bin/env bash
# rnn-jax 0.0.2 (jax 0.10.2, Python 3.13): the stabilising diagonal of `AntiSymmetricRNNCell`,
# `GatedAntiSymmetricRNNCell` and `LipschitzRNNCell` is subtracted as a number, not times the state.
#
# Input: the derivative of a step by the state, for `diffusion` 0 and 1 (identity in place of the nonlinearity), and for
# `gamma_a` and `gamma_w` 0 and 0.3; the step from a state of 0.
#
# Expected: by the papers W - W^T - gamma I multiplies the state: the diagonal of the derivative falls by step size times
# gamma, and a state of 0 without input stays at 0. The docstrings call it a diagonal term for stability.
#
# Seen: the derivative is the same for both values, so that nothing is stabilised. A state of 0 without input goes to
# -0.1: the term is a negative bias.
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
from rnn_jax.cells.antisymmetric import AntiSymmetricRNNCell, GatedAntiSymmetricRNNCell
from rnn_jax.cells.lipschitz import LipschitzRNNCell

key, x = jax.random.key(0), jnp.zeros(2)


def identity(v):
    return v


def look(make, state):
    cells = [make(g) for g in (0.0, 1.0)]
    slopes = [jax.jacobian(lambda h, c=c: c(x, (h, *state))[1])(jnp.zeros(3)) for c in cells]
    return float(jnp.abs(slopes[0] - slopes[1]).max()), cells[1](x, (jnp.zeros(3), *state))[1]


for make, state in (
    (lambda g: AntiSymmetricRNNCell(2, 3, 0.1, g, nonlinearity=identity, key=key), ()),
    (lambda g: LipschitzRNNCell(2, 3, 0.5, g, 0.5, g, 0.1, 0.3, key=key), (jnp.zeros(3),)),
):
    change, moved = look(make, state)
    print(f"{type(make(0.0)).__name__}: the derivative changes by {change:.1g}; 0 goes to {moved}")
    assert change < 1e-6
    assert jnp.allclose(moved, -0.1)
gated = GatedAntiSymmetricRNNCell(2, 3, 0.1, 1.0, nonlinearity=identity, key=key)
assert jnp.all(gated(x, (jnp.zeros(3),))[1] < 0)
PYTHON

#!/usr/bin/env bash
# rnn-jax 0.0.2 (jax 0.10.2, Python 3.13): `CoupledOscillatoryRNNCell` multiplies stiffness and damping by no time step,
# and draws the damping from the range of the stiffness.
#
# Input: gamma = 1, eps = 1, dt = 0.01, no weights, from h = 1 and z = 0, one step; and `heterogeneous=True` with gamma
# (2, 3) and eps (0.1, 0.2), 200 units.
#
# Expected: by the coRNN paper z changes by dt times (sigma(...) - gamma h - eps z), here by -0.01. And eps between 0.1
# and 0.2.
#
# Seen: z goes to -1; only the part with the nonlinearity is multiplied by dt. A step is that of an oscillator with a
# stiffness and a damping a hundred times larger. And eps lies between 2 and 3: the two bounds of eps are checked, those
# of gamma are used.
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
from rnn_jax.cells import CoupledOscillatoryRNNCell

key = jax.random.key(0)
cell = CoupledOscillatoryRNNCell(1, 1, 1.0, 1.0, 0.01, nonlinearity=jnp.zeros_like, key=key)
(h, z), _ = cell(jnp.zeros(1), (jnp.ones(1), jnp.zeros(1)))
many = CoupledOscillatoryRNNCell(1, 200, (2.0, 3.0), (0.1, 0.2), 0.01, heterogeneous=True, key=key)
print(f"z after a step of 0.01: {z[0]:.2f}; eps from {many.eps.min():.2f} to {many.eps.max():.2f}")
assert z[0] == -1.0
assert many.eps.min() > 2 and many.eps.max() < 3
PYTHON

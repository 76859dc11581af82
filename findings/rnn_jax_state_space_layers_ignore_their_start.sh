#!/usr/bin/env bash
# rnn-jax 0.0.2 (jax 0.10.2, Python 3.13): `LinearRecurrentUnit` and `SimplifiedStateSpaceLayer` take an initial state
# `h0` and do not use it.
#
# Input: a sequence of 10 steps without a start, and with `h0` of 100 in all states.
#
# Expected: other outputs, at least at the first steps.
#
# Seen: the same, to the bit. The argument is not read after the signature. A sequence that is given in parts starts at 0
# in each part. No warning.
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
from rnn_jax.ssm.lru import LinearRecurrentUnit
from rnn_jax.ssm.s5 import SimplifiedStateSpaceLayer

xs = jax.random.normal(jax.random.key(1), (10, 2))
for make in (LinearRecurrentUnit, SimplifiedStateSpaceLayer):
    layer = make(2, 4, 3, key=jax.random.key(0))
    without, start = layer(xs), layer(xs, h0=jnp.full(4, 100.0 + 0j))
    print(f"{make.__name__}: the outputs differ by {jnp.abs(without - start).max():.1g}")
    assert jnp.array_equal(without, start)
PYTHON

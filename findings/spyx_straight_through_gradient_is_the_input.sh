#!/usr/bin/env bash
# spyx 1.0.0 (flax 0.12.8, jax 0.10.2): the surrogate of `spyx.axn.custom()` as it stands is not the straight-through
# estimator of its docstring.
#
# Input: the gradient of `custom()` at -1, 0, 0.5 and 2.
#
# Expected: 1 at each. The docstring says that the default backward function is the identity, which gives the
# straight-through estimator, a derivative of about 1.
#
# Seen: -1, 0, 0.5 and 2. The gradient that comes in is multiplied by the backward function of the input, and the
# identity of the input is the distance from the threshold. Below the threshold the gradient has the wrong sign, at the
# threshold there is none, and far above it is large. `custom(bwd=jnp.ones_like)` is the straight-through estimator.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "spyx==1.0.0" "flax==0.12.8" "jax==0.10.2" "jaxlib==0.10.2" "optax==0.2.8" \
    "nir==1.0.8" "numpy==2.4.6"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import jax
import jax.numpy as jnp
import spyx.axn

x = jnp.array([-1.0, 0.0, 0.5, 2.0])
default = jax.vmap(jax.grad(spyx.axn.custom()))(x)
ones = jax.vmap(jax.grad(spyx.axn.custom(bwd=jnp.ones_like)))(x)
print(f"at {x}: custom() {default}, custom(bwd=jnp.ones_like) {ones}")
assert jnp.array_equal(default, x)
assert jnp.array_equal(ones, jnp.ones(4))
PYTHON

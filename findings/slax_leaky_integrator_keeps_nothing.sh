#!/usr/bin/env bash
# slax 0.0.1 (flax 0.12.8, jax 0.10.2): `LeakyIntegrator` returns its input; it integrates nothing.
#
# Input: a constant input of 1 for 10 steps, a leak of 0.9, through `RNN`.
#
# Expected: 1, 1.9, 2.71, ... up to 6.5, as the name says and as `LIF` of the package does below its threshold.
#
# Seen: 1 at all steps, and a carried value of 0 at the end. The new value is computed from the carried one and returned,
# but never written back. As a readout it leaves only the spikes of the present step. `OnlineLeakyIntegrator` does not
# write its counter either, so that each step gets the weight of the first.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "slax==0.0.1" "scikit-learn==1.9.1" "flax==0.12.8" "optax==0.2.8" "jax==0.10.2" \
    "jaxlib==0.10.2" "numpy==2.4.6"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import jax
import jax.numpy as jnp
import slax

x = jnp.ones((10, 1))
ends = {}
for layer in (slax.LeakyIntegrator(0.9), slax.OnlineLeakyIntegrator(0.9, 10)):
    network = slax.RNN(layer)
    variables = network.init(jax.random.PRNGKey(0), x)
    out, carried = network.apply(variables, x, mutable=["carry"])
    ends[type(layer).__name__] = [round(float(v), 4) for v in out[:, 0]]
    print(f"{type(layer).__name__}: {ends[type(layer).__name__]}, carried {jax.tree.leaves(carried)}")
    assert all(float(leaf[0]) == 0 for leaf in jax.tree.leaves(carried))
assert ends["LeakyIntegrator"] == [1.0] * 10
assert ends["OnlineLeakyIntegrator"] == [round(0.9**9, 4)] * 10
PYTHON

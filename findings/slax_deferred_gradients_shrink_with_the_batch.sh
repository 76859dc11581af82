#!/usr/bin/env bash
# slax 0.0.1 (flax 0.12.8, jax 0.10.2): the gradients of `train_online_deferred` are divided by the size of the batch
# where those of `train_offline` are divided by the number of steps.
#
# Input: a dense layer without memory, so that there is nothing through time; batches of 1, 8 and 32 equal samples, 4
# steps, a squared error; the norm of the gradient that both return.
#
# Expected: the same, whatever the batch: the docstring says that updates are saved until the end, and the loss of each
# step is a mean over the batch already.
#
# Seen: 9.06 for `train_offline` throughout; 36.2, 4.53 and 1.13 for `train_online_deferred`. The sum over the steps is
# divided by the second axis of the input, which is the batch. The rate of learning depends on both numbers.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "slax==0.0.1" "scikit-learn==1.9.1" "flax==0.12.8" "optax==0.2.8" "jax==0.10.2" \
    "jaxlib==0.10.2" "numpy==2.4.6"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
import slax


class Layer(nn.Module):
    @nn.compact
    def __call__(self, x):
        count = self.variable("carry", "count", jnp.zeros, ())
        count.value = count.value + 1.0
        return nn.Dense(2)(x)


def norm(method, batch, steps):
    key, model, optimiser = jax.random.PRNGKey(0), Layer(), optax.sgd(0.1)
    x = jnp.tile(jax.random.normal(key, (1, 1, 3)), (steps, batch, 1))
    variables = dict(model.init(key, x[0]))
    variables["carry"] = jax.tree.map(jnp.zeros_like, variables["carry"])
    train = method(model, lambda out, y: (out - y) ** 2, optimiser)
    data = (x, jnp.zeros((steps, batch, 2)))
    gradient = train(variables, data, optimiser.init(variables["params"]), return_grad=True)[-1]
    return float(jnp.linalg.norm(gradient["Dense_0"]["kernel"]))


first = norm(slax.train_offline, 1, 4)
for batch, steps in ((1, 4), (8, 4), (32, 4), (8, 16)):
    offline, deferred = norm(slax.train_offline, batch, steps), norm(slax.train_online_deferred, batch, steps)
    print(f"batch {batch}, {steps} steps: train_offline {offline:.2f}, train_online_deferred {deferred:.2f}")
    assert abs(offline - first) < 1e-3 * first
    assert abs(deferred / offline - steps / batch) < 1e-3 * steps / batch
PYTHON

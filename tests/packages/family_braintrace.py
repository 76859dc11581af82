"""braintrace's rules and the equations that they are named after, on one network: a leaky rate layer.

Run by `family.sh`. Distance, relative, of the gradient of the layer's weights, summed over steps, to dense references
(`tests/dense_rules.py`), which hold none of either library.
"""

import os
import pathlib
import sys

os.environ["JAX_ENABLE_X64"] = "1"
sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
import brainstate
import braintrace
import jax
import jax.numpy as jnp
import numpy as np
from dense_rules import diagonal, Network, NETWORKS, READ, recursion, rolled, rtrl

brainstate.environ.set(precision=64)
net: Network = NETWORKS["rate"]


class Layer(brainstate.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = braintrace.nn.Linear(net.w.shape[1], net.n, b_init=None)
        self.linear.weight.value = {"weight": net.w.T}

    def init_state(self, batch_size=None, **_):
        self.h = brainstate.HiddenState(jnp.zeros((batch_size, net.n)))

    def update(self, x):
        self.h.value = 0.7 * self.h.value + 0.3 * jnp.tanh(self.linear(jnp.concatenate([self.h.value, x], -1)))
        return self.h.value


def gradient(rule, **options):
    layer = Layer()
    xs, ys = jnp.asarray(net.xs)[:, None], jnp.asarray(net.ys)[:, None]
    learner = braintrace.compile(layer, rule, xs[0], batch_size=1, **options)

    def loss(x, y):
        return 0.5 * jnp.sum((learner(x) @ READ.T - y) ** 2)

    grads = learner.etrace_grad(xs, ys, step_fn=loss, chunk_size=None, reduction="sum", loss_output="scalar")
    grads = grads[0] if isinstance(grads, tuple) else grads
    return np.asarray(jax.tree.leaves(grads)[0]).T.ravel()


steps = rolled(net)
REFERENCES = {
    "D-RTRL, by position": diagonal(steps),
    "SnAp-1, the true diagonal": recursion([np.diag(np.diag(J)) for J in steps.J], steps.I, steps.q),
    "RTRL": rtrl(steps),
}
print(f"braintrace {braintrace.__version__}, JAX {jax.__version__}: distance to {', '.join(REFERENCES)}")
for rule, options in {
    "d_rtrl": {},
    "pp_prop": {"decay_or_rank": 0.9},
    "eprop": {},
    "ostl_recurrent": {},
}.items():
    try:
        found = gradient(rule, **options)
        far = [float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted)) for wanted in REFERENCES.values()]
        print(f"| {rule} | " + " | ".join(f"{one:.1e}" for one in far) + " |")
    except Exception as error:
        print(f"| {rule} | {type(error).__name__}: {str(error)[:150]} |")

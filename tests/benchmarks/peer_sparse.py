"""braintrace's sparse product on the same network, in a process of its own: started by `sparse.py --braintrace PYTHON`.

For every line on stdin it takes one step by D-RTRL, and answers with milliseconds as JSON; at first with the gradient.
"""

import json
import sys
import time

import brainevent
import brainstate
import braintrace
import jax
import jax.numpy as jnp
import numpy as np


class Network(brainstate.nn.Module):
    """Its product is `x @ matrix`, with the inputs along the rows."""

    def __init__(self, matrix, h):
        super().__init__()
        self.linear, self.start = braintrace.nn.SparseLinear(matrix, in_size=h.shape), h

    def init_state(self, batch_size=None, **_):
        self.h = brainstate.HiddenState(self.start)

    def update(self, x):
        self.h.value = 0.9 * self.h.value + jnp.tanh(self.linear(x))
        return self.h.value


def main():
    data = np.load(sys.argv[1])
    x, h = jnp.asarray(data["x"]), jnp.asarray(data["h"])
    order = np.argsort(data["col"], kind="stable")
    starts = np.searchsorted(data["col"][order], np.arange(x.size + 1)).astype(np.int32)
    matrix = brainevent.CSR((jnp.asarray(data["w"][order]), data["row"][order], starts), shape=(x.size, x.size))
    began = time.perf_counter()
    network = Network(matrix, h)
    learner = braintrace.compile(network, "d_rtrl", x)

    def run(xs):
        return learner.etrace_grad(
            xs, step_fn=lambda x: jnp.mean(learner(x) ** 2), reduction="sum", loss_output="scalar", return_value=True
        )

    run = brainstate.transform.jit(run)
    sys.stdin.readline()
    gradient = jax.tree.leaves(jax.block_until_ready(run(x[None]))[0])[0]
    there = np.empty(gradient.size)
    there[order] = np.ravel(gradient)
    ready = {"version": braintrace.__version__, "seconds": time.perf_counter() - began, "gradient": there.tolist()}
    print(json.dumps(ready), flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        jax.block_until_ready(run(x[None]))
        print(json.dumps({"ms": 1e3 * (time.perf_counter() - began)}), flush=True)


if __name__ == "__main__":
    main()

"""The first call of braintrace; started by `first_call.py --braintrace PYTHON`, in an environment that has it."""

import sys
import time

import brainstate
import braintrace
import jax
import jax.numpy as jnp
from first_call import BATCH, FEATURES, UNITS
from peer_process import CELLS


def first_call(cell: str, layers: int) -> None:
    class Stack(brainstate.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = [CELLS[cell](UNITS if i else FEATURES, UNITS) for i in range(layers)]

        def update(self, x):
            for layer in self.layers:
                x = layer(x)
            return x

    x, y = jnp.ones((1, BATCH, FEATURES)), jnp.zeros((1, BATCH, UNITS))
    net = Stack()
    jax.block_until_ready(jnp.ones(3) * 2)
    began = time.perf_counter()
    learner = braintrace.compile(net, "d_rtrl", x[0], batch_size=BATCH)

    def loss(x, y):
        return jnp.mean((learner(x) - y) ** 2)

    run = brainstate.transform.jit(lambda x, y: learner.etrace_grad(x, y, step_fn=loss))
    jax.block_until_ready(run(x, y))
    print(time.perf_counter() - began)


if __name__ == "__main__":
    first_call(sys.argv[1], int(sys.argv[2]))

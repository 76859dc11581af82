"""A learner over two processes of one device each: `python processes.py NUMBER PORT`, once for each.

Each holds half of the lanes, and the traces of these. What it prints is how far the gradients are from those of plain
BPTT on one device, and how much of the trace it holds.
"""

import os
import sys

os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import eqx_etrace as etr

LANES, UNITS, INPUTS, STEPS = 8, 6, 3, 12


def step(model, h, x):
    h = jnp.tanh(model["leak"] * h + x @ model["into"])
    return jnp.sum((h - 1) ** 2), h


def by_bptt(model, h, xs):
    """Nothing of this library."""

    def body(h, x):
        loss, h = step(model, h, x)
        return h, loss

    return jax.lax.scan(body, h, xs)[1].sum()


def main(number, port):
    jax.config.update("jax_enable_x64", True)
    jax.distributed.initialize(f"127.0.0.1:{port}", num_processes=2, process_id=number)
    keys = jr.split(jr.key(0), 3)
    model = {"leak": jr.uniform(keys[0], (UNITS,)), "into": jr.normal(keys[1], (INPUTS, UNITS))}
    model, xs = jax.device_get((model, jr.normal(keys[2], (STEPS, LANES, INPUTS))))
    wanted = jax.device_get(jax.grad(by_bptt)(model, jnp.zeros((LANES, UNITS)), xs))

    mesh = jax.make_mesh((2,), ("d",), axis_types=(AxisType.Auto,))
    model = jax.device_put(model, NamedSharding(mesh, P()))
    h = jax.device_put(np.zeros((LANES, UNITS)), NamedSharding(mesh, P("d")))
    xs = jax.device_put(xs, NamedSharding(mesh, P(None, "d")))
    online = etr.etrace_grad(step, etr.DRTRL())
    trace = online.init(model, h, xs[0])
    grads, _, trace = jax.jit(lambda *arguments: online.scan(*arguments))(model, h, trace, xs)
    off = max(float(abs(np.asarray(grads[name].addressable_data(0)) - wanted[name]).max()) for name in wanted)
    arrays = [e for e in jax.tree.leaves(trace.values) if e.ndim > 1]
    held = sum(e.addressable_shards[0].data.size for e in arrays) / sum(e.size for e in arrays)
    print(jax.process_count(), off, held)


main(int(sys.argv[1]), sys.argv[2])

"""A learner inside `jax.shard_map` on four devices, and its gradients on one: `python sharded.py`.

The devices must be there before JAX is: so this is a program of its own. It fails where a gradient differs.
"""

import os

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4"
os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import jax.numpy as jnp
import jax.random as jr
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import eqx_etrace as etr

jax.config.update("jax_enable_x64", True)
LANES, UNITS, INPUTS, STEPS = 8, 6, 3, 5
KEYS = jr.split(jr.key(0), 5)
MODEL = {
    "leak": jr.uniform(KEYS[0], (UNITS,)),
    "into": jr.normal(KEYS[1], (INPUTS, UNITS)),
    "back": jr.normal(KEYS[2], (UNITS, UNITS)) / 3,
    "out": jr.normal(KEYS[3], (UNITS,)),
}
STATE, XS = jnp.zeros((LANES, UNITS)), jr.normal(KEYS[4], (STEPS, LANES, INPUTS))
RULES = [
    *(etr.DRTRL(), etr.RTRL(), etr.SnAp(2), etr.OSTL(), etr.PPProp(0.9), etr.NoTrace(), etr.EProp(), etr.RFLO(0.8)),
    *(etr.OTTT(0.8), etr.OTPE(0.8)),
]


def step(model, h, x):
    h = model["leak"] * h + jnp.tanh(x @ model["into"] + jax.lax.stop_gradient(h) @ model["back"])
    return jnp.sum((h @ model["out"] - 1) ** 2), h


def by_calls(online, model, state, xs):
    """One step at a time, as a user's loop has it."""

    def body(carry, x):
        state, trace, total = carry
        grads, state, trace = online(model, state, trace, x)
        return (state, trace, jax.tree.map(jnp.add, total, grads)), None

    trace = online.init(model, state, xs[0])
    begin = state, trace, jax.tree.map(jnp.zeros_like, model)
    return jax.lax.scan(body, begin, xs)[0][2]


def ways(rule):
    online = etr.etrace_grad(step, rule)
    yield "calls", lambda m, h, xs: by_calls(online, m, h, xs)
    for window in (0, 1, 2, STEPS):
        yield (
            f"window {window}",
            lambda m, h, xs, w=window: online.scan(m, h, online.init(m, h, xs[0]), xs, window=w)[0],
        )


def main():
    mesh = jax.make_mesh((4,), ("d",), axis_types=(AxisType.Auto,))
    for rule in RULES:
        for name, way in ways(rule):
            shards = jax.shard_map(way, mesh=mesh, in_specs=(P(), P("d"), P(None, "d")), out_specs=P())
            found, wanted = jax.jit(shards)(MODEL, STATE, XS), jax.jit(way)(MODEL, STATE, XS)
            for key, value in wanted.items():
                scale = float(abs(value).max())
                off = float(abs(found[key] - value).max())
                assert off <= 1e-12 * max(scale, 1.0), (str(rule), name, key, off, scale)
        print(rule, flush=True)


main()

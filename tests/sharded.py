"""A learner inside `jax.shard_map` on four devices, and its gradients on one, or BPTT's: `python sharded.py [RULE...]`.

The devices must be there before JAX is: so this is a program of its own. It fails where a gradient differs.
"""

import os
import sys

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
STATE, XS = (jnp.zeros((LANES, UNITS)), jnp.zeros(LANES)), jr.normal(KEYS[4], (STEPS, LANES, INPUTS))
RULES = [
    *(etr.DRTRL(), etr.RTRL(), etr.SnAp(2), etr.OSTL(), etr.PPProp(0.9), etr.NoTrace(), etr.EProp(), etr.RFLO(0.8)),
    *(etr.OTTT(0.8), etr.OTPE(0.8)),
]


def step(model, state, x):
    """Leaky units, and a leaky readout, which e-prop follows by a filter."""
    h, y = state
    h = model["leak"] * h + jnp.tanh(x @ model["into"] + jax.lax.stop_gradient(h) @ model["back"])
    y = 0.7 * y + h @ model["out"]
    return jnp.sum((y - 1) ** 2), (h, y)


def by_bptt(model, state, xs):
    """Nothing of this library."""

    def total(model):
        def body(state, x):
            loss, state = step(model, state, x)
            return state, loss

        return jax.lax.scan(body, state, xs)[1].sum()

    return jax.grad(total)(model)


def is_bptt(rule, name):
    """Where the gradient is that of BPTT: in a window of all steps, and where the rule holds all credit."""
    return name == f"window {STEPS}" or isinstance(rule, etr.RTRL)


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
    for window in (0, 2, STEPS):
        yield (
            f"window {window}",
            lambda m, h, xs, w=window: online.scan(m, h, online.init(m, h, xs[0]), xs, window=w)[0],
        )


def main(names):
    mesh = jax.make_mesh((4,), ("d",), axis_types=(AxisType.Auto,))
    for rule in (rule for rule in RULES if not names or type(rule).__name__ in names):
        for name, way in ways(rule):
            shards = jax.shard_map(way, mesh=mesh, in_specs=(P(), P("d"), P(None, "d")), out_specs=P())
            found, wanted = jax.jit(shards)(MODEL, STATE, XS), jax.jit(way)(MODEL, STATE, XS)
            if is_bptt(rule, name):
                wanted = jax.jit(by_bptt)(MODEL, STATE, XS)
            for key, value in wanted.items():
                scale = float(abs(value).max())
                off = float(abs(found[key] - value).max())
                assert off <= 1e-12 * max(scale, 1.0), (str(rule), name, key, off, scale)
        print(rule, flush=True)


main(sys.argv[1:])

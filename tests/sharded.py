"""A learner on eight devices, and its gradients on one, or BPTT's: `python sharded.py AXES [RULE...]`.

AXES are those of the mesh: `manual`, inside `jax.shard_map`; `explicit`; or `automatic`. The devices must be there
before JAX is: so this is a program of its own. It fails where a gradient differs, where a device holds more than its
part of a trace, and where the compiled program gathers as much as a trace.
"""

import contextlib
import functools
import math
import os
import re
import sys

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"
os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import jax.numpy as jnp
import jax.random as jr
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import eqx_etrace as etr

jax.config.update("jax_enable_x64", True)
LANES, UNITS, INPUTS, STEPS = 16, 6, 3, 5
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
    *(etr.OTTT(0.8), etr.OTPE(0.8), etr.UORO(jr.key(3)), etr.KFRTRL(jr.key(3)), etr.OK(2, jr.key(3))),
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


def by_calls(online, model, state, trace, xs):
    """One step at a time, as a user's loop has it."""

    def body(carry, x):
        state, trace, total = carry
        grads, state, trace = online(model, state, trace, x)
        return (state, trace, jax.tree.map(jnp.add, total, grads)), None

    begin = state, trace, jax.tree.map(jnp.zeros_like, model)
    return jax.lax.scan(body, begin, xs)[0][2]


def by_windows(online, window, model, state, trace, xs):
    return online.scan(model, state, trace, xs, window=window)[0]


def ways(online):
    yield "calls", functools.partial(by_calls, online)
    for window in (0, 2, STEPS):
        yield f"window {window}", functools.partial(by_windows, online, window)


def from_init(online, way):
    return lambda model, state, xs: way(model, state, online.init(model, state, xs[0]), xs)


def in_shard_map(online, way):
    mesh = jax.make_mesh((8,), ("d",), axis_types=(AxisType.Auto,))
    shards = jax.shard_map(from_init(online, way), mesh=mesh, in_specs=(P(), P("d"), P(None, "d")), out_specs=P())
    return jax.jit(shards)(MODEL, STATE, XS)


def on_mesh(online, way, kind):
    """What XLA, or the types, cut by lanes; and no more than its part of the trace on any device."""
    mesh = jax.make_mesh((8,), ("d",), axis_types=(kind,))
    with jax.set_mesh(mesh) if kind is AxisType.Explicit else contextlib.nullcontext():
        model = jax.device_put(MODEL, NamedSharding(mesh, P()))
        state = jax.device_put(STATE, NamedSharding(mesh, P("d")))
        xs = jax.device_put(XS, NamedSharding(mesh, P(None, "d")))
        trace = online.init(model, state, xs[0])
        arrays = [e for e in jax.tree.leaves(trace.values) if e.ndim > 1]
        assert all(8 * e.addressable_shards[0].data.size == e.size for e in arrays)
        program = jax.jit(lambda *arguments: way(*arguments)).lower(model, state, trace, xs).compile()
        gathered = [math.prod(map(int, dims.split(","))) for dims in re.findall(GATHERED, program.as_text() or "")]
        assert max(gathered, default=0) < max((e.size for e in arrays), default=1), gathered
        return program(model, state, trace, xs)


GATHERED = r"= \(?\w+\[([\d,]+)\]\S* all-gather"
AXES = {
    "manual": in_shard_map,
    "explicit": functools.partial(on_mesh, kind=AxisType.Explicit),
    "automatic": functools.partial(on_mesh, kind=AxisType.Auto),
}


def main(axes, names):
    several_rules = [rule for rule in RULES if not names or type(rule).__name__ in names]
    for rule in several_rules:
        if axes == "manual" and isinstance(rule, (etr.UORO, etr.KFRTRL, etr.OK)):
            continue  # every device draws for its own lanes alone: other signs than on one device
        online = etr.etrace_grad(step, rule)
        for name, way in ways(online):
            found = jax.device_get(AXES[axes](online, way))
            wanted = jax.jit(from_init(online, way))(MODEL, STATE, XS)
            if is_bptt(rule, name):
                wanted = jax.jit(by_bptt)(MODEL, STATE, XS)
            for key, value in wanted.items():
                scale = float(abs(value).max())
                off = float(abs(found[key] - value).max())
                assert off <= 1e-12 * max(scale, 1.0), (str(rule), name, key, off, scale)
        print(rule, flush=True)


main(sys.argv[1], sys.argv[2:])

"""What may stand inside `jax.shard_map` over eight devices: `python inside_shard_map.py WHAT...`.

`collectives`: a step that reads other devices, by the name of the axis. Its gradient is that of `jax.grad` where the
report says that it is exact, and where the window has all steps. `tools`: the pullback, a learner, a probe, a model
with an index, and parameters of each device's own.
"""

import functools
import os
import sys

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"
os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import eqx_etrace as etr

jax.config.update("jax_enable_x64", True)
UNITS, LANES, STEPS = 4, 16, 5
KEYS = jax.random.split(jax.random.key(0), 5)
MODEL = {"a": jax.random.normal(KEYS[0], (UNITS,)), "w": jax.random.normal(KEYS[1], (3, UNITS))}
H, XS = jax.random.normal(KEYS[2], (LANES, UNITS)), jax.random.normal(KEYS[3], (STEPS, LANES, 3))
MESH = jax.make_mesh((8,), ("d",), axis_types=(AxisType.Auto,))
SPEC = P(), P("d"), P(None, "d")
READ = {
    "psum": lambda h: jnp.broadcast_to(lax.psum(h.sum(0), "d") / LANES, h.shape),
    "psum without derivative": lambda h: jnp.broadcast_to(lax.psum(lax.stop_gradient(h).sum(0), "d"), h.shape),
    "ppermute": lambda h: lax.ppermute(h, "d", [(i, (i + 1) % 8) for i in range(8)]),
    "all_gather": lambda h: jnp.broadcast_to(lax.all_gather(h, "d").mean((0, 1)), h.shape),
}


def on_devices(function):
    return jax.jit(jax.shard_map(function, mesh=MESH, in_specs=SPEC, out_specs=P()))


def step(model, h, x):
    h = jnp.tanh(model["a"] * h + x @ model["w"])
    return jnp.sum(jnp.sin(h)), h


def bptt(step, model, h, xs):
    """Nothing of this library."""
    return jax.grad(lambda model: lax.scan(lambda h, x: step(model, h, x)[::-1], h, xs)[1].sum())(model)


def scanned(online, window, model, h, xs):
    return online.scan(model, h, online.init(model, h, xs[0]), xs, window=window)[0]


def off(found, wanted):
    return max(float(abs(found[name] - wanted[name]).max() / abs(wanted[name]).max()) for name in wanted)


def reading(read, is_summed):
    def reads(model, h, x):
        h = jnp.tanh(model["a"] * h + x @ model["w"] + 0.5 * read(h))
        loss = jnp.sum(jnp.sin(h))
        return lax.psum(loss, "d") if is_summed else loss, h

    return reads


def collectives():
    for (name, read), is_summed in ((item, is_summed) for item in READ.items() for is_summed in (False, True)):
        reads = reading(read, is_summed)
        wanted = on_devices(functools.partial(bptt, reads))(MODEL, H, XS)
        for rule in (etr.RTRL(), etr.DRTRL()):
            online, exact = etr.etrace_grad(reads, rule), []

            def ask(model, h, xs, online=online, rule=rule, exact=exact):
                exact.append(all(row.exact for row in online.graph(model, h, xs[0]).report(rule).rows))
                return scanned(online, 1, model, h, xs)

            found = off(on_devices(ask)(MODEL, H, XS), wanted)
            assert (found < 1e-12) == exact[0] == (name == "psum without derivative"), (name, rule, found, exact)
            whole = off(on_devices(functools.partial(scanned, online, STEPS))(MODEL, H, XS), wanted)
            assert whole < 1e-12, (name, rule, whole)


def by_pullback(model, h, xs):
    def body(carry, x):
        h, trace, total = carry
        y, h, trace, pull = online(model, h, trace, x)
        return (h, trace, jax.tree.map(jnp.add, total, pull(jnp.cos(y))[0])), None

    online = etr.etrace_vjp(lambda model, h, x: (step(model, h, x)[1],) * 2, etr.DRTRL())
    return lax.scan(body, (h, online.init(model, h, xs[0]), jax.tree.map(jnp.zeros_like, model)), xs)[0][2]


def learned(model, h, xs):
    learner = etr.OnlineLearner(etr.etrace_value_and_grad(step, etr.DRTRL()), optax.adam(1e-1))
    return learner.scan(learner.init(model, h, xs[0]), xs)[0].model


def probed(model, h, xs):
    online = etr.etrace_grad(step, etr.NoTrace())
    probe = etr.FidelityProbe(online, every=2)

    def body(carry, x):
        h, trace, memory = carry
        grads, new, trace = online(model, h, trace, x)
        fidelity, memory = probe(model, h, memory, grads, x)
        return (new, trace, memory), {**fidelity.cosine, "length of a": fidelity.norm_ratio["a"]}

    begin = h, online.init(model, h, xs[0]), probe.init(model, h, xs[0])
    return jax.tree.map(lambda e: e[-1], lax.scan(body, begin, xs)[1])


def tools():
    wanted = bptt(step, MODEL, H, XS)
    assert off(on_devices(by_pullback)(MODEL, H, XS), wanted) < 1e-12
    for tool in (learned, probed):
        alone = tool(MODEL, H, XS)
        assert off(on_devices(tool)(MODEL, H, XS), alone) < 1e-12, tool.__name__
    assert off(learned(MODEL, H, XS), MODEL) > 0.01

    order = jnp.array([2, 0, 1])
    online = etr.etrace_grad(lambda m, h, x: step(m, h, x[:, m["order"]]), etr.DRTRL())
    online.init({**MODEL, "order": order}, H[:2], XS[0, :2])  # outside; these are the shapes inside
    found = on_devices(functools.partial(scanned, online, 1))({**MODEL, "order": order}, H, XS)
    assert off(found, bptt(step, MODEL, H, XS[:, :, order])) < 1e-12

    def own(model, h, xs):
        grads = scanned(etr.etrace_grad(step, etr.DRTRL()), 1, jax.tree.map(lambda e: e[0], model), h, xs)
        return jax.tree.map(lambda e: e[None], grads)

    several = jax.tree.map(lambda e: jnp.stack([e * (1 + i / 8) for i in range(8)]), MODEL)
    cut = jax.shard_map(own, mesh=MESH, in_specs=(P("d"), *SPEC[1:]), out_specs=P("d"))
    lanes = H.reshape(8, 2, UNITS), XS.reshape(STEPS, 8, 2, 3)
    wanted = jax.vmap(functools.partial(bptt, step), (0, 0, 1))(several, *lanes)
    assert off(jax.jit(cut)(several, H, XS), wanted) < 1e-12


for what in sys.argv[1:]:
    {"collectives": collectives, "tools": tools}[what]()
    print(what, flush=True)

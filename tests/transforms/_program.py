"""How a program is made, mapped and run, and how its parts are copied: each gives what it gives plainly."""

import concurrent.futures
import copy
import functools
import importlib.util
import pickle
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.export
import jax.numpy as jnp
import optax
import pytest

import eqx_etrace as etr

from ._setting import H, KEYS, MODEL, plain, RULES, run, same, step, WITH_DECAY, WITH_KEY, XS


def of(name: str) -> Callable[..., Any]:
    return functools.partial(run, RULES[name])


def one_by_one(mapped: Callable[..., Any], *lanes: Any) -> None:
    """A function under `vmap` gives each lane what it gives it alone."""
    found, alone = jax.jit(jax.vmap(mapped))(*lanes), jax.jit(mapped)
    for i in range(2):
        same(jax.tree.map(lambda a, i=i: a[i], found), alone(*jax.tree.map(lambda a, i=i: a[i], lanes)))


def by_jit(name: str) -> None:
    same(jax.jit(of(name))(), plain(name))


def by_lanes(name: str) -> None:
    one_by_one(lambda h, xs: of(name)(MODEL, h, xs), jnp.stack([H, -H]), jnp.stack([XS, 0.5 * XS]))


def by_models(name: str) -> None:
    one_by_one(of(name), jax.tree.map(lambda a: jnp.stack([a, 0.7 * a]), MODEL))


def by_seeds(name: str) -> None:
    """Of the model, and of a rule that is random."""

    def seeded(key: Any) -> Any:
        model = {**MODEL, "into": jax.random.normal(key, MODEL["into"].shape, jnp.float64)}
        return run(WITH_KEY[name](key) if name in WITH_KEY else RULES[name], model)

    one_by_one(seeded, KEYS[:2])


def by_decays(name: str) -> None:
    one_by_one(lambda decay: run(WITH_DECAY[name](decay)), jnp.asarray([0.5, 0.9]))


def by_scan(name: str) -> None:
    """A whole learner is what a scan carries."""
    learner = etr.OnlineLearner(etr.etrace_value_and_grad(step, RULES[name]), optax.sgd(0.1, momentum=0.9))
    learning = begin = learner.init(MODEL, H, XS[0])
    found, _ = jax.jit(lambda begin: jax.lax.scan(lambda learning, x: learner(learning, x), begin, XS))(begin)
    call = eqx.filter_jit(learner)
    for x in XS:
        learning, _ = call(learning, x)
    same(found, learning)


def by_export(name: str) -> None:
    """A learner's step, as a function of a list of arrays; written and read where `flatbuffers` is there."""
    learner = etr.OnlineLearner(etr.etrace_value_and_grad(step, RULES[name]), optax.sgd(0.1, momentum=0.9))
    leaves, structure = jax.tree.flatten(learner.init(MODEL, H, XS[0]))

    def flat(leaves: Any, x: Any) -> Any:
        learning, loss = learner(jax.tree.unflatten(structure, leaves), x)
        return jax.tree.leaves(learning), loss

    exported = jax.export.export(jax.jit(flat))(leaves, XS[0])
    if importlib.util.find_spec("flatbuffers") is not None:
        exported = jax.export.deserialize(exported.serialize())
    same(exported.call(leaves, XS[0]), jax.jit(flat)(leaves, XS[0]))


def ahead_of_time(name: str) -> None:
    same(jax.jit(of(name)).lower(MODEL, H, XS).compile()(MODEL, H, XS), plain(name))


def without_jit(name: str) -> None:
    with jax.disable_jit():
        found = of(name)()
    same(found, plain(name))


def strictly(name: str) -> None:
    """In single precision under strict promotion nothing becomes double, and the numbers are those of double."""
    single = [jax.tree.map(lambda a: a.astype(jnp.float32), tree) for tree in (MODEL, H, XS)]
    with jax.numpy_dtype_promotion("strict"):
        found = jax.jit(of(name))(*single)
    assert all(a.dtype != jnp.float64 for a in jax.tree.leaves(found))
    same(jax.tree.map(lambda a: a.astype(jnp.float64), found[0]), plain(name)[0], 1e-5)


def watched(name: str) -> None:
    """`jax.debug_nans` has nothing to say."""
    with jax.debug_nans(True):
        same(jax.jit(of(name))(), plain(name))


def threaded(name: str) -> None:
    """Two threads stage, compile and run at once."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: jax.jit(lambda xs: of(name)(MODEL, H, xs))(XS), range(2)))
    same(found, [plain(name)] * 2)


def copied(name: str, how: Callable[[Any], Any]) -> None:
    """The rule, the transform and a trace: the copies give the same, and the copy of a rule takes the trace."""
    online = etr.etrace_grad(step, RULES[name])
    _, h, trace = eqx.filter_jit(online)(MODEL, H, online.init(MODEL, H, XS[0]), XS[0])
    wanted = eqx.filter_jit(online)(MODEL, h, trace, XS[1])
    for one in (how(online), etr.etrace_grad(step, how(RULES[name]))):
        for held in (how(trace), trace):
            same(eqx.filter_jit(one)(MODEL, h, held, XS[1]), wanted)


def by_cloudpickle(name: str) -> None:
    cloudpickle = pytest.importorskip("cloudpickle")
    copied(name, lambda one: cloudpickle.loads(cloudpickle.dumps(one)))


COPIES = {
    "`copy.copy`": lambda name: copied(name, copy.copy),
    "`copy.deepcopy`": lambda name: copied(name, copy.deepcopy),
    "`pickle`": lambda name: copied(name, lambda one: pickle.loads(pickle.dumps(one))),
    "`cloudpickle`": by_cloudpickle,
}
PROGRAMS = {
    "`jit`": by_jit,
    "`vmap` over lanes": by_lanes,
    "`vmap` over seeds": by_seeds,
    "`vmap` over models": by_models,
    "`vmap` over decays": by_decays,
    "`scan` with the learner": by_scan,
    "`jax.export`": by_export,
    "`lower` and `compile`": ahead_of_time,
    "`disable_jit`": without_jit,
    "strict promotion": strictly,
    "`debug_nans`": watched,
    "two threads": threaded,
}

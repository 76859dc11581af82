"""A learner that is stopped and goes on, on any number of devices: `python resumed.py DEVICES FOLDER [RULE...]`.

The devices must be there before JAX is, so this is a program of its own. With the first argument `write` it learns half
of a stream, saves, and learns the rest on one device. Else it restores what was saved, sharded over lanes, learns the
rest, and fails where the result is another.
"""

import os
import sys

os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={sys.argv[1].replace('write', '1')}"
os.environ["JAX_PLATFORMS"] = "cpu"

import pathlib

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from every_rule import every_rule
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import eqx_etrace as etr

jax.config.update("jax_enable_x64", True)
DEVICES = jax.device_count()
LANES, UNITS, INPUTS, STEPS = 8, 4, 3, 6
KEYS = jax.random.split(jax.random.key(0), 4)
MODEL = {
    "into": jax.random.normal(KEYS[0], (INPUTS, UNITS)),
    "back": 0.4 * jax.random.normal(KEYS[1], (UNITS, UNITS)),
    "out": jax.random.normal(KEYS[2], (UNITS,)),
}
STATE, XS = jnp.zeros((LANES, UNITS)), jax.random.normal(KEYS[3], (STEPS, LANES, INPUTS))
RULES = every_rule(KEYS[0])


def step(model, h, x):
    h = 0.7 * h + jnp.tanh(x @ model["into"] + h @ model["back"])
    return jnp.mean((h @ model["out"] - 1) ** 2), h


def sharded(learning):
    """State by lanes; XLA makes of the rest what it will. On one device the program is the same, to all bits."""
    if DEVICES == 1:
        return learning
    mesh = jax.make_mesh((DEVICES,), ("lanes",), axis_types=(AxisType.Auto,))
    return learning._replace(state=jax.device_put(learning.state, NamedSharding(mesh, P("lanes"))))


def main(folder, names):
    for name in names or RULES:
        learner = etr.OnlineLearner(etr.etrace_value_and_grad(step, RULES[name]), optax.adam(1e-2))
        begin, scan = learner.init(MODEL, STATE, XS[0]), eqx.filter_jit(learner.scan)
        half, whole = (pathlib.Path(folder) / f"{name}.{part}" for part in ("half", "whole"))
        if sys.argv[1] == "write":
            learning, _ = scan(begin, XS[: STEPS // 2])
            eqx.tree_serialise_leaves(half, learning)
            eqx.tree_serialise_leaves(whole, scan(learning, XS[STEPS // 2 :])[0])
        else:
            learning, _ = scan(sharded(eqx.tree_deserialise_leaves(half, begin)), XS[STEPS // 2 :])
            wanted = eqx.tree_deserialise_leaves(whole, begin)
            for found, known in zip(jax.tree.leaves(learning), jax.tree.leaves(wanted), strict=True):
                off = float(abs(found - known).max()) if found.size else 0.0
                assert off == 0 if DEVICES == 1 else off < 1e-12, (name, off)
        print(name, flush=True)


main(sys.argv[2], sys.argv[3:])

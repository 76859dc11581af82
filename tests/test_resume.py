"""A learner that was stopped goes on as if it had not been: bit for bit, and on another number of devices."""

import io
import pathlib
import random
import subprocess
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from lanes import KEY, MODEL, RULES, UNITS

import eqx_etrace as etr


@pytest.fixture(autouse=True)
def default_promotion(promotion):
    """Adam counts in integers, and divides by them."""
    with jax.numpy_dtype_promotion("standard"):
        yield


STEPS, XS = 60, jax.random.normal(KEY, (60, 2))


def step(model, h, x):
    h = 0.7 * h + jnp.tanh(x @ model["into"] + h @ model["back"] + model["bias"])
    return jnp.mean((h @ model["out"] - 1) ** 2), h


def setting(name):
    """A learner with an optimiser that remembers and counts, and its begin."""
    learner = etr.OnlineLearner(etr.etrace_value_and_grad(step, RULES[name]), optax.adam(1e-2))
    return learner, learner.init(MODEL, jnp.zeros(UNITS), XS[0])


def through(learner, learning, stops, restored):
    """All steps; at these it is stopped, and what goes on is what comes back."""
    call = eqx.filter_jit(learner)
    for t, x in enumerate(XS):
        learning = restored(learning) if t in stops else learning
        learning, _ = call(learning, x)
    return learning


def check_bit_for_bit(found, wanted):
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


@pytest.mark.sweep(4)
@pytest.mark.parametrize("name", RULES)
def test_stopped_at_fifty_moments(name):
    """By Equinox, into a template that was made anew."""
    learner, begin = setting(name)
    stops = set(random.Random(0).sample(range(1, STEPS), 50))

    def restored(learning):
        file = io.BytesIO()
        eqx.tree_serialise_leaves(file, learning)
        file.seek(0)
        return eqx.tree_deserialise_leaves(file, begin)

    whole = through(learner, begin, (), None)
    check_bit_for_bit(through(learner, begin, stops, restored), whole)
    assert any((a != b).any() for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(begin), strict=True))


@pytest.mark.filterwarnings("ignore")  # of orbax itself
@pytest.mark.sweep(13)
@pytest.mark.parametrize("name", RULES)
def test_stopped_and_restored_by_orbax(name, tmp_path):
    """Which is in no list of ours, and comes with flax: its arrays as a list, as the page has it."""
    checkpoints = pytest.importorskip("orbax.checkpoint")
    learner, begin = setting(name)
    stops = set(random.Random(0).sample(range(1, STEPS), 50))
    with checkpoints.StandardCheckpointer() as checkpointer:

        def restored(learning):
            arrays, static = eqx.partition(learning, eqx.is_array)
            leaves, structure = jax.tree.flatten(arrays)
            folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
            checkpointer.save(folder, leaves)
            checkpointer.wait_until_finished()
            return eqx.combine(jax.tree.unflatten(structure, checkpointer.restore(folder, leaves)), static)

        check_bit_for_bit(through(learner, begin, stops, restored), through(learner, begin, (), None))


@pytest.mark.slow
def test_on_another_number_of_devices(tmp_path):
    """On one device bit for bit what it was, sharded over lanes on four the same to rounding."""
    script = pathlib.Path(__file__).parent / "resumed.py"
    for devices in ("write", "1", "4"):
        command = [sys.executable, str(script), devices, str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stderr[-2000:]
        assert len(done.stdout.split()) == 13

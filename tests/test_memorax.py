"""The sLSTM of memorax in its wrapper: a scan over time inside the step, heads and norms under `vmap`.

Memorax is not in the extra `tests`: it is large, and one of its dependencies does not allow the newest JAX. Install it
by hand to run this; without it, these tests are skipped.
"""

import warnings

import jax
import jax.numpy as jnp
import pytest
from oracle import assert_close, bptt

import eqx_etrace as etr

B, F, HIDDEN, T = 2, 3, 8, 5

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def promotion():
    """Memorax computes with JAX's default promotion."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def wrapped(memorax):
    """One step of time at a time, as an agent takes it; no episode ends."""
    network = memorax.RNN(cell=memorax.sLSTMCell(F, HIDDEN, num_heads=2, param_dtype=float))
    no_reset = jnp.zeros((B, 1), bool)

    def run(model, state, x):
        state, out = network.apply(model, x[:, None], no_reset, state)
        return out, state

    state = network.initialize_carry(jax.random.key(0), (B, F))
    return run, network.init(jax.random.key(0), jnp.ones((B, 1, F)), no_reset, state), state


def bare(memorax):
    cell = memorax.sLSTMCell(F, HIDDEN, num_heads=2, param_dtype=float)

    def run(model, state, x):
        state, out = cell.apply(model, state, x)
        return out, state

    state = cell.initialize_carry(jax.random.key(0), (B, F))
    return run, cell.init(jax.random.key(0), state, jnp.ones((B, F))), state


def perturbed(model, key):
    """Recurrent weights start at zero, and would hide what passes through them."""
    leaves, structure = jax.tree.flatten(model)
    keys = jax.random.split(key, len(leaves))
    moved = [a + 0.2 * jax.random.normal(k, a.shape) for a, k in zip(leaves, keys, strict=True)]
    return jax.tree.unflatten(structure, moved)


@pytest.mark.parametrize("make", [bare, wrapped])
def test_slstm(make, key):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        memorax = pytest.importorskip("memorax.networks.sequence_models")
    run, model, state = make(memorax)
    model = perturbed(model, key)
    state = jax.tree.map(lambda a: a.astype(float) + 1.0, state)  # from zero, the bias of the input gate has no effect
    xs = jax.random.normal(key, (T, B, F))

    def loss_step(model, state, x):
        out, state = run(model, state, x)
        return jnp.sum(jnp.sin(out)), state

    online = etr.etrace_grad(loss_step, etr.RTRL())
    report = online.graph(model, state, xs[0]).report(etr.RTRL())
    trace = online.init(model, state, xs[0])
    found, _, _ = jax.jit(online.scan, static_argnames="window")(model, state, trace, xs, window=1)
    wanted = bptt(loss_step, model, state, xs)
    assert min(float(jnp.abs(g).max()) for g in jax.tree.leaves(wanted)) > 1e-4
    assert all(row.exact for row in report.rows)
    assert_close(found, wanted)

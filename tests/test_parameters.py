"""What the table says of a primitive holds only for the parameters that its row accounts for."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracle import bptt

import eqx_etrace as etr
from eqx_etrace._read.primitives import TABLE, Traits

X = jnp.linspace(0.3, 0.9, 4)
XS = jnp.sin(jnp.arange(24.0)).reshape(6, 4)


def _transposed(h):
    return h.reshape(2, 2).ravel(order="F")


def _by_dimensions(h):
    return jax.lax.reshape(h.reshape(2, 2), (4,), dimensions=(1, 0))


def _stepped(moved):
    def step(model, h, x):
        h = jnp.tanh(model["a"] * moved(h) + model["w"] * x)
        return jnp.mean(h**2), h

    return step


MODEL = {"a": X, "w": X[::-1]}


@pytest.mark.parametrize("moved", [_transposed, _by_dimensions])
def test_reshape_with_dimensions_moves_as_jax_moves_it(moved):
    step = _stepped(moved)
    online = etr.etrace_grad(step, etr.RTRL())
    found = online.scan(MODEL, X, online.init(MODEL, X, XS[0]), XS)[0]
    wanted = bptt(step, MODEL, X, XS)
    assert all(row.exact for row in online.graph(MODEL, X, XS[0]).report(etr.RTRL()).rows)
    assert not any(row.exact for row in online.graph(MODEL, X, XS[0]).report(etr.DRTRL()).rows)
    assert eqx.tree_equal(found, wanted, rtol=1e-9, atol=1e-12)


def test_a_parameter_that_no_row_accounts_for_makes_an_operation_mixing(monkeypatch):
    (reverse,) = (eqn.primitive for eqn in jax.make_jaxpr(lambda x: jax.lax.rev(x, (0,)))(X).eqns)
    step = _stepped(lambda h: jnp.flip(jnp.flip(h)))
    assert all(row.exact for row in etr.compile_graph(step, MODEL, X, X).report(etr.DRTRL()).rows)
    monkeypatch.setitem(TABLE, reverse, Traits())
    rows = etr.compile_graph(step, MODEL, X, X).report(etr.DRTRL()).rows
    assert not any(row.exact for row in rows)
    assert "rev mixes positions at test_parameters.py" in str(rows[0].dropped[0])
    assert all(row.exact for row in etr.compile_graph(step, MODEL, X, X).report(etr.RTRL()).rows)


@pytest.mark.parametrize("size", [np.int64(0), 0])
def test_the_axes_of_a_reduction_are_numbers_whatever_their_type(size):
    step = _stepped(lambda h: h - jax.lax.reduce_sum_p.bind(h, axes=(size,), out_sharding=None))
    rows = etr.compile_graph(step, MODEL, X, X).report(etr.RTRL()).rows
    assert [row.dropped for row in rows] == [(), ()]


BATCHED = {
    "softmax": jax.nn.softmax,
    "mean": lambda h: h - h.mean(),
    "norm": lambda h: h / jnp.linalg.norm(h),
    "layer norm": eqx.nn.LayerNorm(4, use_weight=False, use_bias=False),
}


@pytest.mark.parametrize("name", BATCHED)
def test_reductions_under_vmap_are_no_collectives(name):
    recurrent = jnp.sin(jnp.arange(16.0)).reshape(4, 4)
    model, state = {"r": recurrent, "w": X}, jnp.cos(jnp.arange(8.0)).reshape(2, 4)
    xs = jnp.stack([XS, -XS], 1)

    def step(model, state, x):
        state = jax.vmap(lambda h, x: BATCHED[name](jnp.tanh(model["r"] @ h + model["w"] * x)))(state, x)
        return jnp.mean(state**3), state

    online = etr.etrace_grad(step, etr.RTRL())
    found = jax.jit(online.scan)(model, state, online.init(model, state, xs[0]), xs)[0]
    assert all(row.exact for row in online.graph(model, state, xs[0]).report(etr.RTRL()).rows)
    assert eqx.tree_equal(found, bptt(step, model, state, xs), rtol=1e-9, atol=1e-12)

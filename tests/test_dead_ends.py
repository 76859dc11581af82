"""New states that reach nothing that gets a cotangent: no credit enters them, as in BPTT."""

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest
from oracle import assert_close, bptt

import eqx_etrace as etr

N, T = 4, 5
RECORDS = {
    "norm": lambda h: jnp.linalg.norm(h),
    "root": lambda h: jnp.sqrt(h**2),
    "complex": lambda h: jax.lax.complex(jnp.sqrt(h**2), h),
}
"""Of an old state of zeros the slope of each is infinite."""


def loss_step(record):
    def step(m, s, x):
        h = jnp.tanh(m["a"] * s["h"] + m["w"] @ x)
        return jnp.sum(jnp.sin(h)), {"h": h, "record": RECORDS[record](s["h"]), "twice": jnp.sin(s["record"].real)}

    return step


def setup(record):
    keys = iter(jax.random.split(jax.random.key(3), 4))
    model = {"a": jax.random.normal(next(keys), (N,)), "w": jax.random.normal(next(keys), (N, N))}
    zero = RECORDS[record](jnp.zeros(N))
    state = {"h": jnp.zeros(N), "record": zero, "twice": zero.real}
    return model, state, jax.random.normal(next(keys), (T, N))


@pytest.mark.parametrize(("record", "window"), [("norm", 0), ("norm", 1), ("root", 1), ("root", 2), ("complex", 1)])
def test_the_gradient_is_that_of_bptt(record, window):
    model, state, xs = setup(record)
    wanted = bptt(loss_step(record), model, state, xs)
    for rule in (etr.RTRL(), etr.SnAp(9), etr.DRTRL()):
        online = etr.etrace_grad(loss_step(record), rule)
        found, _, _ = eqx.filter_jit(online.scan)(model, state, online.init(model, state, xs[0]), xs, window=window)
        assert_close(found, wanted, 1e-11)


@pytest.mark.parametrize("record", RECORDS)
def test_it_has_no_trace(record):
    model, state, xs = setup(record)

    def without(m, h, x):
        h = jnp.tanh(m["a"] * h + m["w"] @ x)
        return jnp.sum(jnp.sin(h)), h

    alone = etr.compile_graph(without, model, state["h"], xs[0])
    graph = etr.compile_graph(loss_step(record), model, state, xs[0])
    for rule in (etr.RTRL(), etr.SnAp(9), etr.DRTRL()):
        assert all(row.exact and row.exact_at_window_0 for row in graph.report(rule).rows)
        assert graph.report(rule).trace_bytes == alone.report(rule).trace_bytes


def test_a_parameter_of_a_record_alone_has_no_gradient():
    model, state, xs = setup("root")

    def step(m, s, x):
        loss, new = loss_step("root")({"a": m["a"], "w": m["w"]}, s, x)
        return loss, {**new, "twice": m["v"] * s["twice"] + s["record"]}

    model = {**model, "v": jnp.ones(N)}
    online = etr.etrace_grad(step, etr.RTRL())
    found, _, _ = eqx.filter_jit(online.scan)(model, state, online.init(model, state, xs[0]), xs)
    assert_close(found, bptt(step, model, state, xs), 1e-11)
    assert "reaches the output of no step" in str(online.graph(model, state, xs[0]))

"""Zero times anything is nothing: from a zero state, after a reset, in held and padded steps."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracle import bptt

import eqx_etrace as etr

pytestmark = pytest.mark.outside_sample  # of traces, and not of how this JAX writes a step

N, F, T = 4, 3, 9
RULES = [etr.DRTRL(), etr.PPProp(0.9), etr.RTRL(), etr.SnAp(2)]
KEYS = jax.random.split(jax.random.key(0), 4)
MODEL = {
    "a": jnp.linspace(0.3, 0.9, N),
    "W": jax.random.normal(KEYS[0], (N, F)),
    "R": jax.random.normal(KEYS[1], (N, N)) / 2,
}
XS = jax.random.normal(KEYS[2], (T, F))


def norm_of_the_state(m, h, x):
    h = 0.9 * h / jnp.maximum(1.0, jnp.linalg.norm(h)) + 0.2 * jnp.tanh(m["W"] @ x)
    return jnp.mean(h**2), h


def spread_of_the_state(m, h, x):
    h = m["a"] * h / (1 + jnp.std(h)) + m["W"] @ x
    return jnp.mean(jnp.sin(h)), h


def root_of_the_state(m, h, x):
    h = m["a"] * jnp.sqrt(h) + jnp.exp(m["W"] @ x)
    return jnp.mean(h), h


def power_of_the_state(m, h, x):
    h = jnp.exp(m["W"] @ x) + m["a"] * h**0.5 + jnp.tanh(m["R"] @ h)
    return jnp.mean(jnp.sin(h)), jnp.abs(h)


def angle_of_the_state(m, s, x):
    p, q = s
    turn = jnp.arctan2(q, p)
    p, q = m["a"] * p + jnp.cos(turn) + m["W"] @ x, 0.5 * q + jnp.sin(m["W"] @ x)
    return jnp.mean(p**2 + q), (p, q)


STEPS = {
    "norm": (norm_of_the_state, jnp.zeros(N)),
    "std": (spread_of_the_state, jnp.zeros(N)),
    "sqrt": (root_of_the_state, jnp.zeros(N)),
    "power": (power_of_the_state, jnp.zeros(N)),
    "arctan2": (angle_of_the_state, (jnp.zeros(N), jnp.zeros(N))),
}


def run(step, rule, model, state, *inputs, window):
    online = etr.etrace_grad(step, rule)
    trace = online.init(model, state, *(x[0] for x in inputs))
    return jax.jit(lambda: online.scan(model, state, trace, *inputs, window=window)[0])()


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("name", STEPS)
def test_from_a_zero_state_a_window_of_all_is_bptt(name, rule):
    step, state = STEPS[name]
    wanted = bptt(step, MODEL, state, XS)
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(wanted))
    assert eqx.tree_equal(run(step, rule, MODEL, state, XS, window=T), wanted, rtol=1e-9, atol=1e-12)
    slope = jax.jacrev(lambda h: step(MODEL, h, XS[0])[1])(state)
    assert not all(np.isfinite(d).all() for d in jax.tree.leaves(slope))  # what is asked about is there


@pytest.mark.parametrize("window", [1, 2])
@pytest.mark.parametrize("name", STEPS)
def test_from_a_zero_state_rtrl_is_bptt(name, window):
    step, state = STEPS[name]
    wanted = bptt(step, MODEL, state, XS)
    assert eqx.tree_equal(run(step, etr.RTRL(), MODEL, state, XS, window=window), wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["sqrt", "arctan2"])
@pytest.mark.parametrize("window", [1, 2])
def test_from_a_zero_state_drtrl_is_bptt_where_it_is_exact(name, window):
    step, state = STEPS[name]
    online = etr.etrace_grad(step, etr.DRTRL())
    assert all(row.exact for row in online.graph(MODEL, state, XS[0]).report(etr.DRTRL()).rows)
    wanted = bptt(step, MODEL, state, XS)
    assert eqx.tree_equal(run(step, etr.DRTRL(), MODEL, state, XS, window=window), wanted, rtol=1e-9, atol=1e-12)


def test_not_a_number_is_passed_on_where_the_trace_is_not_empty():
    """A root that is met at zero a second time: BPTT is NaN, and so are the traces."""

    def step(m, h, x):
        h = jnp.sqrt(m["a"] * h) * jnp.where(x[0] > 0, 1.0, 0.0) + jnp.where(x[0] > 0, m["a"], 0.0 * m["a"])
        return jnp.mean(h), h

    xs = jnp.array([1.0, -1.0, 1.0, 1.0])[:, None] * jnp.ones(F)
    assert np.isnan(bptt(step, MODEL, jnp.ones(N), xs)["a"]).all()
    for rule in (etr.DRTRL(), etr.RTRL()):
        assert not np.isfinite(run(step, rule, MODEL, jnp.ones(N), xs, window=2)["a"]).any()


def diagonal(m, h, x, done):
    h = jnp.tanh(m["a"] * jnp.where(done, 0.0, h) + m["W"] @ x)
    return jnp.sum(h**2), h


def dense(m, h, x, done):
    h = jnp.tanh(m["R"] @ jnp.where(done, 0.0, h) + m["W"] @ x)
    return jnp.sum(h**2), h


@pytest.mark.sweep(3)
@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("step", [diagonal, dense])
@pytest.mark.parametrize("window", [1, 2])
def test_a_reset_clears_what_was_not_a_number(step, rule, window):
    online = etr.etrace_grad(step, rule)
    done = jnp.zeros(T, bool)
    state, trace = jnp.zeros(N), online.init(MODEL, jnp.zeros(N), XS[0], done[0])
    steps = eqx.filter_jit(online.scan)
    bad = XS.at[1, 0].set(jnp.nan)
    gradient, state, trace = steps(MODEL, state, trace, bad[:4], done[:4], window=window)
    assert np.isnan(gradient["W"]).any()
    gradient, state, trace = steps(MODEL, state, trace, XS[4:6], done[4:6].at[0].set(True), window=window)
    found = steps(MODEL, state, trace, XS[6:], done[6:], window=window)[0]
    fresh = online.init(MODEL, jnp.zeros(N), XS[0], done[0])
    _, state, fresh = steps(MODEL, jnp.zeros(N), fresh, XS[4:6], done[4:6], window=window)
    wanted = steps(MODEL, state, fresh, XS[6:], done[6:], window=window)[0]
    assert eqx.tree_equal(found, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.sweep(3)
@pytest.mark.parametrize("rule", [etr.DRTRL(), etr.RTRL(), etr.SnAp(2)], ids=str)
@pytest.mark.parametrize("n", [2, 12])
@pytest.mark.parametrize("window", [1, 2])
def test_a_reset_clears_what_has_overflowed(rule, n, window):
    """Chaos: slopes of 1e200 make an infinite trace of a state that stays between -1 and 1.

    Influences in blocks of 3 to 8 scalars are not cleared, for speed: see `scale_blocks`.
    """

    def step(m, h, x, gain, done):
        old = jnp.where(done, 0.0, h)
        h = jnp.sin(gain * (m["R"] @ old + m["a"] * old) + m["W"] @ x)
        return jnp.sum(h**2), h

    keys = jax.random.split(KEYS[3], 2)
    model = {"a": jnp.linspace(0.3, 0.9, n), "W": jax.random.normal(keys[0], (n, F)), "R": jnp.ones((n, n)) / n}
    online = etr.etrace_grad(step, rule)
    steps = eqx.filter_jit(online.scan)
    gain, done = jnp.where(jnp.arange(T) < 4, 1e200, 1.0), jnp.arange(T) == 4
    fresh = online.init(model, jnp.zeros(n), XS[0], gain[0], done[0])
    _, state, trace = steps(model, jnp.zeros(n), fresh, XS[:4], gain[:4], done[:4], window=window)
    assert not all(np.isfinite(e).all() for e in jax.tree.leaves(trace.values))  # what is asked about is there
    _, state, trace = steps(model, state, trace, XS[4:6], gain[4:6], done[4:6], window=window)
    found = steps(model, state, trace, XS[6:], gain[6:], done[6:], window=window)[0]
    _, state, fresh = steps(model, jnp.zeros(n), fresh, XS[4:6], gain[4:6], done[4:6], window=window)
    wanted = steps(model, state, fresh, XS[6:], gain[6:], done[6:], window=window)[0]
    assert eqx.tree_equal(found, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_lane_without_a_learning_signal_spoils_no_other(rule):
    """Two lanes, one of them not a number since a step ago; its loss is masked where its derivative is."""

    def step(m, h, x, live):
        h = jax.vmap(lambda h, x: jnp.tanh(m["a"] * h + m["W"] @ x))(h, x)
        return jnp.sum(jnp.sin(jnp.where(live[:, None], h, 0.0))), h

    online = etr.etrace_grad(step, rule)
    xs, live = jnp.stack([XS, 2 * XS], 1), jnp.ones((T, 2), bool).at[3:, 1].set(False)
    state = jnp.zeros((2, N))
    trace = online.init(MODEL, state, xs[0], live[0])
    _, state, trace = online(MODEL, state, trace, xs[0].at[1, 0].set(jnp.nan), live[0])
    clean = jax.tree.map(lambda e: e, online.init(MODEL, state, xs[0], live[0]))
    _, other, clean = online(MODEL, jnp.zeros((2, N)), clean, xs[0], live[0])
    alone = jnp.array([True, False])
    # The lane's own step is a product of zero and NaN, as in BPTT; so it is held here, and its trace is what is asked.
    held = jnp.where(alone[:, None], state, other)
    found = online(MODEL, held, trace, xs[1], alone)[0]
    wanted = online(MODEL, other, clean, xs[1], alone)[0]
    assert eqx.tree_equal(found, wanted, rtol=1e-9, atol=1e-12)


def held(m, h, x, live):
    h = jnp.where(live, jnp.tanh(m["a"] * h + m["W"] @ x), h)
    return jnp.where(live, jnp.sum(jnp.sin(h)), 0.0), h


LIVE = jnp.array([1, 1, 1, 0, 0, 0, 1, 1, 1], bool)


@pytest.mark.sweep(3)
@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("window", [0, 1, 2, 4])
def test_held_steps_do_nothing(rule, window):
    online = etr.etrace_grad(held, rule)
    trace = online.init(MODEL, jnp.zeros(N), XS[0], LIVE[0])
    steps = eqx.filter_jit(online.scan)
    found, _, after = steps(MODEL, jnp.zeros(N), trace, XS, LIVE, window=window)
    wanted, _, without = steps(MODEL, jnp.zeros(N), trace, XS[LIVE], LIVE[LIVE], window=window)
    if window < 2:  # a longer window is cut at other places
        assert eqx.tree_equal(found, wanted, rtol=1e-9, atol=1e-12)
    assert eqx.tree_equal(after, without, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("window", [1, 4])
def test_lanes_are_held_one_by_one(window):
    def batch(m, h, x, live):
        losses, h = jax.vmap(held, (None, 0, 0, 0))(m, h, x, live)
        return losses.sum(), h

    online, alone = (etr.etrace_grad(step, etr.PPProp((0.8, 0.9))) for step in (batch, held))
    live = jnp.stack([LIVE, jnp.ones(T, bool)], 1)
    xs = jnp.stack([XS, -XS], 1)
    trace = online.init(MODEL, jnp.zeros((2, N)), xs[0], live[0])
    found = online.scan(MODEL, jnp.zeros((2, N)), trace, xs, live, window=window)[0]
    single = alone.init(MODEL, jnp.zeros(N), XS[0], LIVE[0])
    parts = [alone.scan(MODEL, jnp.zeros(N), single, xs[:, i], live[:, i], window=window)[0] for i in range(2)]
    assert eqx.tree_equal(found, jax.tree.map(jnp.add, *parts), rtol=1e-9, atol=1e-12)


def test_padding_that_is_not_a_number_leaves_the_trace_alone():
    for rule in RULES:
        online = etr.etrace_grad(held, rule)
        trace = online.init(MODEL, jnp.zeros(N), XS[0], LIVE[0])
        _, state, trace = online(MODEL, jnp.zeros(N), trace, XS[0], LIVE[0])
        _, _, padded = online(MODEL, state, trace, jnp.where(jnp.arange(F) == 0, jnp.inf, XS[1]), LIVE[3])
        assert eqx.tree_equal(padded, trace)


@pytest.mark.parametrize("rule", [etr.DRTRL(), etr.PPProp(0.9), etr.RTRL()], ids=str)
def test_after_a_reset_a_step_is_exact_again(rule):
    online = etr.etrace_grad(diagonal, rule)
    done = jnp.arange(T) == 5
    trace = online.init(MODEL, jnp.zeros(N), XS[0], done[0])
    _, state, trace = online.scan(MODEL, jnp.zeros(N), trace, XS[:6], done[:6])
    found = online(MODEL, state, trace, XS[6], done[6])[0]
    wanted = jax.grad(lambda m: diagonal(m, diagonal(m, jnp.zeros(N), XS[5], done[0])[1], XS[6], done[6])[0])(MODEL)
    assert eqx.tree_equal(found, wanted, rtol=1e-9, atol=1e-12)


def test_derivatives_by_what_is_zero_are_those_of_the_product():
    """By D where it is zero, and by a trace that is zero, through two steps."""

    def total(d, e0):
        d = jnp.asarray(d)  # an array also where it is known: data of the step, as where it is traced

        def step(m, h, x):
            return jnp.sum(h), d * m["a"] * h + x

        online = etr.etrace_grad(step, etr.DRTRL())
        trace = online.init({"a": jnp.ones(2)}, jnp.ones(2), jnp.ones(2))
        trace = trace.holding(jax.tree.map(lambda e: e + e0, trace.values))
        return online.scan({"a": jnp.ones(2)}, jnp.ones(2), trace, jnp.ones((2, 2)))[0]["a"].sum()

    size = 1e-6
    for d, e0 in ((0.0, 0.7), (0.0, 0.0), (0.3, 0.0)):
        slopes = jax.grad(total, (0, 1))(d, e0)
        differences = [
            (total(d + size * i, e0 + size * (1 - i)) - total(d - size * i, e0 - size * (1 - i))) / (2 * size)
            for i in (1, 0)
        ]
        np.testing.assert_allclose(slopes, differences, atol=1e-6)

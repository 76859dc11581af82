"""Readouts and others that read a group by a fixed linear map, and carry its credit on at one pace."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from filter_steps import (
    adaptive,
    B,
    CASES,
    filter_behind_a_filter,
    inputs_of,
    K,
    leak_of_every_output,
    leak_that_is_trained,
    leak_that_the_units_decide,
    leaky,
    N,
    normal,
    OUT,
    outputs_that_feed_each_other,
    recurrent,
    reset_between_sequences,
    resonating_readout,
    T,
    two_states_of_a_readout,
)
from oracle import bptt, relative

import eqx_etrace as etr

SAMPLE = {leaky, two_states_of_a_readout, filter_behind_a_filter, leak_of_every_output}


@pytest.mark.sweep(3)
@pytest.mark.parametrize(
    "step",
    [pytest.param(step, marks=() if step in SAMPLE else pytest.mark.outside_sample) for step in CASES],
    ids=lambda step: step.__name__,
)
def test_what_is_called_exact_is_that_of_bptt(step):
    shapes, with_filters, without = CASES[step]
    m, state, inputs = inputs_of(shapes)
    first = [x[0] for x in inputs]
    graph = etr.compile_graph(step, m, state, *first)
    expected = bptt(step, m, state, *inputs)
    moved = {name for name, g in expected.items() if np.abs(g).max() > 0}
    for rule, exact in ((etr.DRTRL(), with_filters), (etr.DRTRL(filters=False), without), (etr.RTRL(), moved)):
        rows = {row.path: row for row in graph.report(rule).rows}
        assert {name for name in moved if rows[(name,)].exact} == exact, rule
        at_0 = {name for name in exact if rows[(name,)].exact_at_window_0}
        online = etr.etrace_grad(step, rule)
        trace = online.init(m, state, *first)
        for window in (0, 1, 3) if rule == etr.DRTRL() else (1,):
            gradient, *_ = jax.jit(lambda m, t, w=window, o=online: o.scan(m, state, t, *inputs, window=w))(m, trace)
            for name in at_0 if window == 0 else exact:
                assert relative(gradient[name], expected[name]) < 1e-9, (rule, window, name)


FULL = {leaky: 2, leak_that_is_trained: 2, reset_between_sequences: 2, two_states_of_a_readout: 3, adaptive: 3 / 2}


@pytest.mark.parametrize("step", FULL, ids=lambda step: step.__name__)
def test_one_more_trace_for_every_state_of_the_reader(step):
    """And none for the reader itself: what it owes to the weights of the group is nowhere kept unit by unit."""
    m, state, inputs = inputs_of(CASES[step][0])
    graph = etr.compile_graph(step, m, state, *(x[0] for x in inputs))

    def bytes_of(rule):
        return {row.path: row.trace_bytes for row in graph.report(rule).rows}

    found, without = bytes_of(etr.DRTRL()), bytes_of(etr.DRTRL(filters=False))
    assert found[("w",)] / without[("w",)] == pytest.approx(FULL[step], rel=0.05)
    assert found[("o",)] == without[("o",)]


def test_groups_are_those_of_the_step():
    m, state, inputs = inputs_of(CASES[leaky][0])
    first = [x[0] for x in inputs]
    graph = etr.compile_graph(leaky, m, state, *first)
    assert [g.paths for g in graph.hidden_groups] == [((0,),), ((1,),)]
    graph.report(etr.DRTRL())
    assert [(r.path, r.group) for r in graph.relations] == [(("w",), 0), (("o",), 1)]
    rows = graph.report(etr.DRTRL()).rows
    assert [(row.path, row.group) for row in rows if row.group is not None] == [(("o",), 1), (("w",), 0)]


def test_why_no_filter_carries_credit_on():
    m, state, inputs = inputs_of(CASES[leak_of_every_output][0])
    first = [x[0] for x in inputs]

    def told(step):
        return str(etr.compile_graph(step, m, state, *first).report(etr.DRTRL()))

    assert "move at one rate for all of its units" in told(leak_of_every_output)
    assert "one rate" not in told(leak_that_the_units_decide), "it is one rate already"
    assert "take it by one factor for all of its units" in told(leak_that_the_units_decide)
    assert "what reads it feeds itself" in told(outputs_that_feed_each_other)
    assert "what reads it" not in told(leaky) + told(recurrent)


def test_a_window_leaves_the_trace_of_single_steps():
    m, state, inputs = inputs_of(CASES[resonating_readout][0])
    for rule in (etr.DRTRL(), etr.PPProp(0.9, filters=True)):
        online = etr.etrace_grad(resonating_readout, rule)
        trace = online.init(m, state, *(x[0] for x in inputs))
        *_, by_one = online.scan(m, state, trace, *inputs, window=1)
        *_, by_four = online.scan(m, state, trace, *inputs, window=4)
        for one, four in zip(jax.tree.leaves(by_one), jax.tree.leaves(by_four), strict=True):
            assert relative(one, four) < 1e-10 or not np.abs(four).max()


def test_factors_of_filters_are_an_approximation():
    """By choice only, and not called exact."""
    m, state, inputs = inputs_of(CASES[leaky][0])
    first = [x[0] for x in inputs]
    graph = etr.compile_graph(leaky, m, state, *first)
    expected, errors = bptt(leaky, m, state, *inputs), []
    for rule in (etr.PPProp(0.9), etr.PPProp(0.9, filters=True)):
        (row,) = (row for row in graph.report(rule).rows if row.path == ("w",))
        assert not row.exact
        online = etr.etrace_grad(leaky, rule)
        gradient, *_ = online.scan(m, state, online.init(m, state, *first), *inputs, window=1)
        errors.append(relative(gradient["w"], expected["w"]))
    assert errors[1] < errors[0] and "two factors" in str(graph.report(etr.PPProp(0.9, filters=True)))


def test_lanes_outside_the_step():
    """The same as a batch within it, mapped over one learner for each lane."""
    m, state, inputs = inputs_of(CASES[leaky][0])
    online = etr.etrace_grad(leaky, etr.DRTRL())
    one = jax.tree.map(lambda s: s[:1], state)
    trace = online.init(m, one, *(x[0, :1] for x in inputs))
    lanes = jax.tree.map(lambda s: s[:, None], state), jax.tree.map(lambda x: x.swapaxes(0, 1)[:, :, None], inputs)

    def learn(state, inputs):
        return online.scan(m, state, trace, *inputs, window=1)[0]

    total = jax.tree.map(lambda g: g.sum(0), jax.vmap(learn)(*lanes))
    expected = bptt(leaky, m, state, *inputs)
    assert all(relative(total[name], expected[name]) < 1e-10 for name in ("w", "o"))


def test_single_steps_and_pullbacks():
    """With a cotangent for the new state, too: what is called exact is exact for any."""
    m, state, inputs = inputs_of(CASES[leaky][0])

    def rates(m, s, x):
        s = leaky(m, s, x, 0.0)[1]
        return s[1], s

    at_once = etr.etrace_vjp(rates, etr.DRTRL())
    trace = at_once.init(m, state, inputs[0][0])
    total, s = jax.tree.map(jnp.zeros_like, m), state
    r, pullback = s[1], None
    on_state = normal(40, *state[0].shape), normal(41, *state[1].shape)
    for x, y in zip(*inputs, strict=True):
        r, s, trace, pullback = at_once(m, s, trace, x)
        total = jax.tree.map(jnp.add, total, pullback(2 * (r - y))[0])
    assert pullback is not None
    gradient, _ = pullback(jnp.zeros_like(r), on_state)

    def whole(m):
        s, loss = state, 0.0
        for x, y in zip(*inputs, strict=True):
            now, s = leaky(m, s, x, y)
            loss += now
        return loss, sum(jnp.sum(g * h) for g, h in zip(on_state, s, strict=True))

    expected, expected_of_state = jax.jacrev(whole)(m)
    assert all(relative(total[name], expected[name]) < 1e-10 for name in ("w", "o"))
    assert all(relative(gradient[name], expected_of_state[name]) < 1e-10 for name in ("w", "o"))


def convolutional(m, s, x, y):
    """A convolutional layer, and a leaky readout of what it makes, convolved again and pooled."""
    V, r = s
    V = 0.9 * V + jax.lax.conv(x, m["w"], (1, 1), "SAME")
    z = jax.lax.conv(jnp.tanh(V), m["o"], (1, 1), "SAME")
    r = 0.8 * r + z
    pooled = r.mean((2, 3))
    return jnp.sum((pooled - y) ** 2), (V, r)


def pooled(m, s, x, y):
    """The pool comes first, and then a dense readout."""
    V, r = s
    V = 0.9 * V + jax.lax.conv(x, m["w"], (1, 1), "SAME")
    z = jnp.tanh(V).reshape(*V.shape[:2], 2, 2, 2, 2).mean((3, 5))
    r = 0.8 * r + z.reshape(len(z), -1) @ m["p"].T
    return jnp.sum((r - y) ** 2), (V, r)


@pytest.mark.parametrize("step", [convolutional, pooled])
def test_convolutions(step):
    m = {"w": normal(0, 3, 2, 3, 3), "o": normal(1, OUT, 3, 3, 3), "p": normal(2, OUT, 12)}
    xs, ys = normal(3, T, B, 2, 4, 4), normal(4, T, B, OUT)
    state = jnp.zeros((B, 3, 4, 4)), jnp.zeros((B, OUT, 4, 4) if step is convolutional else (B, OUT))
    online = etr.etrace_grad(step, etr.DRTRL())
    rows = online.graph(m, state, xs[0], ys[0]).report(etr.DRTRL()).rows
    assert all(row.exact for row in rows)
    expected = bptt(step, m, state, xs, ys)
    for window in (0, 1, 3):
        gradient, *_ = online.scan(m, state, online.init(m, state, xs[0], ys[0]), xs, ys, window=window)
        assert all(relative(gradient[row.path[0]], expected[row.path[0]]) < 1e-10 for row in rows)


def test_a_kernel_that_units_make():
    """z is the kernel: every image meets all of it, whatever its leak."""
    m = {"w": normal(0, 2, K), "images": normal(1, 2, 1, 5)}

    def step(m, s, x):
        V, r = s
        V = 0.9 * V + jnp.tanh(m["w"] @ x)
        q = jax.lax.conv_general_dilated(m["images"], V[:, None, None], (1,), "SAME")
        r = jnp.array([0.6, 0.9])[:, None, None] * r + q
        return jnp.sum(r**2), (V, r)

    state, xs = (normal(2, 2), normal(3, 2, 2, 5)), normal(4, T, K)
    online = etr.etrace_grad(step, etr.DRTRL())
    rows = {row.path: row for row in online.graph(m, state, xs[0]).report(etr.DRTRL()).rows}
    assert not rows[("w",)].exact


def test_filters_do_not_grow_with_the_number_of_ways():
    """Layers that skip layers: there are as many ways as there are sets of layers."""

    def step(m, s, x):
        V = 0.9 * s[0] + m["w"] @ x
        new = [V]
        for r in s[1:]:
            new.append(0.8 * r + sum(m["u"] @ z for z in new))
        return jnp.sum(new[-1] ** 2), tuple(new)

    m, state = {"w": normal(0, N, K), "u": normal(1, N, N)}, tuple(jnp.zeros(N) for _ in range(9))
    graph = etr.compile_graph(step, m, state, jnp.ones(K))
    rows = graph.report(etr.DRTRL()).rows
    assert max(len(row.trace_shape) for row in rows) <= 1 + 8 * 8
    assert any("more than 8 states" in str(cut) for row in rows for cut in row.dropped)

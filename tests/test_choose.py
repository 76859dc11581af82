"""What rules would cost, and the choice among them."""

import jax
import jax.numpy as jnp
import pytest

import eqx_etrace as etr


def graph_of(n=4):
    """A mixing layer, and a leaky one above it whose own weights are exact by position."""

    def step(m, state, x):
        first = jnp.tanh(m["w"] @ state[0] + m["e"] @ x)
        second = 0.9 * state[1] + m["c"] @ first
        return jnp.sum(second), (first, second)

    model = {"w": jnp.ones((n, n)), "e": jnp.ones((n, 3)), "c": jnp.ones((2, n))}
    return etr.compile_graph(step, model, (jnp.ones(n), jnp.ones(2)), jnp.ones(3))


def exact_parameters(report):
    paths = {row.path for row in report.rows}
    return len(paths - {row.path for row in report.rows if not row.exact})


def test_alternatives_are_what_each_report_says():
    graph = graph_of()
    costs = {cost.rule: cost for cost in graph.report(etr.NoTrace()).alternatives}
    for rule in (etr.NoTrace(), etr.PPProp(0.95), etr.DRTRL(), etr.SnAp(1), etr.SnAp(2), etr.RTRL()):
        report, cost = graph.report(rule), costs[str(rule)]
        assert (cost.trace_bytes, cost.work, cost.passes) == (report.trace_bytes, report.work, report.passes)
        assert cost.exact == exact_parameters(report)
        assert str(rule) in str(graph.report(etr.DRTRL()))
    assert costs["DRTRL()"].exact == 1 and costs[str(etr.RTRL())].exact == 3


def test_traces_that_are_the_same_take_the_same_work():
    """Those of D-RTRL and of influence on blocks of one scalar."""

    def step(m, h, x):
        h = m["a"] * h + m["w"] @ x
        return jnp.sum(h), h

    graph = etr.compile_graph(step, {"a": jnp.ones(4), "w": jnp.ones((4, 3))}, jnp.ones(4), jnp.ones(3))
    first, second = graph.report(etr.DRTRL()), graph.report(etr.SnAp(1))
    assert (first.trace_bytes, first.work) == (second.trace_bytes, second.work)


def test_everything_exact_where_it_fits():
    graph = graph_of()
    needed = graph.report(etr.RTRL()).trace_bytes
    rule = etr.choose_rule(graph, memory=needed)
    assert graph.report(rule).trace_bytes <= needed
    assert all(row.exact for row in graph.report(rule).rows)


@pytest.mark.parametrize("memory", [0, 10, 100, 300, 500, 700, 1000])
def test_no_more_than_the_memory(memory):
    graph = graph_of()
    rule = etr.choose_rule(graph, memory=memory)
    assert graph.report(rule).trace_bytes <= memory


def test_more_memory_makes_more_exact():
    graph = graph_of()
    exact = [exact_parameters(graph.report(etr.choose_rule(graph, memory=m))) for m in (0, 200, 800, 10_000)]
    assert exact == sorted(exact) and exact[0] < exact[1] < exact[-1] == 3


def test_of_another_graph():
    rule = etr.choose_rule(graph_of(), memory=300)
    other = etr.compile_graph(lambda m, h, x: (jnp.sum(h), h + m * x), jnp.ones(2), jnp.ones(2), jnp.ones(2))
    with pytest.raises(ValueError, match="another graph"):
        other.report(rule)


@pytest.mark.parametrize(("memory", "error"), [(-1, ValueError), (1.5, TypeError), ("1", TypeError)])
def test_memory_is_checked(memory, error):
    with pytest.raises(error):
        etr.choose_rule(graph_of(), memory=memory)


@pytest.mark.parametrize("among", [etr.RTRL(), [], [etr.DRTRL], "RTRL"], ids=str)
def test_among_is_checked(among):
    with pytest.raises(Exception, match="among") as info:
        etr.choose_rule(graph_of(), memory=100, among=among)
    assert isinstance(info.value, TypeError) or "TypeCheckError" in type(info.value).__name__


def test_alternatives_over_their_limit_are_marked():
    """A dense network of 300 units in a batch of 16: RTRL would take 8 GB."""

    def step(m, h, x):
        h = jnp.tanh(h @ m + x)
        return jnp.sum(h), h

    state = jax.ShapeDtypeStruct((16, 300), jnp.float32)
    report = etr.compile_graph(step, jax.ShapeDtypeStruct((300, 300), jnp.float32), state, state).report(etr.DRTRL())
    over = {cost.rule for cost in report.alternatives if cost.over_limit}
    assert over == {"SnAp(n=2)", "RTRL()"}
    assert [", over its limit" in line for line in str(report).splitlines() if "RTRL()" in line][-1]


def test_a_jacobian_that_is_too_large_is_refused():
    """A state normalised as a whole: each of its scalars depends on all."""

    def step(m, h, x):
        h = h + m * x
        return jnp.sum(h), jnp.tanh(h - h.mean())

    shape = jax.ShapeDtypeStruct((80, 80), jnp.float32)
    graph = etr.compile_graph(step, shape, shape, shape)
    with pytest.raises(ValueError, match=r"too large.*33,554,432.*test_choose.py"):
        graph.report(etr.RTRL())
    assert "too large" in str(graph.report(etr.DRTRL()))
    assert graph.report(etr.choose_rule(graph, memory=10**9)).trace_bytes > 0

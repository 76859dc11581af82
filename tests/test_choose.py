"""What rules would cost, and the choice among them."""

import itertools
import math

import jax
import jax.numpy as jnp
import pytest

import eqx_etrace as etr

pytestmark = pytest.mark.outside_sample  # of traces, and not of how this JAX writes a step


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
    exact = [exact_parameters(graph.report(etr.choose_rule(graph, memory=m))) for m in (0, 240, 800, 10_000)]
    assert exact == sorted(exact) and exact[0] < exact[1] < exact[-1] == 3


def populations(sizes, drives, seed=0):
    """Recurrent populations side by side: none is exact by position, and each costs what its size says."""

    def step(m, state, x):
        new = [jnp.tanh(p["w"] @ h + p["b"] + p["u"] @ x[: p["u"].shape[1]]) for p, h in zip(m, state, strict=True)]
        return sum(h.sum() for h in new), new

    model = [
        {"w": jnp.ones((n, n)), "b": jnp.ones(n), "u": jnp.ones((n, k))} for n, k in zip(sizes, drives, strict=True)
    ]
    return etr.compile_graph(step, model, [jnp.zeros(n) for n in sizes], jnp.ones(max(drives)))


def weights_exact(graph, model_sizes, rule):
    inexact = {row.path for row in graph.report(rule).rows if not row.exact}
    return sum(size for path, size in model_sizes.items() if path not in inexact)


def sizes_of(graph):
    step = graph._analysis.step
    shapes = [step.program.shape(var) for var in step.parameters]
    return dict(zip(step.model.inexact_paths, map(math.prod, shapes), strict=True))


AMONG = (etr.RTRL(), etr.DRTRL(), etr.PPProp(0.95))


@pytest.mark.parametrize(("sizes", "drives"), [((2, 3), (1, 4)), ((4, 2), (5, 2))])
def test_as_many_weights_as_fit(sizes, drives):
    """All assignments of all rules, asked one by one, as oracle: none that leaves nobody without a trace has more."""
    graph = populations(sizes, drives)
    count = sizes_of(graph)
    options = []
    for chosen in itertools.product(AMONG, repeat=len(count)):
        by_path = dict(zip(count, chosen, strict=True))
        report = graph.report(lambda r, by_path=by_path: by_path[r.path])
        inexact = {row.path for row in report.rows if not row.exact}
        options.append((report.trace_bytes, sum(n for path, n in count.items() if path not in inexact)))
    least, most = min(options)[0], max(options)[0]
    found = []
    for memory in range(least, most + 100, max((most - least) // 12, 1)):
        rule = etr.choose_rule(graph, memory=memory, among=AMONG)
        assert graph.report(rule).trace_bytes <= memory
        found.append(weights_exact(graph, count, rule))
        assert found[-1] == max(n for size, n in options if size <= memory)
    assert len(set(found)) > 3


def test_a_matrix_comes_before_two_biases():
    """The bytes that make two biases exact are fewer, and so are the weights."""

    def step(m, state, x):
        a = jnp.tanh(m["w"] @ state + m["u"] @ x + m["b"] + m["c"])
        return a.sum(), a

    model = {"w": jnp.ones((8, 8)), "u": jnp.ones((8, 20)), "b": jnp.ones(8), "c": jnp.ones(8) * 2}
    graph = etr.compile_graph(step, model, jnp.zeros(8), jnp.ones(20))
    cheap = graph.report(etr.PPProp(0.95)).trace_bytes
    rtrl = {row.path[0]: row.trace_bytes for row in graph.report(etr.RTRL()).rows}
    rule = etr.choose_rule(graph, memory=cheap + rtrl["u"])
    exact = {row.path[0] for row in graph.report(rule).rows if row.exact}
    assert exact == {"u"}


def test_more_memory_never_makes_fewer_weights_exact():
    graph = populations((2, 3, 4, 5), (1, 7, 2, 3))
    count = sizes_of(graph)
    most = graph.report(etr.RTRL()).trace_bytes
    memories = [*range(0, most, most // 15), most]
    found = [weights_exact(graph, count, etr.choose_rule(graph, memory=m)) for m in memories]
    assert found == sorted(found) and found[0] == 0 and found[-1] == sum(count.values()) and len(set(found)) > 7


def test_every_parameter_keeps_a_trace_where_the_cheapest_fit():
    graph = populations((2, 3, 4), (1, 7, 2))
    least = graph.report(etr.PPProp(0.95)).trace_bytes
    for memory in (least, least + 100, least + 1000):
        rows = graph.report(etr.choose_rule(graph, memory=memory)).rows
        assert all(row.rule != "NoTrace" for row in rows)


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
    assert over == {"SnAp(n=2)", "OSTL()", "RTRL()"}
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

"""Steps that lose credit in a known form: what a report says to do instead makes them exact."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import pytest
from jax.extend.core import Primitive
from jax.interpreters import ad, mlir
from sample import check_exact

import eqx_etrace as etr

T, N, F, B, K = 5, 6, 4, 3, 2


def normal(*shape: int, seed: int = 0) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), shape)


def end(h):
    return jnp.sum(jnp.sin(h) * jnp.arange(1.0, 1 + h.size).reshape(h.shape)), h


LEAK = jnp.linspace(0.5, 0.9, N)


def in_a_branch(m, h, x):
    return end(0.9 * h + jax.lax.cond(x.sum() > 0, lambda: x @ m, lambda: jnp.zeros((B, N))))


def chosen(m, h, x):
    return end(0.9 * h + jnp.where(x.sum() > 0, x @ m, 0.0))


def in_a_long_loop(m, h, x):
    return end(jax.lax.scan(lambda h, _: (h + 0.01 * (x @ m - h), None), h, None, length=100)[0])


def before_the_loop(m, h, x):
    current = x @ m
    return end(jax.lax.scan(lambda h, _: (h + 0.01 * (current - h), None), h, None, length=100)[0])


def one_factor_after_the_other(m, h, x):
    return end(LEAK * h + m[0] @ (m[1] @ x))


def factors_in_a_batch(m, h, x):
    return end(LEAK * h + 2 * (x @ m[1].T).reshape(B, K) @ m[0].T)


def product_first(m, h, x):
    return end(LEAK * h + (m[0] @ m[1]) @ x)


def product_first_in_a_batch(m, h, x):
    return end(LEAK * h + 2 * x @ (m[0] @ m[1]).T)


def a_gain_after_data(m, h, x):
    return end(LEAK * h + m[0] @ (m[1] * x))


def a_gain_of_the_weights(m, h, x):
    return end(LEAK * h + (m[0] * m[1]) @ x)


def coupled_by_a_trained_matrix(m, h, x):
    return end(jnp.einsum("ncd,nd->nc", m["A"], h).at[:, 0].add(m["w"] @ x))


def coupled_state_by_state(m, state, x):
    def coupled(c):
        return sum(m["A"][:, c, d] * h for d, h in enumerate(state))

    state = [coupled(0) + m["w"] @ x, coupled(1), coupled(2)]
    return end(jnp.stack(state))[0], tuple(state)


def rows_of_one_weight(m, h, x):
    return end(0.9 * h + (m @ x).reshape(N, 9) + 0.1 * h[:, ::-1])


def in_a_tuple(m, state, x):
    y = (m @ x).reshape(N, 9)
    state = tuple(0.9 * h + y[:, k] + 0.1 * state[8 - k] for k, h in enumerate(state))
    return end(jnp.stack(state))[0], state


def at_an_index_of_the_input(m, h, x):
    index = jnp.arange(12) % N + jnp.int64(x[0] > 1e9)
    return end(0.9 * h + jax.ops.segment_sum(m * jnp.tile(x, 3), index, N))


def at_an_index_of_the_model(m, h, x):
    return end(0.9 * h + jax.ops.segment_sum(m[0] * jnp.tile(x, 3), m[1], N))


def as_many_inputs_for_each(m, h, x):
    index = (jnp.arange(12).reshape(N, 2) + jnp.int64(x[0] > 1e9)) % F
    return end(0.9 * h + (m * x[index]).sum(-1))


@jax.custom_jvp
def spike(slope, v):
    return (v > 0).astype(v.dtype) + 0 * slope


@spike.defjvp
def _(primals, tangents):
    return spike(*primals), jax.jvp(lambda a, v: v / (1 + a * jnp.abs(v)), primals, tangents)[1]


def one_slope_for_all(m, v, x):
    v = 0.9 * v + x
    return end(v - spike(m, v))


def a_slope_for_each(m, v, x):
    v = 0.9 * v + x
    return end(v - spike(jnp.broadcast_to(m, v.shape), v))


def ring(slots: int) -> Callable[..., Any]:
    def step(m, state, x):
        buffer, h, t = state
        h = 0.9 * h + m @ x + 0.1 * buffer[(t + 1) % slots]
        return end(h)[0], (buffer.at[t % slots].set(h), h, t + 1)

    return step


class Form(NamedTuple):
    lost: Callable[..., Any]
    said: str
    kept: Callable[..., Any]
    model: Any
    state: Any
    x: tuple[int, ...]
    need: int
    other: tuple[Any, Any] | None = None
    """Model and state of the step that keeps it, if others."""


FORMS = {
    "branch": Form(in_a_branch, "`jnp.where`", chosen, normal(F, N), normal(B, N), (B, F), B * F * N),
    "loop": Form(in_a_long_loop, "before the loop", before_the_loop, normal(F, N), normal(B, N), (B, F), B * F * N),
    "factors": Form(
        one_factor_after_the_other,
        "`(A @ B) @ x`",
        product_first,
        (normal(N, K), normal(K, F)),
        normal(N),
        (F,),
        N * F,
    ),
    "factors in a batch": Form(
        factors_in_a_batch,
        "`(A @ B) @ x`",
        product_first_in_a_batch,
        (normal(N, K), normal(K, F)),
        normal(B, N),
        (B, F),
        B * N * F,
    ),
    "gain": Form(
        a_gain_after_data,
        "`(A * gain) @ x`",
        a_gain_of_the_weights,
        (normal(N, F), normal(F)),
        normal(N),
        (F,),
        N * F,
    ),
    "coupling": Form(
        coupled_by_a_trained_matrix,
        "a tuple of arrays",
        coupled_state_by_state,
        {"A": 0.3 * normal(N, 3, 3), "w": normal(N, F)},
        normal(N, 3),
        (F,),
        3 * (9 * N + N * F),
        ({"A": 0.3 * normal(N, 3, 3), "w": normal(N, F)}, tuple(normal(3, N))),
    ),
    "states": Form(
        rows_of_one_weight,
        "a tuple of arrays",
        in_a_tuple,
        normal(9 * N, F),
        normal(N, 9),
        (F,),
        81 * N * F,
        (normal(9 * N, F), tuple(normal(9, N))),
    ),
    "index": Form(
        at_an_index_of_the_input,
        "hold it in the model",
        at_an_index_of_the_model,
        normal(12),
        normal(N),
        (F,),
        12,
        ((normal(12), jnp.arange(12) % N), normal(N)),
    ),
    "fixed fan-in": Form(
        at_an_index_of_the_input,
        "`(w * x[index]).sum(-1)`",
        as_many_inputs_for_each,
        normal(12),
        normal(N),
        (F,),
        12,
        (normal(N, 2), normal(N)),
    ),
    "slope": Form(one_slope_for_all, "`jnp.broadcast_to(a, v.shape)`", a_slope_for_each, normal(), normal(N), (N,), N),
    "buffer": Form(
        ring(70),
        "up to 64 slots",
        ring(5),
        normal(N, F),
        (normal(70, N), normal(N), jnp.array(0)),
        (F,),
        6 * N * F,
        (normal(N, F), (normal(5, N), normal(N), jnp.array(0))),
    ),
}


EVERY_SECOND = [
    pytest.param(form, id=name, marks=[pytest.mark.outside_sample] if i % 2 else [])
    for i, (name, form) in enumerate(FORMS.items())
]


@pytest.mark.sweep(2)
@pytest.mark.parametrize("form", EVERY_SECOND)
def test_what_a_report_says_to_write_instead_is_exact(form):
    xs = normal(T, *form.x, seed=2)
    report = etr.compile_graph(form.lost, form.model, form.state, xs[0]).report(etr.DRTRL())
    lost = [row for row in report.rows if not row.exact]
    assert lost and any(form.said in cut.why for row in lost for cut in row.dropped)
    assert form.said in str(report)
    model, state = form.other or (form.model, form.state)
    check_exact(form.kept, etr.DRTRL(), model, state, xs, form.need)


def test_a_bottleneck_between_units_has_a_trace_as_one_matrix():
    """It mixes as a dense matrix does. But its inner factor has a trace only if the product is computed first."""

    def apart(m, h, x):
        return end(0.5 * h + m[0] @ (m[1] @ h) + x)

    def together(m, h, x):
        return end(0.5 * h + (m[0] @ m[1]) @ h + x)

    m = normal(N, K), normal(K, N)
    (_, inner) = etr.compile_graph(apart, m, normal(N), normal(N)).report(etr.DRTRL()).rows
    assert inner.group is None and any("(A @ B) @ x" in cut.why for cut in inner.dropped)
    (_, inner) = etr.compile_graph(together, m, normal(N), normal(N)).report(etr.DRTRL()).rows
    assert inner.group == 0


def sorted_units(m, h, x):
    return end(0.9 * jnp.sort(h) + m @ x)


def centred(m, h, x):
    h = 0.9 * h + m @ x
    return end(h - h.mean())


def recurrent(m, h, x):
    return end(jnp.tanh(m[:, :N] @ h + m[:, N:] @ x))


@pytest.mark.parametrize("step", [sorted_units, centred, recurrent])
def test_where_units_mix_nothing_is_promised(step):
    m = normal(N, N + F) if step is recurrent else normal(N, F)
    report = etr.compile_graph(step, m, normal(N), normal(F)).report(etr.DRTRL())
    assert {cut.why for row in report.rows for cut in row.dropped} == {""}


def test_the_price_of_rtrl_is_told_for_each_parameter_that_is_not_exact():
    def step(m, h, x):
        h = jnp.tanh(m["r"] @ h + m["w"] @ x)
        return jnp.sum((m["out"] @ h) ** 2), h

    m = {"r": normal(N, N), "w": normal(N, F), "out": normal(2, N)}
    graph = etr.compile_graph(step, m, normal(N), normal(F))
    report = graph.report(etr.DRTRL())
    whole = report.alternatives[-1]
    assert whole.rule == "RTRL()" and [price.path for price in whole.prices] == [("out",), ("r",), ("w",)]
    alone = {row.path: (row.trace_bytes, row.work) for row in graph.report(etr.RTRL()).rows}
    assert {price.path: (price.trace_bytes, price.work) for price in whole.prices} == alone
    text = str(report)
    assert "`RTRL()` would keep it, beside 6 reverse passes. Each of these alone would take:\n   ('r',): " in text
    assert "   ('out',): " not in text and "would keep it" not in str(graph.report(etr.RTRL()))


def test_the_price_is_told_for_six_parameters():
    def step(m, h, x):
        h = jnp.tanh(sum(m) @ h + x)
        return jnp.sum(h**2), h

    graph = etr.compile_graph(step, [normal(N, N) for _ in range(8)], normal(N), normal(N))
    assert "\n   and 2 more\n" in str(graph.report(etr.DRTRL()))


doubled = Primitive("doubled_along")
"""One whose row in the table nobody wrote: twice the sum of the elements, for each of them."""
doubled.def_impl(lambda x: jnp.full_like(x, 2 * x.sum()))
doubled.def_abstract_eval(lambda x: x)
ad.deflinear2(doubled, lambda ct, x: (jnp.full_like(ct, 2 * ct.sum()),))
mlir.register_lowering(doubled, mlir.lower_fun(lambda x: jnp.full_like(x, 2 * x.sum()), multiple_results=False))


def test_an_operation_that_nothing_is_known_of_is_said_to_be_so():
    def step(m, h, x):
        return end(0.9 * h + doubled.bind(m * x))

    report = etr.compile_graph(step, normal(N), normal(N), normal(N)).report(etr.DRTRL())
    (row,) = report.rows
    assert not row.exact and "nothing is known of this operation" in row.dropped[0].why
    assert row.dropped[0].where.startswith("doubled_along mixes positions at test_rewriting.py:")

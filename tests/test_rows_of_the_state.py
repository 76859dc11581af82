"""Units of a head that enter rows of the state: outer products, gates for a row, one number for all units."""

import jax
import jax.numpy as jnp
import pytest
from oracle import bptt
from sample import check_exact, error, runs

import eqx_etrace as etr

T, N, M, F, B = 7, 6, 5, 4, 3


def normal(*shape, seed=0):
    return 0.5 * jax.random.normal(jax.random.key(seed), shape)


def loss(h):
    return jnp.sum(jnp.sin(h) ** 2)


def outer_products(m, s, x):
    s = 0.9 * s + jnp.outer(m["k"] @ x, m["v"] @ x)
    return loss(s @ jnp.ones(M)), s


def gated_linear_attention(m, s, x):
    s = jax.nn.sigmoid(m["g"] @ x)[:, None] * s + jnp.outer(m["k"] @ x, m["v"] @ x)
    return loss(s @ jnp.cos(x[0] * jnp.arange(1.0, M + 1))), s


def linear_attention_in_a_batch(m, s, x):
    k, v, q = jax.nn.relu(x @ m["k"].T), x @ m["v"].T, x @ m["q"].T
    s = 0.9 * s + k[:, :, None] * v[:, None, :]
    return loss(jnp.einsum("bnm,bm->bn", s, q)), s


def selective_state_space(m, s, x):
    """Mamba: the step size, B and C are made of the input."""
    dt = jax.nn.softplus(m["dt"] @ x)[:, None]
    s = jnp.exp(-dt * jnp.exp(m["A"])) * s + dt * (m["B"] @ x)[None] * (m["in"] @ x)[:, None]
    return loss(s @ (m["C"] @ x)), s


def matrix_memory(m, state, x):
    """mLSTM, with its normaliser and without its stabiliser."""
    c, n = state
    i, f = jnp.exp(-jnp.abs(m["i"] @ x)), jax.nn.sigmoid(m["f"] @ x)
    k, q = m["k"] @ x, m["q"] @ x
    c = f * c + i * jnp.outer(m["v"] @ x, k)
    n = f * n + i * k
    return loss(c @ q / (1 + jnp.abs(n @ q))), (c, n)


def one_number_for_all_units(m, h, x):
    h = 0.8 * h + jnp.tanh(m["w"] @ x) * jnp.arange(1.0, N + 1)
    return loss(h), h


def a_gain(m, h, x):
    h = 0.8 * h + (m["w"] @ x) * (m["u"] @ x)
    return loss(h), h


X, XB, S = 2 * normal(T, F, seed=1), 2 * normal(T, B, F, seed=1), jnp.zeros((N, M))
ROWS = {"g": normal(N, F), "k": normal(N, F, seed=3), "v": normal(M, F, seed=2), "q": normal(M, F, seed=4)}
MAMBA = {name: normal(n, F, seed=n) for name, n in {"dt": N, "B": M, "C": M, "in": N}.items()}
MEMORY = {"i": normal(F), "f": normal(F, seed=1), "k": normal(M, F), "v": normal(N, F), "q": normal(M, F, seed=2)}


def gate_of_several_heads(m, s, x):
    """The gate is copied along the rows of B, and what comes of both along those of the input: Mamba 2."""
    dt = jax.nn.softplus(m["dt"] @ x)
    u, b = (m["v"] @ x).reshape(2, 3), (m["k"] @ x).reshape(2, 2)
    s = jnp.exp(-dt)[:, None, None] * s + jnp.einsum("hn,hd->hnd", b * dt[:, None], u)
    return loss(s), s


CASES = {
    outer_products: (ROWS, S, X, 2 * N * M * F),
    gated_linear_attention: (ROWS, S, X, 3 * N * M * F),
    linear_attention_in_a_batch: (ROWS, jnp.zeros((B, N, M)), XB, 2 * B * N * M * F),
    selective_state_space: ({**MAMBA, "A": normal(N, M)}, S, X, 3 * N * M * F + N * M),
    matrix_memory: (MEMORY, (S, jnp.zeros(M)), X, 4 * N * M * F + 3 * M * F),
    one_number_for_all_units: ({"w": normal(F)}, jnp.zeros(N), X, N * F),
    gate_of_several_heads: (
        {"dt": normal(2, F), "k": normal(4, F, seed=1), "v": normal(6, F, seed=2)},
        normal(2, 2, 3),
        X,
        4 * 12 * F,
    ),
    a_gain: ({"w": normal(F), "u": normal(N, F)}, jnp.zeros(N), X, 2 * N * F),
}
"""Step: (model, state, inputs, how many numbers a trace needs: one for each weight and position that it enters)."""


@pytest.mark.sweep(3)
@pytest.mark.parametrize(("step", "rule"), runs(CASES))
def test_exact_at_the_size_of_need(step, rule):
    check_exact(step, rule, *CASES[step])


def test_what_is_written_out_changes_no_value():
    m, state, xs, _ = CASES[matrix_memory]
    online = etr.etrace_grad(matrix_memory, etr.DRTRL())
    _, after, *_ = online(m, state, online.init(m, state, xs[0]), xs[0])
    for found, wanted in zip(after, matrix_memory(m, state, xs[0])[1], strict=True):
        assert error(found, wanted) < 1e-14


def delta_rule(m, s, x):
    """What is written depends on what is read in the direction of the key: rows of the state mix."""
    k = m["k"] @ x
    s = s + 0.3 * jnp.outer(m["v"] @ x - s @ k, k)
    return loss(s @ (m["q"] @ x)), s


def normalised_over_units(m, s, x):
    y = m["k"] @ x
    s = 0.9 * s + jnp.outer(y / (1 + jnp.sqrt(jnp.sum(y**2))), m["v"] @ x)
    return loss(s), s


def back_through_the_state(m, s, x):
    s = 0.9 * s + jnp.outer(jnp.tanh(m["k"] @ x + s[:, 0]), m["v"] @ x)
    return loss(s), s


@pytest.mark.sweep(3)
@pytest.mark.parametrize("rule", [etr.DRTRL(), etr.RTRL()], ids=["DRTRL", "RTRL"])
@pytest.mark.parametrize("step", [delta_rule, normalised_over_units, back_through_the_state], ids=lambda s: s.__name__)
def test_what_is_called_exact_is_that_of_bptt(step, rule):
    m = {**ROWS, "k": normal(M if step is delta_rule else N, F, seed=3), "v": normal(N if step is delta_rule else M, F)}
    online = etr.etrace_grad(step, rule)
    rows = {row.path[0]: row.exact for row in online.graph(m, S, X[0]).report(rule).rows}
    wanted = bptt(step, m, S, X)
    for window in (1, 3, T):
        found, *_ = online.scan(m, S, online.init(m, S, X[0]), X, window=window)
        for name in ("k", "v"):
            assert (error(found[name], wanted[name]) < 1e-9) >= (rows[name] or window == T)
    assert isinstance(rule, etr.DRTRL) or all(rows.values())

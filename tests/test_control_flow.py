"""Loops and conditionals inside a step: followed by position, exact at the size of need."""

import jax
import jax.numpy as jnp
import pytest
from oracle import bptt
from sample import check_exact, error, runs

import eqx_etrace as etr

T, N, F, B = 7, 6, 4, 3


def normal(*shape, seed=0):
    return jax.random.normal(jax.random.key(seed), shape)


def loss(h):
    return jnp.sum(jnp.sin(h) ** 2)


def substeps(m, h, x):
    h, _ = jax.lax.scan(lambda h, _: (h + 0.2 * (jnp.tanh(m @ x) - h), None), h, None, length=3)
    return loss(h), h


def substeps_in_a_batch(m, h, x):
    h = jax.lax.fori_loop(0, 3, lambda _, h: h + 0.2 * (jnp.tanh(x @ m.T) - h), h)
    return loss(h), h


def backward_over_the_parts_of_an_input(m, h, x):
    h, _ = jax.lax.scan(lambda h, now: (0.8 * h + jnp.tanh(m * now), now), h, x, reverse=True)
    return loss(h), h


def inside_and_outside(m, h, x):
    h, _ = jax.lax.scan(lambda h, _: (h + 0.2 * (jnp.tanh(m @ x) - h), None), h, None, length=3)
    h = 0.9 * h + jnp.sin(m @ x)
    return loss(h), h


def runge_kutta(m, h, x):
    def slope(h):
        return jnp.tanh(m @ x) - h**3

    def stages(h, _):
        first = slope(h)
        second = slope(h + 0.05 * first)
        third = slope(h + 0.05 * second)
        last = slope(h + 0.1 * third)
        return h + 0.1 / 6 * (first + 2 * second + 2 * third + last), None

    h, _ = jax.lax.scan(stages, h, None, length=4)
    return loss(h), h


def rates_in_every_stage(m, h, x):
    """The rate is computed from a time constant again and again, by a function with a rule of its own."""
    drive = jnp.tanh(m["w"] @ x)

    def slope(h):
        return drive - jax.nn.softplus(m["tau"]) * h

    def advanced(h, _):
        first = slope(h)
        second = slope(h + 0.1 * first)
        return h + 0.05 * (first + second), None

    h, _ = jax.lax.scan(advanced, h, None, length=2)
    return loss(h), h


def two_states_in_substeps(m, s, x):
    def once(_, s):
        v, u = s
        return v + 0.1 * (jnp.tanh(m @ x) - v - u), u + 0.05 * (v - u)

    s = jax.lax.fori_loop(0, 4, once, s)
    return loss(s[0]), s


def two_states_in_many_substeps(m, s, x):
    i = jnp.tanh(m @ x)
    s = jax.lax.fori_loop(0, 400, lambda _, s: (s[0] + 0.01 * (i - s[0] - s[1]), s[1] + 0.005 * (s[0] - s[1])), s)
    return loss(s[0]), s


def a_weight_in_many_substeps(m, h, x):
    h = jax.lax.fori_loop(0, 300, lambda _, h: h + 0.01 * (jnp.tanh(m @ x) - h), h)
    return loss(h), h


def saved_for_later(m, h, x):
    h = jax.checkpoint(lambda h, x: 0.8 * h + jnp.tanh(m @ x))(h, x)
    return loss(h), h


def conditional(m, h, x):
    h = jax.lax.cond(x[0] > 0, lambda h: 0.9 * h, lambda h: 0.5 * h, h) + m @ x
    return loss(h), h


def conditional_on_the_input(m, h, x):
    h = jax.lax.cond(x[0] > 0, lambda h, y: 0.9 * h + y, lambda h, y: 0.5 * h + jnp.sin(y), h, m @ x)
    return loss(h), h


def a_weight_in_a_conditional(m, h, x):
    h = jax.lax.cond(x[0] > 0, lambda h: 0.9 * h + m @ x, lambda h: 0.5 * h, h)
    return loss(h), h


def a_scalar_for_all_units(m, h, x):
    h = 0.8 * h + jax.lax.cond(x[0] > 0, lambda y, a: a * y, lambda y, a: y, m["w"] @ x, jnp.tanh(m["a"] * x[1]))
    return loss(h), h


def one_of_three(m, h, x):
    branches = [lambda h, y: 0.9 * h + y, lambda h, y: 0.5 * h, lambda h, y: jnp.tanh(h + y)]
    h = jax.lax.switch((3 * x[0]).astype(int), branches, h, m @ x)
    return loss(h), h


W, X, XB, H = normal(N, F), normal(T, F, seed=1), normal(T, B, F, seed=1), jnp.zeros(N)
CASES = {
    substeps: (W, H, X, N * F),
    substeps_in_a_batch: (W, jnp.zeros((B, N)), XB, B * N * F),
    backward_over_the_parts_of_an_input: (normal(N), H, X, N),
    inside_and_outside: (W, H, X, N * F),
    runge_kutta: (W, H, X, N * F),
    rates_in_every_stage: ({"w": W, "tau": jnp.full(N, 0.5)}, H, X, N * F + N),
    two_states_in_substeps: (W, (H, H), X, 2 * N * F),
    two_states_in_many_substeps: (W, (H, H), X, 2 * N * F),
    a_weight_in_many_substeps: (W, H, X, N * F),
    saved_for_later: (W, H, X, N * F),
    conditional: (W, H, X, N * F),
    conditional_on_the_input: (W, H, X, N * F),
    a_weight_in_a_conditional: (W, H, X, N * F),
    one_of_three: (W, H, X, N * F),
}
"""Step: (model, state, inputs, how many numbers a trace needs)."""


@pytest.mark.sweep(3)
@pytest.mark.parametrize(("step", "rule"), runs(CASES))
def test_exact_at_the_size_of_need(step, rule):
    check_exact(step, rule, *CASES[step])


def mixing_in_one_branch(m, h, x):
    h = jax.lax.cond(x[0] > 0, lambda h: 0.9 * h[::-1], lambda h: 0.5 * h, h) + m @ x
    return loss(h), h


def mixing_in_a_long_loop(m, h, x):
    h = jax.lax.fori_loop(0, 300, lambda _, h: h + 0.001 * (jnp.roll(h, 1) - h), h) + m @ x
    return loss(h), h


def mixing_in_the_third_round(m, s, x):
    """What the first state gets, it has from the third, by way of the second: in other positions."""
    a, b, c = s
    a, b, c = jax.lax.fori_loop(0, 300, lambda _, s: (0.9 * s[0] + 0.1 * s[1], 0.9 * s[1] + s[2][::-1], 0.9 * s[2]), s)
    a, b, c = 0.5 * jnp.tanh(a), 0.5 * jnp.tanh(b), 0.5 * jnp.tanh(c) + m @ x
    return loss(a + c), (a, b, c)


def layers_in_a_loop(m, s, x):
    def layer(y, of):
        w, h = of
        h = 0.8 * h + jnp.tanh(w @ y)
        return h, h

    y, s = jax.lax.scan(layer, jnp.tanh(x), (m, s))
    return loss(y), s


def a_weight_in_a_conditional_of_a_batch(m, h, x):
    h = jax.lax.cond(x[0, 0] > 0, lambda h: 0.9 * h + x @ m.T, lambda h: 0.5 * h, h)
    return loss(h), h


APPROXIMATE = {
    mixing_in_one_branch: (W, H, X),
    mixing_in_a_long_loop: (W, H, X),
    mixing_in_the_third_round: (W, (H, H, H), X),
    layers_in_a_loop: (0.4 * normal(3, N, N), jnp.zeros((3, N)), normal(T, N, seed=1)),
    a_weight_in_a_conditional_of_a_batch: (W, jnp.zeros((B, N)), XB),
    a_scalar_for_all_units: ({"w": W, "a": jnp.array(0.5)}, H, X),
}


@pytest.mark.sweep(3)
@pytest.mark.parametrize("rule", [etr.DRTRL(), etr.RTRL()], ids=["DRTRL", "RTRL"])
@pytest.mark.parametrize("step", APPROXIMATE, ids=lambda step: step.__name__)
def test_what_is_called_exact_is_that_of_bptt(step, rule):
    m, state, xs = APPROXIMATE[step]
    online = etr.etrace_grad(step, rule)
    rows = online.graph(m, state, xs[0]).report(rule).rows
    for window in (1, 3, T):
        found, *_ = online.scan(m, state, online.init(m, state, xs[0]), xs, window=window)
        wanted = bptt(step, m, state, xs)
        for row in rows:
            one, other = (g if not row.path else g[row.path[0]] for g in (found, wanted))
            assert (error(one, other) < 1e-9) >= (row.exact or window == T)
    assert isinstance(rule, etr.DRTRL) or all(row.exact for row in rows)

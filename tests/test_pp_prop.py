"""PPProp against its published recursion, written out in NumPy for a leaky integrator."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eqx_etrace as etr

N, F, T = 4, 3, 9
KEEP = 0.8


def loss_step(model, h, x, y):
    h = KEEP * h + jnp.tanh(model @ x)
    return jnp.sum((h - y) ** 2), h


def data():
    rng = np.random.default_rng(0)
    return [jnp.asarray(rng.standard_normal(shape)) for shape in ((N, F), (N,), (T, F), (T, N))]


def by_hand(pair, w, h, xs, ys):
    """The gradient at window 1: in-step exactly, the past by the product of the factors."""
    a_x, a_f = pair
    w, h, xs, ys = (np.asarray(a) for a in (w, h, xs, ys))
    e_x, e_f, total = np.zeros(F), np.zeros(N), np.zeros((N, F))
    for t, (x, y) in enumerate(zip(xs, ys, strict=True)):
        slope = 1 - np.tanh(w @ x) ** 2
        new = KEEP * h + np.tanh(w @ x)
        signal = 2 * (new - y)
        average = (1 - a_x) / (1 - a_x**t) if t else 0.0
        total += np.outer(signal * slope, x) + np.outer(KEEP * signal * e_f, e_x) * average
        e_x, e_f, h = a_x * e_x + x, a_f * KEEP * e_f + slope, new
    return total


@pytest.mark.parametrize(
    ("decay", "pair"), [(0.9, (0.9, 0.9)), ((0.5, 0.8), (0.5, 0.8)), (4, (0.6, 0.6)), (0.0, (0.0, 0.0))]
)
def test_equals_the_recursion(decay, pair):
    w, h, xs, ys = data()
    online = etr.etrace_grad(loss_step, etr.PPProp(decay))
    gradient, _, _ = eqx.filter_jit(online.scan)(w, h, online.init(w, h, xs[0], ys[0]), xs, ys)
    np.testing.assert_allclose(gradient, by_hand(pair, w, h, xs, ys), rtol=1e-12)


def test_one_step_back_is_exact():
    """With one step behind it, an average of products is a product of averages."""
    w, h, xs, ys = data()
    xs, ys = xs[:2], ys[:2]

    def last_loss(model, carry, x, y):
        loss, h = loss_step(model, carry[0], x, y)
        return loss * carry[1], (h, carry[1] + 1)

    found = []
    for rule in (etr.PPProp(0.8), etr.DRTRL()):
        online = etr.etrace_grad(last_loss, rule)
        state = (h, jnp.asarray(0.0))
        found.append(eqx.filter_jit(online.scan)(w, state, online.init(w, state, xs[0], ys[0]), xs, ys)[0])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-12)


@pytest.mark.parametrize("rule", [etr.DRTRL(), etr.PPProp((0.3, 0.9))], ids=str)
def test_a_window_leaves_the_trace_of_single_steps(rule):
    """Three coupled states and an LSTM's one-way coupling, windowed and rolled."""
    cell = eqx.nn.LSTMCell(F, N, key=jax.random.key(0))

    def step(model, state, x):
        h, c = model(x, state[:2])
        slow = 0.9 * state[2] + 0.2 * c
        return jnp.sum(h**2 + slow), (h, c + 0.1 * state[2], slow)

    state, xs = (jnp.zeros(N), jnp.zeros(N), jnp.ones(N)), data()[2]
    online = etr.etrace_grad(step, rule)
    trace = online.init(cell, state, xs[0])
    _, _, rolled = eqx.filter_jit(online.scan)(cell, state, trace, xs, window=1)
    for window in (4, 9):
        _, _, windowed = eqx.filter_jit(online.scan)(cell, state, trace, xs, window=window)
        for a, b in zip(jax.tree.leaves(rolled), jax.tree.leaves(windowed), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13)
    assert any(bool(jnp.abs(leaf).max() > 0) for leaf in jax.tree.leaves(rolled))


def test_is_reported_as_an_approximation():
    w, h, xs, ys = data()
    (row,) = etr.compile_graph(loss_step, w, h, xs[0], ys[0]).report(etr.PPProp(0.9)).rows
    assert not row.exact
    assert "two factors" in str(row.dropped[0])


@pytest.mark.parametrize("decay", [1.0, -0.1, 0, (0.5, 1.0)])
def test_decay_is_checked(decay):
    with pytest.raises(ValueError, match="decay"):
        etr.PPProp(decay)


@pytest.mark.parametrize(("decay", "is_finite"), [(0.9, True), (1.0, False), (1.5, False), (-0.1, False)])
def test_a_traced_decay_out_of_range_is_not_a_number(decay, is_finite):
    w, h, xs, ys = data()

    def found(decay):
        online = etr.etrace_grad(loss_step, etr.PPProp(decay))
        return online.scan(w, h, online.init(w, h, xs[0], ys[0]), xs, ys)[0]

    assert np.isfinite(jax.jit(found)(decay)).all() == is_finite


def test_a_traced_decay_and_a_known_one_make_two_traces():
    """Whatever its dtype is made of: a traced decay that is weakly typed is the same as one that is not."""
    w, h, xs, ys = data()

    def step(decay, trace):
        return etr.etrace_grad(loss_step, etr.PPProp(decay))(w, h, trace, xs[0], ys[0])[2]

    def start(decay):
        return etr.etrace_grad(loss_step, etr.PPProp(decay)).init(w, h, xs[0], ys[0])

    trace = jax.jit(start)(0.9)
    jax.jit(step)(jnp.asarray(0.8, float), trace)
    with pytest.raises(ValueError, match="make the trace where it is traced"):
        jax.jit(step)(0.9, start(0.9))

"""Complex states and weights: viewed as pairs of reals, under every rule."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import CASES
from cases.table import F, N, T
from jax import lax
from oracle import assert_close, bptt, relative

import eqx_etrace as etr


def build(name):
    loss_step, model, state, inputs = CASES[name].build()
    return loss_step, model, state, inputs, tuple(x[0] for x in inputs)


def test_the_halves_of_a_state_are_named_as_attributes():
    loss_step, model, state, _, first = build("resonators_that_drive_rate_units")
    (group,) = etr.compile_graph(loss_step, model, state, *first).hidden_groups
    assert set(group.paths) == {("v",), ("z", "real"), ("z", "imag")}


@pytest.mark.sweep(2)
@pytest.mark.parametrize("rule", [etr.DRTRL(), etr.RTRL(), etr.SnAp(2)], ids=str)
@pytest.mark.parametrize("name", ["linear_recurrent_unit", "complex_weights_in_a_batch"])
def test_window_0_reads_the_whole_new_state(name, rule):
    """The output reads the complex new state, not its halves; where the trace is exact, window 0 is BPTT."""
    loss_step, model, state, inputs, first = build(name)
    online = etr.etrace_grad(loss_step, rule, window=0)
    found, _, _ = eqx.filter_jit(online.scan)(model, state, online.init(model, state, *first), *inputs)
    assert_close(found, bptt(loss_step, model, state, *inputs), 1e-11)


def test_window_0_of_a_state_that_is_laid_out_anew():
    """Reshaped and transposed between the loss, which reads it before, and the next step."""

    def loss_step(m, h, x):
        z = m["a"] * h.T.reshape(-1) + m["b"] @ x.astype(complex)
        return jnp.sum(jnp.abs(z) ** 2 + z.imag), z.reshape(2, 2).T

    rng = np.random.default_rng(3)
    a, b, h = (jnp.asarray(rng.standard_normal(s) + 1j * rng.standard_normal(s)) for s in ((4,), (4, 3), (2, 2)))
    xs = jnp.asarray(rng.standard_normal((5, 3)))
    model = {"a": 0.5 * a, "b": b}
    online = etr.etrace_grad(loss_step, etr.DRTRL(), window=0)
    found, _, _ = eqx.filter_jit(online.scan)(model, h, online.init(model, h, xs[0]), xs)
    assert_close(found, bptt(loss_step, model, h, xs), 1e-11)


@pytest.mark.sweep(2)
@pytest.mark.parametrize("rule", [etr.DRTRL(), etr.RTRL(), etr.SnAp(8)], ids=str)
def test_a_cotangent_of_a_complex_state(rule):
    loss_step, model, state, inputs, first = build("resonators_that_drive_rate_units")
    cotangent = {"z": lax.complex(jnp.arange(1.0, 1 + N), -jnp.ones(N)), "v": jnp.linspace(-1, 1, N)}

    def last(model):
        here = state
        for t in range(T):
            _, here = loss_step(model, here, *(x[t] for x in inputs))
        return here

    wanted = jax.jit(lambda model: jax.vjp(last, model)[1](cotangent)[0])(model)
    online = etr.etrace_vjp(loss_step, rule)

    @eqx.filter_jit
    def step(model, state, trace, *now):
        _, state, trace, pull = online(model, state, trace, *now)
        return pull(0.0, cotangent)[0], state, trace

    found, here, trace = None, state, online.init(model, state, *first)
    for t in range(T):
        found, here, trace = step(model, here, trace, *(x[t] for x in inputs))
    assert_close(found, wanted, 1e-11)
    assert_close(here, jax.jit(last)(model), 1e-12)


def test_a_cotangent_has_the_shape_of_the_complex_state():
    loss_step, model, state, _, first = build("linear_recurrent_unit")
    online = etr.etrace_vjp(loss_step, etr.DRTRL())
    _, _, _, pull = online(model, state, online.init(model, state, *first), *first)
    with pytest.raises(ValueError, match="shape"):
        pull(1.0, jnp.ones(N + 1, complex))


def test_pp_prop_equals_the_recursion():
    """h <- a h + b x with complex b, by hand: dh = Re(c db) for the real part, Re(-i c db) for the imaginary one."""
    rng = np.random.default_rng(1)
    turn = 0.9 * np.exp(1j * rng.uniform(0, 1, N))
    b, xs = rng.standard_normal((N, F)) + 1j * rng.standard_normal((N, F)), rng.standard_normal((T, F))

    def loss_step(b, h, x):
        h = turn * h + b @ x.astype(complex)
        return jnp.sum(h.real**3 + h.imag), h

    decay, h, e_x, e_f, wanted = 0.8, np.zeros(N, complex), np.zeros(F), np.zeros(N, complex), np.zeros((N, F), complex)
    for t, x in enumerate(xs):
        new = turn * h + b @ x
        signal = 3 * new.real**2 - 1j
        average = (1 - decay) / (1 - decay**t) if t else 0.0
        wanted += np.outer(signal, x) + average * np.outer(signal * turn * e_f, e_x)
        e_x, e_f, h = decay * e_x + x, decay * turn * e_f + 1, new
    online = etr.etrace_grad(loss_step, etr.PPProp(decay))
    start = jnp.zeros(N, complex)
    run, trace = eqx.filter_jit(online.scan), online.init(jnp.asarray(b), start, xs[0])
    found, _, _ = run(jnp.asarray(b), start, trace, jnp.asarray(xs))
    np.testing.assert_allclose(found, wanted, rtol=1e-11)


@pytest.mark.sweep(2)
@pytest.mark.parametrize(
    ("rule", "half"),
    [(etr.DRTRL(), etr.DRTRL(jnp.bfloat16)), (etr.PPProp(0.9), etr.PPProp(0.9, jnp.bfloat16))],
    ids=["drtrl", "pp_prop"],
)
def test_half_precision_does_not_lose_the_imaginary_part(rule, half):
    loss_step, model, state, inputs, first = build("complex_weights_in_a_batch")
    found = []
    for online in (etr.etrace_grad(loss_step, rule), etr.etrace_grad(loss_step, half)):
        trace = online.init(model, state, *first)
        found.append(eqx.filter_jit(online.scan)(model, state, trace, *inputs)[0])
    assert_close(found[1], found[0], 1e-12)


def _holomorphic(m, z, v, x):
    return m["a"] * z + 0.02 * z * z + m["b"] @ x.astype(complex), jnp.tanh(m["r"] * v + z.real)


def _with_a_gate(m, z, v, x):
    """The gate is real and neither state nor weight: a coefficient."""
    return jnp.sum(x).astype(complex) * m["a"] * z + m["b"] @ x.astype(complex), jnp.tanh(m["r"] * v)


def _conjugate(m, z, v, x):
    return 0.9 * jnp.conj(m["a"] * z) + m["b"] @ x.astype(complex), jnp.tanh(m["r"] * v)


def _modulus(m, z, v, x):
    z = m["a"] * z + m["b"] @ x.astype(complex)
    return z / (1 + jnp.abs(z)).astype(complex), jnp.tanh(m["r"] * v)


def _real_weight(m, z, v, x):
    return m["a"] * z + m["r"].astype(complex) * (m["b"] @ x.astype(complex)), jnp.tanh(m["r"] * v)


def _real_state(m, z, v, x):
    return m["a"] * z + m["b"] @ x.astype(complex) + v.astype(complex), jnp.tanh(m["r"] * v)


def _parts_apart(m, z, v, x):
    z = m["a"] * z + m["b"] @ x.astype(complex)
    return lax.complex(jnp.tanh(z.real), jnp.tanh(z.imag)), jnp.tanh(m["r"] * v)


@pytest.mark.sweep(2)
@pytest.mark.parametrize(
    "cell, folds",
    [
        (_holomorphic, True),
        (_with_a_gate, True),
        (_real_weight, True),
        (_conjugate, False),
        (_modulus, False),
        (_real_state, False),
        (_parts_apart, False),
    ],
)
def test_of_a_holomorphic_pair_one_half_is_kept(cell, folds):
    """The trace of a complex weight has one array per real state that it reaches, or one per pair."""

    def loss_step(m, state, x):
        state = cell(m, *state, x)
        return jnp.sum(state[0].real ** 3 + state[0].imag) + jnp.sum(state[1] ** 2), state

    rng = np.random.default_rng(7)
    a, b, z = (jnp.asarray(0.6 * rng.standard_normal(s) + 0.6j * rng.standard_normal(s)) for s in (N, (N, F), N))
    model = {"a": a, "b": b, "r": jnp.asarray(0.5 * rng.standard_normal(N))}
    state, xs = (z, jnp.zeros(N)), jnp.asarray(rng.standard_normal((T, F)))
    graph = etr.compile_graph(loss_step, model, state, xs[0])
    shapes = {row.path: row.trace_shape for row in graph.report(etr.DRTRL()).rows if row.group is not None}
    reached = 1 if cell is not _holomorphic else 2
    assert len(shapes["b",]) == (reached if folds else reached + 1)
    wanted = bptt(loss_step, model, state, xs)
    for rule, window in ((etr.DRTRL(), 1), (etr.DRTRL(), 3), (etr.PPProp(0.9), 1), (etr.PPProp(0.9), 3)):
        exact = {row.path: row.exact for row in graph.report(rule).rows}
        online = etr.etrace_grad(loss_step, rule)
        found, _, _ = eqx.filter_jit(online.scan)(model, state, online.init(model, state, xs[0]), xs, window=window)
        assert exact["a",]
        for name in model:
            if exact[name,]:
                assert relative(found[name], wanted[name]) < 1e-11, name

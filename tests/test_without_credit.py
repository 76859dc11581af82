"""What BPTT does not differentiate, nothing here does: it may have an infinite slope, or no derivative.

A zero put in the place of a cotangent that BPTT does not have, times what is infinite, is NaN.
"""

import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from oracle import assert_close, bptt

import eqx_etrace as etr

pytestmark = pytest.mark.outside_sample  # of traces, and not of how this JAX writes a step

N, T = 3, 4
RULES = [etr.DRTRL(), etr.RTRL()]


def assert_all_equal_bptt(step, model, state, xs, *, windows=(1, 2, T), rules=RULES):
    """Every parameter is called exact, and is."""
    wanted = bptt(step, model, state, xs)
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(wanted))
    for rule in rules:
        online = etr.etrace_grad(step, rule)
        trace = online.init(model, state, xs[0])
        assert all(row.exact for row in online.graph(model, state, xs[0]).report(rule).rows)
        for window in windows:
            assert_close(
                jax.jit(online.scan, static_argnames="window")(model, state, trace, xs, window=window)[0], wanted
            )


@pytest.fixture
def model():
    return {"a": jnp.linspace(0.5, 0.8, N), "w": jnp.zeros((N, N)), "b": jnp.ones(N)}


@pytest.fixture
def xs(key):
    return jax.random.normal(key, (T, N))


def leaky(m, h, x):
    return m["a"] * h + jnp.tanh(m["w"] @ x + m["b"] * x)


def power(w):
    """A loop without a derivative in reverse mode."""
    return lax.while_loop(lambda c: c[0] < 5, lambda c: (c[0] + 1, w @ c[1]), (0, jnp.ones(N)))[1]


OF_WEIGHTS = {
    "an infinite slope": lambda m: jnp.linalg.norm(m["w"]),
    "a loop": lambda m: power(m["w"]),
    "an assertion": lambda m: eqxi.nondifferentiable_backward(m["w"].sum()),
}


@pytest.mark.parametrize("name", OF_WEIGHTS)
def test_what_is_made_of_weights_and_only_compared(name, model, xs):
    def step(m, h, x):
        h = leaky(m, h, x)
        return jnp.sum(jnp.where(h > OF_WEIGHTS[name](m), h, 0.5 * h)), h

    assert_all_equal_bptt(step, model, jnp.zeros(N), xs)


def test_what_is_made_of_weights_and_only_recorded(model, xs):
    def step(m, state, x):
        h = leaky(m, state[0], x)
        return jnp.sum(h**2), (h, jnp.linalg.norm(m["w"]))

    assert_all_equal_bptt(step, model, (jnp.zeros(N), jnp.zeros(())), xs)


def test_what_is_made_of_weights_and_handed_out_beside_the_loss(model, xs):
    def step(m, h, x):
        h = leaky(m, h, x)
        return (jnp.sum(h**2), jnp.linalg.norm(m["w"]) * x[0]), h

    def without_aux(m, h, x):
        (loss, _), h = step(m, h, x)
        return loss, h

    wanted = bptt(without_aux, model, jnp.zeros(N), xs)
    online = etr.etrace_grad(step, etr.DRTRL(), has_aux=True)
    for window in (1, T):
        (found, _), _, _ = online.scan(model, jnp.zeros(N), online.init(model, jnp.zeros(N), xs[0]), xs, window=window)
        assert_close(found, wanted)


@pytest.mark.parametrize("use", ["gate", "record"])
def test_a_product_with_what_is_not_finite_that_only_a_gate_or_a_record_reads(use, model, xs):
    def step(m, state, x):
        h, _ = state
        known = jnp.where(jnp.isnan(x), 0.0, x)
        seen = m["w"] @ x
        drive = m["b"] * jnp.where(seen > 0, 1.0, -1.0) if use == "gate" else m["b"] * known
        h = m["a"] * h + drive + m["w"] @ known
        return jnp.sum(h**2), (h, seen if use == "record" else known)

    model = {**model, "w": 0.5 * jnp.eye(N) + 0.1}
    assert_all_equal_bptt(step, model, (jnp.zeros(N), jnp.zeros(N)), xs.at[1, 0].set(jnp.nan))


def test_a_loop_over_a_filter_of_the_inputs(model, xs):
    def step(m, state, x):
        h, low = state
        low = 0.5 * low + x
        small = lax.while_loop(lambda c: jnp.abs(c).sum() > 0.1, lambda c: 0.5 * c, low)
        h = leaky(m, h, x + small)
        return jnp.sum(h**2), (h, low)

    assert_all_equal_bptt(step, model, (jnp.zeros(N), jnp.zeros(N)), xs)


@pytest.mark.parametrize("window", [0, 1])
def test_a_filter_of_the_inputs_beside_pulled_cotangents(window, model, xs, key):
    """`etrace_vjp`, with a cotangent of the output at every step; the loss of BPTT is their product."""

    def step(m, state, x):
        h, low = state
        low = 0.5 * low + x
        h = leaky(m, h, x + lax.stop_gradient(low))
        return jnp.sin(h) + low, (h, low)

    def loss_step(m, state, x, ct):
        out, state = step(m, state, x)
        return jnp.sum(out * ct), state

    cts, state = jax.random.normal(jax.random.fold_in(key, 1), (T, N)), (jnp.zeros(N), jnp.zeros(N))
    wanted = bptt(loss_step, model, state, xs, cts)
    online = etr.etrace_vjp(step, etr.DRTRL(), window=window)
    assert all(row.exact for row in online.graph(model, state, xs[0]).report(etr.DRTRL()).rows)
    trace, total = online.init(model, state, xs[0]), jax.tree.map(jnp.zeros_like, model)
    for x, ct in zip(xs, cts, strict=True):
        _, state, trace, pullback = online(model, state, trace, x)
        total = jax.tree.map(jnp.add, total, pullback(ct)[0])
    assert_close(total, wanted)


def test_a_filter_of_the_inputs_beside_recurrent_weights(model, xs):
    """Influences on blocks, and at window 0 the learning signal."""

    def step(m, state, x):
        h, low = state
        low = 0.5 * low + x
        small = lax.while_loop(lambda c: jnp.abs(c).sum() > 0.1, lambda c: 0.5 * c, low)
        h = jnp.tanh(m["w"] @ h + m["b"] * (x + small))
        return jnp.sum(jnp.sin(h) * low), (h, low)

    model = {"w": 0.5 * jnp.eye(N) + 0.3, "b": model["b"]}
    assert_all_equal_bptt(step, model, (jnp.ones(N), jnp.zeros(N)), xs, windows=(0, 1, 2, T), rules=[etr.RTRL()])


def test_a_clock_that_must_not_be_differentiated(model, xs):
    def step(m, state, x):
        h, time = state
        time = time + 0.1
        h = leaky(m, h, x * jnp.sin(eqxi.nondifferentiable(time)))
        return jnp.sum(h**2), (h, time)

    assert_all_equal_bptt(step, model, (jnp.zeros(N), jnp.zeros(())), xs)


@jax.custom_vjp
def product(h, s):
    return h * jnp.sum(s)


def pull_product(residual, ct):
    """Half where the second operand has a tangent."""
    h, s, is_moved = residual
    return jnp.where(is_moved, 0.5, 1.0) * ct * jnp.sum(s), jnp.sum(ct * h) * jnp.ones_like(s)


product.defvjp(
    lambda h, s: (h.value * jnp.sum(s.value), (h.value, s.value, jnp.asarray(s.perturbed))),
    pull_product,
    symbolic_zeros=True,
)


@eqx.filter_custom_jvp
def product_by_jvp(h, s):
    return h * jnp.sum(s)


@product_by_jvp.def_jvp
def _(primals, tangents):
    (h, s), (on_h, on_s) = primals, tangents
    out = jnp.zeros_like(h) if on_h is None else (1.0 if on_s is None else 0.5) * on_h * jnp.sum(s)
    return h * jnp.sum(s), out if on_s is None else out + h * jnp.sum(on_s)


@pytest.mark.parametrize("rule", [product, product_by_jvp])
def test_a_rule_that_asks_which_operand_has_a_tangent(rule, model, xs):
    """A state that the inputs alone make has none."""

    def step(m, state, x):
        h, low = state
        low = jnp.tanh(0.5 * low + x)
        h = rule(m["a"] * h, low) + m["b"] * x
        return jnp.sum(h**2), (h, low)

    assert_all_equal_bptt(step, {"a": model["a"], "b": model["b"]}, (jnp.zeros(N), jnp.zeros(N)), xs)

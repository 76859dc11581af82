"""Backward rules that are linear, through loops, branches and other rules; and rules that are not."""

import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.experimental
import jax.numpy as jnp
import pytest
from oracle import bptt

import eqx_etrace as etr

MODEL = {"a": jnp.linspace(0.3, 0.9, 4), "w": jnp.linspace(0.5, -0.5, 4)}
STATE = jnp.ones(4)
XS = jnp.sin(jnp.arange(24.0)).reshape(6, 4)


def with_rule(backward):
    """The cumulative sum, with another backward pass."""

    @jax.custom_vjp
    def function(v):
        return jnp.cumsum(v)

    function.defvjp(lambda v: (jnp.cumsum(v), v), lambda v, g: (backward(v, g),))
    return function


def by_scan(_, g):
    return jax.lax.scan(lambda c, u: (c + u, c + u), 0.0, g, reverse=True)[1]


def by_while(v, g):
    def body(carry):
        i, total = carry
        return i + 1, total.at[i].set(g[i:].sum() if isinstance(i, int) else jnp.where(jnp.arange(4) >= i, g, 0).sum())

    return jax.lax.while_loop(lambda carry: carry[0] < v.size, body, (0, jnp.zeros_like(v)))[1]


def by_cond(v, g):
    return jax.lax.cond(v[0] > 0, lambda: jnp.cumsum(g[::-1])[::-1], lambda: jnp.zeros(4))


def checked(v, g):
    """Raises where the rule has failed, and is zero where the result is not finite."""
    g = eqx.error_if(jnp.cumsum(g[::-1])[::-1], jnp.any(v > 1e9), "too large")
    return jnp.where(jnp.all(jnp.isfinite(g)), g, 0)


def failed(v, g):
    """Not a number where it fails."""
    return jnp.where(jnp.any(v > 1e9), jnp.nan, jnp.cumsum(g[::-1])[::-1])


def into_zeros(_, g):
    """A slice of zeros is zero."""
    zeros = jax.lax.dynamic_slice(jnp.zeros(9), (jnp.argmax(MODEL["a"]),), (4,))
    return jnp.cumsum(g[::-1])[::-1] + zeros


def from_one(_, g):
    """Starts at one: affine."""
    return jax.lax.scan(lambda c, u: (c + u, c + u), 1.0, g, reverse=True)[1]


def constant_in_a_branch(v, g):
    return jax.lax.cond(v[0] > 100, lambda: jnp.cumsum(g[::-1])[::-1], lambda: jnp.ones(4))


def as_long_as_it_is_large(_, g):
    return jax.lax.while_loop(lambda g: jnp.abs(g).max() > 0.01, lambda g: 0.5 * g, g)


def constant(_, g):
    return jnp.full_like(g, 0.3)


def clipped_in_a_loop(_, g):
    return jax.lax.scan(lambda c, u: (c, jnp.clip(u, -0.01, 0.01)), 0.0, g)[1]


def infinity_as_an_integer(_, g):
    """Infinity is no number, but the integer made of it is one."""
    return 1e-9 * (g + jnp.full_like(g, jnp.inf).astype(jnp.int32).astype(g.dtype))


def asks_whether_its_logarithm_is_finite(_, g):
    return jnp.where(jnp.isfinite(jnp.log(g)), g, 0)


LINEAR = [by_scan, by_while, by_cond, checked, failed, into_zeros]
OTHER = [
    infinity_as_an_integer,
    asks_whether_its_logarithm_is_finite,
    from_one,
    constant_in_a_branch,
    as_long_as_it_is_large,
    constant,
    clipped_in_a_loop,
]


def step_through(function):
    def step(model, h, x):
        h = jnp.tanh(model["a"] * function(h) + model["w"] * x)
        return jnp.mean(h**2), h

    return step


def check(step, *, exact, state=STATE, xs=XS, model=MODEL):
    """Under RTRL: exact, and then the gradient of BPTT at window 1; at window T in any case."""
    online = etr.etrace_grad(step, etr.RTRL())
    trace = online.init(model, state, xs[0])
    rows = online.graph(model, state, xs[0]).report(etr.RTRL()).rows
    assert [row.exact for row in rows] == [exact] * len(rows)
    wanted = bptt(step, model, state, xs)
    for window in (1, len(xs)) if exact else (len(xs),):
        found = jax.jit(lambda window=window: online.scan(model, state, trace, xs, window=window)[0])()
        assert eqx.tree_equal(found, wanted, rtol=1e-9, atol=1e-12)
    return rows


@pytest.mark.parametrize("backward", LINEAR)
def test_linear_loops_and_branches_in_a_rule_are_followed(backward):
    check(step_through(with_rule(backward)), exact=True)


@pytest.mark.parametrize("backward", OTHER)
def test_what_is_not_linear_is_said(backward):
    rows = check(step_through(with_rule(backward)), exact=False)
    assert "could not be shown to be linear at test_linear_rules.py" in str(rows[0].dropped[0])
    diagonal = etr.compile_graph(step_through(with_rule(backward)), MODEL, STATE, XS[0]).report(etr.DRTRL())
    assert not any(row.exact for row in diagonal.rows)


def test_the_derivative_of_a_solve_by_a_loop_is_a_solve():
    def sweep(k, b):
        return jax.lax.scan(lambda u, kb: ((w := kb[1] + kb[0] * u), w), 0.0, (k, b))[1]

    @jax.custom_jvp
    def chain(k, b):
        return sweep(k, b)

    @chain.defjvp
    def _(primals, tangents):
        (k, b), (dk, db) = primals, tangents
        u = chain(k, b)
        return u, sweep(k, db + dk * jnp.concatenate([jnp.zeros(1), u[:-1]]))

    check(step_through(lambda h: chain(jnp.sin(h), 0.5 * h)), exact=True)


@pytest.mark.parametrize("kind", ["lax", "bounded", "checkpointed"])
def test_checkpointed_loops_of_equinox(kind):
    def step(model, h, x):
        def body(carry):
            return carry[0] + 1, carry[1] + 0.2 * (jnp.tanh(model["w"] * x + model["a"] * jnp.roll(carry[1], 1)) - h)

        h = eqxi.while_loop(lambda carry: carry[0] < 3, body, (0, h), max_steps=3, kind=kind)[1]
        return jnp.mean(h**2), h

    if kind == "lax":
        with pytest.raises(ValueError, match="Credit passes through the `while_loop`"):
            etr.compile_graph(step, MODEL, STATE, XS[0])
    else:
        check(step, exact=True)


def test_a_rule_inside_a_rule():
    @eqx.filter_custom_vjp
    def inner(v, k):
        return v * k

    @inner.def_fwd
    def _(perturbed, v, k):
        assert not any(jax.tree.leaves(perturbed[1:]))
        return inner(v, k), None

    @inner.def_bwd
    def _(residual, g, perturbed, v, k):
        del residual, perturbed, v
        return g * k

    @jax.custom_vjp
    def outer(v):
        return jnp.sin(v)

    outer.defvjp(lambda v: (jnp.sin(v), v), lambda v, g: (inner(g, jnp.cos(v)),))
    online = etr.etrace_grad(step_through(outer), etr.DRTRL())
    assert all(row.exact for row in online.graph(MODEL, STATE, XS[0]).report(etr.DRTRL()).rows)
    found = online.scan(MODEL, STATE, online.init(MODEL, STATE, XS[0]), XS)[0]
    assert eqx.tree_equal(found, bptt(step_through(outer), MODEL, STATE, XS), rtol=1e-9, atol=1e-12)


def test_mutable_arrays_are_refused_with_the_line():
    def written(h, x):
        ref = jax.new_ref(h)
        ref[...] = 0.5 * ref[...] + x
        return ref[...]

    def in_a_loop(h, x):
        return jax.lax.scan(lambda c, _: (written(c, x), None), h, None, length=2)[0]

    for function in (written, in_a_loop):

        def step(model, h, x, function=function):
            h = jnp.tanh(model["a"] * function(h, x))
            return jnp.mean(h), h

        for rule in (etr.DRTRL(), etr.RTRL(), etr.NoTrace()):
            with pytest.raises(ValueError, match=r"mutable array .* at test_linear_rules.py:\d+ .*Use ordinary arrays"):
                etr.etrace_grad(step, rule).init(MODEL, STATE, XS[0])


def test_a_mutable_counter_is_no_hindrance():
    counter = jax.new_ref(jnp.zeros((), int))

    def step(model, h, x):
        counter[...] = counter[...] + 1
        h = jnp.tanh(model["a"] * h + model["w"] * x)
        return jnp.mean(h**2), h

    online = etr.etrace_grad(step, etr.DRTRL())
    jax.jit(online)(MODEL, STATE, online.init(MODEL, STATE, XS[0]), XS[0])
    assert counter[...] == 1


def test_answers_from_outside_are_refused_with_the_line():
    def asked(h, x):
        return h + jax.experimental.io_callback(lambda x: x, jax.ShapeDtypeStruct(x.shape, x.dtype), x)

    def in_a_loop(h, x):
        return jax.lax.scan(lambda c, _: (asked(c, x), None), h, None, length=2)[0]

    for function in (asked, in_a_loop):

        def step(model, h, x, function=function):
            h = jnp.tanh(model["a"] * h + function(h, jax.lax.stop_gradient(x)))
            return jnp.mean(h), h

        with pytest.raises(ValueError, match=r"not a pure function: .* at test_linear_rules.py:\d+ .*as an input"):
            etr.etrace_grad(step, etr.DRTRL()).init(MODEL, STATE, XS[0])


def test_what_only_tells_is_no_hindrance():
    told = []

    def step(model, h, x):
        h = jnp.tanh(model["a"] * h + model["w"] * x)
        jax.experimental.io_callback(told.append, None, h[0])
        jax.debug.callback(told.append, h[0])
        return jnp.mean(h**2), h

    online = etr.etrace_grad(step, etr.DRTRL())
    jax.block_until_ready(jax.jit(online)(MODEL, STATE, online.init(MODEL, STATE, XS[0]), XS[0]))
    jax.effects_barrier()
    assert len(told) == 2

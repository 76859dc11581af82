"""Arrays that a step closes over: data of one step where that is as good, else the same for the life of a trace."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracle import bptt
from sample import error

import eqx_etrace as etr
from eqx_etrace._spend._closed_over import fingerprint

T, N, F = 6, 5, 4
RULES = [etr.DRTRL(), etr.RTRL()]


def normal(*shape, seed=0):
    return jax.random.normal(jax.random.key(seed), shape)


def loss(h):
    return jnp.sum(jnp.sin(h) * jnp.arange(1.0, N + 1)), h


def dense(m, h, x):
    return loss(0.8 * h + m @ x)


def embedded(m, h, token):
    return loss(0.8 * h + jnp.tanh(m[token]))


def gated(m, h, x):
    return loss(jax.nn.sigmoid(m["a"] @ x) * h + m["w"] @ x)


H, X, TOKENS = normal(N), normal(T, F, seed=1), jnp.arange(T) % 3
STEPS = {
    "dense": (dense, normal(N, F), X),
    "embedded": (embedded, normal(3, N), TOKENS),
    "gated": (gated, {"a": normal(N, F), "w": normal(N, F, seed=2)}, X),
}


@pytest.mark.sweep(3)
@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("name", STEPS)
def test_a_step_may_close_over_its_input(name, rule):
    """As in `jax.grad(lambda m: loss(m, x))`: in a Python loop, compiled, and in a scan."""
    step, model, xs = STEPS[name]
    wanted = bptt(step, model, H, xs)

    def of_one(x):
        return etr.etrace_grad(lambda m, h: step(m, h, x), rule)

    def tick(carry, x):
        h, trace, total = carry
        grads, h, trace = of_one(x)(model, h, trace)
        return (h, trace, jax.tree.map(jnp.add, total, grads)), None

    start = H, of_one(xs[0]).init(model, H), jax.tree.map(jnp.zeros_like, model)
    assert error(jax.lax.scan(tick, start, xs)[0][2], wanted) < 1e-12
    for take in (tick, jax.jit(tick)):
        carry = start
        for x in xs:
            carry, _ = take(carry, x)
        assert error(carry[2], wanted) < 1e-12
    assert all(row.exact for row in of_one(xs[0]).graph(model, H).report(rule).rows)


STEEPNESS = np.linspace(0.2, 1.0, T)
MASKS = np.asarray(jax.random.bernoulli(jax.random.key(8), 0.5, (T, N)), float)
WIRED = np.asarray(jax.random.bernoulli(jax.random.key(9), 0.6, (T, N, N)), float)
LEAKS = jnp.linspace(0.5, 0.9, N)


def scaled_by_a_number(m, h, t):
    return loss(LEAKS * h + m["w"][:, 0] * float(STEEPNESS[t]))


def a_row_at_a_number(m, h, t):
    return loss(LEAKS * h + m["w"].T[t % F])


def a_unit_at_a_number(m, h, t):
    return loss((LEAKS * h).at[t % N].add(m["w"][0] @ X[t]))


def wired_anew(m, h, t):
    return loss(jnp.tanh((m["r"] * jnp.asarray(WIRED)[t]) @ h + m["w"] @ X[t]))


def data_scaled_by_a_number(m, h, t):
    return loss(LEAKS * h + m["w"] @ (X[t] * float(STEEPNESS[t])))


def dropped_out(m, h, t):
    return loss(jnp.tanh(m["r"] @ (h * MASKS[t]) + m["w"] @ X[t]))


def reset_by_a_number(m, h, t):
    return loss(LEAKS * h * float(t % 3 > 0) + m["w"] @ X[t])


NUMBERED = {
    scaled_by_a_number: False,
    a_row_at_a_number: False,
    a_unit_at_a_number: False,
    wired_anew: False,
    data_scaled_by_a_number: True,
    dropped_out: True,
    reset_by_a_number: True,
}
"""Is the trace good for the next step?"""


@pytest.mark.sweep(3)
@pytest.mark.parametrize("rule", [*RULES, etr.SnAp(2)], ids=str)
@pytest.mark.parametrize("step", NUMBERED)
def test_what_stands_in_a_step_may_change_unless_weights_are_made_of_it(step, rule):
    """A number, an index, a mask of a Python loop: the gradient is that of BPTT, or the call is refused."""
    m = {"w": normal(N, F), "r": 0.4 * normal(N, N, seed=4)}

    def total(m):
        h, losses = H, 0.0
        for t in range(T):
            value, h = step(m, h, t)
            losses = losses + value
        return losses

    h, trace, found, is_exact = H, None, jax.tree.map(jnp.zeros_like, m), True
    for t in range(T):
        online = etr.etrace_grad(lambda m, h, t=t: step(m, h, t), rule)
        trace = online.init(m, h) if trace is None else trace
        if t == 1 and not NUMBERED[step]:
            with pytest.raises(ValueError, match=r"[Pp]ass (it|what changes from call to call) as an"):
                online(m, h, trace)
            return
        is_exact &= all(row.exact for row in online.graph(m, h).report(rule).rows)
        grads, h, trace = online(m, h, trace)
        found = jax.tree.map(jnp.add, found, grads)
    assert NUMBERED[step]
    assert is_exact is (error(found, jax.grad(total)(m)) < 1e-12)


def test_a_weak_type_that_an_update_makes_strong_is_the_same_weight():
    m = jnp.asarray(0.5)
    online = etr.etrace_grad(lambda m, h, x: loss(jax.nn.softplus(m) * h + x), etr.DRTRL())
    trace = online.init(m, H, H)
    online(jnp.asarray(0.5, jnp.float64), H, trace, H)


def mixed(frozen):
    """A weight behind a frozen matrix: what is trained enters units by way of it."""

    def step(m, h, x):
        return loss(0.8 * h + (frozen @ m) @ x)

    return etr.etrace_grad(step, etr.DRTRL())


FROZEN = normal(N, 3, seed=5)
MODEL = normal(3, F, seed=6)


def test_what_weights_are_made_of_stays_the_same():
    online = mixed(FROZEN)
    trace = online.init(MODEL, H, X[0])
    assert len(trace.closed_over) == 1
    found, *_ = online.scan(MODEL, H, trace, X, window=1)
    assert error(found, bptt(lambda m, h, x: loss(0.8 * h + (FROZEN @ m) @ x), MODEL, H, X)) < 1e-12
    with pytest.raises(
        ValueError, match=r"closes over float64\[5, 3\] .* Pass what changes from call to call as an input"
    ):
        mixed(2 * FROZEN)(MODEL, H, trace, X[0])


def leaky(frozen):
    """A leaky readout of frozen weights; `frozen` makes them inside the step."""

    def step(m, state, x):
        h, r = state
        h = 0.8 * h + m @ x
        r = 0.9 * r + frozen() @ jnp.tanh(h)
        return jnp.sum(jnp.sin(r)), (h, r)

    return etr.etrace_grad(step, etr.DRTRL())


def test_what_is_read_through_a_filter_stays_the_same():
    frozen, m, state = normal(2, N, seed=7), normal(N, F), (H, jnp.zeros(2))
    online = leaky(lambda: frozen)
    trace = online.init(m, state, X[0])
    assert all(row.exact for row in online.graph(m, state, X[0]).report(etr.DRTRL()).rows)
    online(m, state, trace, X[0])
    other = -frozen
    with pytest.raises(ValueError, match=r"closes over float64\[2, 5\]"):
        leaky(lambda: other)(m, state, trace, X[0])
    with pytest.raises(ValueError, match="a number or an index that stands in the step is another one"):
        leaky(lambda: -frozen)(m, state, trace, X[0])
    with pytest.raises(ValueError, match="a number or an index that stands in the step is another one"):
        leaky(lambda: jnp.eye(2, N))(m, state, trace, X[0])


def test_an_index_that_is_closed_over_and_one_made_in_the_step_are_told_apart():
    def summed(index):
        return etr.etrace_grad(lambda m, h, x: loss(0.8 * h + jax.ops.segment_sum(m * x, index(), N)), etr.DRTRL())

    m, x, index = normal(8), normal(8, seed=1), jnp.arange(8) % N
    trace = summed(lambda: index).init(m, H, x)
    summed(lambda: index)(m, H, trace, x)
    with pytest.raises(ValueError, match="closes over other arrays"):
        summed(lambda: jnp.arange(8) % N)(m, H, trace, x)


def test_it_may_be_traced_in_one_place_and_known_in_another():
    """The frozen half of a model, closed over where it is an argument of a compiled function."""

    @jax.jit
    def update(frozen, h, trace):
        grads, h, trace = mixed(frozen)(MODEL, h, trace, X[0])
        return grads, trace

    known = mixed(FROZEN).init(MODEL, H, X[0])
    traced = jax.jit(lambda frozen: mixed(frozen).init(MODEL, H, X[0]))(FROZEN)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), known, traced))
    expected, *_ = mixed(FROZEN)(MODEL, H, known, X[0])
    for trace in (known, traced):
        grads, after = update(FROZEN, H, trace)
        assert jnp.allclose(grads, expected)
        assert jnp.isnan(update(2 * FROZEN, H, after)[0]).all()


def test_a_number_is_part_of_the_step_and_an_array_is_data():
    """The trace is of `2 m` in one case, and of m in the other."""

    def scaled(d):
        return etr.etrace_grad(lambda m, h, x: loss(h * 0.8 + d * m * x), etr.DRTRL())

    m, x = normal(N), normal(N)
    trace = scaled(2.0).init(m, H, x)
    with pytest.raises(ValueError, match="Pass what changes from call to call as an input"):
        scaled(jnp.asarray(2.0))(m, H, trace, x)


def test_a_pullback_tells_it_too():
    def frozen_pull(frozen, trace):
        online = etr.etrace_vjp(lambda m, h, x: loss(0.8 * h + (frozen @ m) @ x), etr.DRTRL())
        trace = online.init(MODEL, H, X[0]) if trace is None else trace
        return online(MODEL, H, trace, X[0])[2:]

    trace, _ = frozen_pull(FROZEN, None)
    pull = jax.jit(lambda frozen: frozen_pull(frozen, trace)[1](jnp.array(1.0))[0])
    assert jnp.isfinite(pull(FROZEN)).all() and jnp.isnan(pull(2 * FROZEN)).all()


def test_under_vmap_each_has_its_own():
    frozen = jnp.stack([FROZEN, 2 * FROZEN])
    traces = jax.vmap(lambda f: mixed(f).init(MODEL, H, X[0]))(frozen)
    grads, *_ = jax.vmap(lambda f, trace: mixed(f)(MODEL, H, trace, X[0]))(frozen, traces)
    assert jnp.isfinite(grads).all()
    grads, *_ = jax.vmap(lambda f, trace: mixed(f)(MODEL, H, trace, X[0]))(frozen[::-1], traces)
    assert jnp.isnan(grads).all()


def test_the_wiring_of_a_network_is_known():
    """Indices in an array are no data: `SnAp` and `RTRL` need the pattern that they make."""
    source = jnp.array([1, 2, 3, 4, 0])

    def step(m, h, x):
        return loss(jnp.tanh(0.8 * h + m["r"] * h[source] + m["w"] @ x))

    m = {"r": normal(N), "w": normal(N, F)}
    online = etr.etrace_grad(step, etr.SnAp(1))
    row, _ = online.graph(m, H, X[0]).report(etr.SnAp(1)).rows
    assert row.trace_bytes <= 2 * 8 * N
    assert len(online.init(m, H, X[0]).closed_over) == 1


def test_a_frozen_model_beside_the_trained_one_is_no_more_than_before():
    """A frozen readout meets no weight: it is a constant, and not watched."""
    frozen = eqx.nn.Linear(N, 2, key=jax.random.key(3), dtype=jnp.float64)

    def step(m, h, x):
        h = 0.8 * h + m @ x
        return jnp.sum(frozen(h) ** 2), h

    online = etr.etrace_grad(step, etr.DRTRL())
    assert online.init(normal(N, F), H, X[0]).closed_over == ()


VALUES = [
    normal(3, 2),
    normal(7).astype(jnp.float32),
    normal(7).astype(jnp.bfloat16),
    jnp.arange(5) > 2,
    jnp.arange(5),
    jnp.arange(5, dtype=jnp.int8),
    jax.lax.complex(normal(3), normal(3, seed=1)),
    jnp.array(2.0),
    jax.random.key(3),
    jnp.zeros(0),
]


@pytest.mark.sweep(2)
@pytest.mark.parametrize("value", VALUES, ids=lambda v: f"{v.dtype}{list(v.shape)}")
def test_numpy_and_jax_make_the_same_number(value):
    assert int(fingerprint([value, value])) == int(jax.jit(lambda v: fingerprint([v, v]))(value))


def test_one_bit_more_or_two_rows_exchanged_is_another_number():
    some = np.asarray(normal(50, 3))
    numbers = {int(fingerprint([some]))}
    for i in range(50):
        other = some.copy()
        other[i, 0] = np.nextafter(other[i, 0], 9)
        numbers.add(int(fingerprint([other])))
    numbers |= {int(fingerprint([some[::-1]])), int(fingerprint([-some])), int(fingerprint([some, some]))}
    assert len(numbers) == 54

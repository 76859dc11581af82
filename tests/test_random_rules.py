"""UORO, KF-RTRL and OK: the mean over many keys is the gradient of RTRL, the variance what their papers say."""

import dataclasses
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import CASES as CASES_OF_STEPS
from dense_rules import Network, NETWORKS, rolled, rtrl
from oracle import bptt, by_path, relative

import eqx_etrace as etr

pytestmark = pytest.mark.outside_sample  # of draws, and not of how this JAX writes a step
KEYS, SHORT = 2000, 12
RULES = {
    "UORO": etr.UORO,
    "KFRTRL": etr.KFRTRL,
    "OK(1)": lambda key: etr.OK(1, key),
    "OK(4)": lambda key: etr.OK(4, key),
}


def short(name):
    net = NETWORKS[name]
    return Network(net.cell, net.loss, net.w, net.xs[:SHORT], net.ys[:SHORT], net.n, net.states)


@functools.cache
def exact(name):
    return rtrl(rolled(short(name)))


def gradient(net, rule, window):
    online = etr.etrace_grad(net.loss_step, rule, window=window)
    trace = online.init(net.w, net.start, net.xs[0], net.ys[0])
    return online.scan(net.w, net.start, trace, net.xs, net.ys)


@functools.cache
def drawn(name, rule, window):
    """The gradients of many keys."""
    one = jax.jit(jax.vmap(lambda key: gradient(short(name), RULES[rule](key), window)[0].ravel()))
    return np.asarray(one(jax.random.split(jax.random.key(3), KEYS)))


def squared_z(draws, wanted):
    """Mean squared distance of the mean from what is wanted, in standard errors."""
    error = draws.std(0, ddof=1) / np.sqrt(len(draws))
    is_random = error > 1e-12 * np.abs(wanted).max()
    return float((((draws.mean(0) - wanted)[is_random] / error[is_random]) ** 2).mean())


def variance(name, rule, window):
    return float(((drawn(name, rule, window) - exact(name)) ** 2).sum(1).mean() / (exact(name) ** 2).sum())


CASES = [(name, rule, 0) for name in NETWORKS for rule in RULES]
CASES += [("rate", rule, window) for rule in RULES for window in (1, 4)]


@pytest.mark.parametrize(("name", "rule", "window"), CASES)
def test_the_mean_is_that_of_rtrl(name, rule, window):
    """Elements are correlated, so that a mean of squares of 1 has a wide spread; a bias of 10 % shows where it can."""
    draws, wanted = drawn(name, rule, window), exact(name)
    assert squared_z(draws, wanted) < 3
    if window == 4 or 0.01 * KEYS / variance(name, rule, window) > 10:
        assert squared_z(draws, 1.1 * wanted) > 10


@pytest.mark.parametrize("name", NETWORKS)
def test_variances_are_in_the_order_of_the_papers(name):
    found = [variance(name, rule, 0) for rule in RULES]
    assert found == sorted(found, reverse=True)
    assert found[0] > 1.5 * found[1] and found[2] > 5 * found[3]


@pytest.mark.parametrize("window", [0, 1, 5])
@pytest.mark.parametrize("name", NETWORKS)
def test_as_many_products_as_steps_are_rtrl(name, window):
    found, _, _ = gradient(short(name), etr.OK(SHORT, jax.random.key(0)), window)
    assert relative(found.ravel(), exact(name)) < 1e-10


@pytest.mark.parametrize("rule", RULES)
def test_randomness_is_a_part_of_the_trace(rule):
    """The same key, the same gradients; and from a trace that was kept, whatever key the rule has then."""
    net, make = short("alif"), RULES[rule]
    whole, _, _ = gradient(net, make(jax.random.key(5)), 1)
    assert relative(whole, gradient(net, make(jax.random.key(5)), 1)[0]) == 0
    assert relative(whole, gradient(net, make(jax.random.key(6)), 1)[0]) > 1e-3
    first, second = ({"xs": net.xs[part], "ys": net.ys[part]} for part in (slice(5), slice(5, None)))
    begun = etr.etrace_grad(net.loss_step, make(jax.random.key(5)))
    trace = begun.init(net.w, net.start, net.xs[0], net.ys[0])
    half, h, trace = begun.scan(net.w, net.start, trace, *first.values())
    later = etr.etrace_grad(net.loss_step, make(jax.random.key(99)))
    rest, _, _ = later.scan(net.w, h, trace, *second.values())
    assert relative(half + rest, whole) < 1e-9


@pytest.mark.parametrize("rule", RULES)
def test_lanes_are_independent(rule):
    """Two lanes with the same data: in the step, and by a map over keys around it."""
    net = short("rate")

    def batched(w, h, x, y):
        new = jax.vmap(lambda h, x: net.cell(w, (h,), x, False)[0])(h, x)
        return jax.vmap(net.loss)(new, y).sum(), new

    xs, ys = (jnp.stack([a, a], 1) for a in (net.xs, net.ys))
    online = etr.etrace_grad(batched, RULES[rule](jax.random.key(0)))
    trace = online.init(net.w, jnp.zeros((2, net.n)), xs[0], ys[0])
    found, _, trace = online.scan(net.w, jnp.zeros((2, net.n)), trace, xs, ys)
    assert jnp.isfinite(found).all()
    (value,) = trace.values
    lanes = [value.theta[0, 0], value.theta[0, 1]] if rule == "UORO" else [value.a[0, 0], value.a[1, 0]]
    assert relative(lanes[0], lanes[1]) > 1e-2

    def lane(key):
        return gradient(net, RULES[rule](key), 1)[0]

    one, other = jax.vmap(lane)(jax.random.split(jax.random.key(1)))
    assert relative(one, other) > 1e-3


@jax.custom_vjp
def backward_only(u):
    return (u >= 0).astype(u.dtype)


backward_only.defvjp(lambda u: (backward_only(u), u), lambda u, ct: (ct * 0.3 * jnp.maximum(0.0, 1 - jnp.abs(u)),))


@pytest.mark.parametrize("rule", RULES)
def test_a_surrogate_needs_no_forward_rule(rule):
    net = short("alif")

    def cell(w, h, x, detached):
        v, a, z = h
        v = 0.9 * v + w @ jnp.concatenate([z, x]) - 0.5 * jax.lax.stop_gradient(z)
        a = 0.95 * a + z
        return v, a, backward_only(v - 0.5 - 0.3 * a)

    same = Network(cell, net.loss, net.w, net.xs, net.ys, net.n, net.states)
    found, wanted = (gradient(one, RULES[rule](jax.random.key(2)), 1)[0] for one in (same, net))
    assert relative(found, wanted) < 1e-9


def test_a_weight_that_meets_no_data():
    """A bias: whole under KF-RTRL and OK, and so exact, and right in the mean under UORO."""
    net = short("rate")

    def step(model, h, x, y):
        h = 0.7 * h + 0.3 * jnp.tanh(net.w @ jnp.concatenate([h, x]) + model["b"])
        return net.loss(h, y), h

    model, h = {"b": 0.1 * net.w[:, 0]}, jnp.zeros(net.n)

    def run(rule):
        online = etr.etrace_grad(step, rule)
        return online.scan(model, h, online.init(model, h, net.xs[0], net.ys[0]), net.xs, net.ys)[0]["b"]

    wanted = run(etr.RTRL())
    for rule in (etr.KFRTRL(jax.random.key(0)), etr.OK(2, jax.random.key(0))):
        assert relative(run(rule), wanted) < 1e-12
        assert all(row.exact for row in etr.compile_graph(step, model, h, net.xs[0], net.ys[0]).report(rule).rows)
    draws = jax.vmap(lambda key: run(etr.UORO(key)))(jax.random.split(jax.random.key(1), KEYS))
    assert squared_z(np.asarray(draws), np.asarray(wanted)) < 3


def test_what_a_report_says():
    net = short("alif")
    graph = etr.compile_graph(net.loss_step, net.w, net.start, net.xs[0], net.ys[0])
    for make in RULES.values():
        report = graph.report(make(jax.random.key(0)))
        (row,) = report.rows
        assert not row.exact and row.unbiased
        assert " unbiased " in str(report) and "right in the mean" in str(report)
    assert not graph.report(etr.DRTRL()).rows[0].unbiased


def test_a_rule_mapped_over_keys_and_jitted():
    net = short("rate")
    keys = jax.random.split(jax.random.key(0), 3)
    traces = eqx.filter_vmap(
        lambda key: etr.etrace_grad(net.loss_step, etr.UORO(key)).init(net.w, net.start, net.xs[0], net.ys[0])
    )(keys)
    online = etr.etrace_grad(net.loss_step, etr.UORO(keys[0]))
    found, _, _ = jax.vmap(lambda trace: online.scan(net.w, net.start, trace, net.xs, net.ys))(traces)
    assert relative(found[0], found[1]) > 1e-3
    assert relative(found[2], gradient(net, etr.UORO(keys[2]), 1)[0]) < 1e-9


@pytest.mark.parametrize("make", [etr.UORO, etr.KFRTRL, lambda key: etr.OK(2, key)])
def test_what_is_no_key_is_refused(make):
    assert make(jax.random.PRNGKey(0)).key.dtype == jax.random.key(0).dtype
    for wrong in (0, None, jnp.zeros(3), jax.random.split(jax.random.key(0))):
        with pytest.raises(TypeError, match="it must be one random key"):
            make(wrong)


@pytest.mark.parametrize(("rank", "error"), [(0, ValueError), (True, TypeError), (1.5, TypeError)])
def test_a_rank_counts_products(rank, error):
    with pytest.raises(error, match="it counts products"):
        etr.OK(rank, jax.random.key(0))


SMALL = jnp.asarray(np.random.default_rng(3).normal(size=(10, 3)))
LINEAR = {
    name: jnp.asarray(np.random.default_rng(4).normal(size=shape)) for name, shape in [("w", (4, 4)), ("v", (4, 3))]
}


def linear(m, h, x, is_reset):
    h = jnp.where(is_reset, 0.0, h)
    h = 0.6 * h + 0.4 * (0.3 * m["w"] @ h + m["v"] @ x)
    return jnp.arange(1.0, 5.0) @ h, h


def noise(make, xs, resets, start=0):
    """Of single gradients from `start` on, relative, by weight."""

    def run(rule):
        online, h = etr.etrace_grad(linear, rule), jnp.zeros(4)
        trace = online.init(LINEAR, h, xs[0], resets[0])
        if start:
            _, h, trace = online.scan(LINEAR, h, trace, xs[:start], resets[:start])
        return online.scan(LINEAR, h, trace, xs[start:], resets[start:])[0]

    wanted = run(etr.RTRL())
    draws = jax.jit(jax.vmap(lambda key: run(make(key))))(jax.random.split(jax.random.key(0), 500))
    return {k: float(jnp.sqrt(((draws[k] - g) ** 2).sum((1, 2)).mean() / (g**2).sum())) for k, g in wanted.items()}


@pytest.mark.parametrize("rule", ["UORO", "KFRTRL", "OK(1)"])
def test_the_noise_has_the_scale_of_what_is_estimated(rule):
    """In a linear network it does not depend on the size of inputs, and a reset leaves nothing of the time before."""
    make, never = RULES[rule], jnp.zeros(10, bool)
    plain = noise(make, SMALL, never)
    small = noise(make, 1e-4 * SMALL, never)
    long = jnp.concatenate([100 * SMALL, SMALL])
    after = noise(make, long, jnp.zeros(20, bool).at[10].set(True), start=10)
    for name in plain:
        assert small[name] < 1.5 * plain[name] and after[name] < 1.5 * plain[name]


@pytest.mark.parametrize("rule", ["UORO", "KFRTRL"])
def test_derivatives_through_an_update(rule):
    """By finite differences; from a zero trace, where norms are zero."""

    def after(scale):
        rule_here, h = RULES[rule](jax.random.key(1)), jnp.zeros(4)
        model = {**LINEAR, "v": scale * LINEAR["v"]}
        online = etr.etrace_grad(linear, rule_here)
        found, _, _ = online.scan(
            model, h, online.init(model, h, SMALL[0], jnp.asarray(False)), SMALL, jnp.zeros(10, bool)
        )
        return (found["w"] ** 2).sum()

    slope = (after(1 + 1e-5) - after(1 - 1e-5)) / 2e-5
    np.testing.assert_allclose(jax.grad(after)(1.0), slope, rtol=1e-5)


def test_derivatives_through_decompositions_are_refused():
    net = short("rate")

    def total(w):
        online = etr.etrace_grad(net.loss_step, etr.OK(2, jax.random.key(0)))
        return (
            online(w, net.start, online.init(w, net.start, net.xs[0], net.ys[0]), net.xs[0], net.ys[0])[2]
            .values[0]
            .a.sum()
        )

    with pytest.raises(NotImplementedError, match="use `KFRTRL`, `UORO`"):
        jax.grad(total)(net.w)


@pytest.mark.parametrize("rule", RULES)
def test_norms_do_not_leave_half_precision(rule):
    m = {"w": (0.3 * LINEAR["w"]).astype(jnp.float16), "v": (1e-3 * LINEAR["v"]).astype(jnp.float16)}
    xs, h = jnp.full((6, 3), 200.0, jnp.float16), jnp.zeros(4, jnp.float16)

    def step(m, h, x):
        h = (0.6 * h + 0.4 * jnp.tanh(m["w"] @ h + m["v"] @ x)).astype(jnp.float16)
        return h.sum(), h

    online = etr.etrace_grad(step, RULES[rule](jax.random.key(0)))
    found, _, _ = online.scan(m, h, online.init(m, h, xs[0]), xs)
    assert all(jnp.isfinite(g).all() for g in found.values())


OTHER = ("conv2d_batched", "linear_recurrent_unit")
"""Places of a batch that share a block, and complex weights."""


@pytest.mark.parametrize("rule", ["UORO", "KFRTRL", "OK(4)"])
@pytest.mark.parametrize("name", OTHER)
def test_the_mean_is_that_of_bptt_on_other_steps(name, rule):
    loss_step, model, state, inputs = CASES_OF_STEPS[name].build()
    wanted = by_path(bptt(loss_step, model, state, *inputs))

    def one(key):
        online = etr.etrace_grad(loss_step, RULES[rule](key))
        trace = online.init(model, state, *(x[0] for x in inputs))
        return by_path(online.scan(model, state, trace, *inputs)[0])

    draws = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(11), 800))
    for path, gradient in wanted.items():
        found, exact = np.asarray(draws[path]).reshape(800, -1), np.asarray(gradient).ravel()
        parts, values = ([np.real(a), np.imag(a)] if np.iscomplexobj(a) else [a] for a in (found, exact))
        for part, value in zip(parts, values, strict=True):
            if (part.std(0) > 1e-12 * np.abs(exact).max()).any():
                assert squared_z(part, value) < 3, path
            else:
                np.testing.assert_allclose(part.mean(0), value, atol=1e-9 * np.abs(exact).max())


@pytest.mark.parametrize("window", [0, 1])
def test_rounding_does_not_change_what_a_key_draws(window):
    """Vectors of a decomposition have no sign of their own: devices that round otherwise would draw otherwise."""
    net = short("rate")
    for rank in (1, 2, 4):
        rule = etr.OK(rank, jax.random.key(1))
        one = gradient(net, rule, window)[0].ravel()
        other = gradient(dataclasses.replace(net, xs=net.xs * (1 + 1e-15)), rule, window)[0].ravel()
        assert relative(other, one) < 1e-10


def test_factors_that_are_far_apart():
    """A tiny input, and a response that makes up for it."""

    def step(w, h, x):
        x, gain = x
        h = 0.5 * h + gain * (w @ x)
        return jnp.sum(h**2), h

    xs = jnp.asarray([[1, 0], [0, 1e-20], [0, 0]], jnp.float32), jnp.asarray([1, 1e20, 1], jnp.float32)
    w, h = jnp.ones((2, 2), jnp.float32), jnp.zeros(2, jnp.float32)

    def scanned(rule):
        online = etr.etrace_grad(step, rule)
        return online.scan(w, h, online.init(w, h, (xs[0][0], xs[1][0])), xs)[0]

    found, wanted = scanned(etr.OK(2, jax.random.key(0))), scanned(etr.RTRL())
    np.testing.assert_allclose(found, wanted, rtol=1e-5)

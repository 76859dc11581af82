"""Each published rule against its equations (`tests/dense_rules.py`), on a rate network, on ALIF neurons and a GRU."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dense_rules import diagonal, filtered_eprop, NETWORKS, otpe, ottt, READ, rflo, rolled, rtrl, spike, STEPS
from oracle import bptt, relative

import eqx_etrace as etr
from eqx_etrace._spend import check_step

pytestmark = pytest.mark.outside_sample  # of traces, and not of how this JAX writes a step

RULES = {
    "DRTRL": (etr.DRTRL(), diagonal),
    "EProp": (etr.EProp(), diagonal),
    "EProp filtered": (etr.EProp(kappa=0.8), lambda r: filtered_eprop(r, 0.8)),
    "RFLO": (etr.RFLO(0.6), lambda r: rflo(r, 0.6)),
    "OTTT": (etr.OTTT(0.85), lambda r: ottt(r, 0.85)),
    "OTPE": (etr.OTPE(0.85), lambda r: otpe(r, 0.85)),
    "OSTL": (etr.OSTL(), rtrl),
    "RTRL": (etr.RTRL(), rtrl),
}


@functools.cache
def steps_of(name):
    return rolled(NETWORKS[name])


def run(net, rule, window, *, by_calls=False):
    online = etr.etrace_grad(net.loss_step, rule, window=window)
    trace, inputs = online.init(net.w, net.start, net.xs[0], net.ys[0]), (net.xs, net.ys)
    if not by_calls:
        return eqx.filter_jit(online.scan)(net.w, net.start, trace, *inputs)

    def one(carry, now):
        found, *carry = online(net.w, *carry, *now)
        return tuple(carry), found

    (h, trace), each = eqx.filter_jit(jax.lax.scan)(one, (net.start, trace), inputs)
    return each.sum(0), h, trace


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", NETWORKS)
def test_at_window_0_it_is_the_published_rule(name, rule):
    rule, reference = RULES[rule]
    wanted = reference(steps_of(name)).reshape(NETWORKS[name].w.shape)
    found, _, trace = run(NETWORKS[name], rule, 0)
    assert relative(found, wanted) < 1e-12
    called, _, other = run(NETWORKS[name], rule, 0, by_calls=True)
    assert relative(called, wanted) < 1e-12
    for a, b in zip(jax.tree.leaves(trace), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


def test_the_networks_are_alive_and_the_rules_differ():
    assert 0.05 < steps_of("alif").x[:, :6].mean() < 0.6
    for name in NETWORKS:
        found = {rule: reference(steps_of(name)) for rule, (_, reference) in RULES.items()}
        for one, other in [("DRTRL", "RTRL"), ("EProp filtered", "EProp"), ("OTTT", "OTPE"), ("RFLO", "OTTT")]:
            assert relative(found[one], found[other]) > 1e-2, (name, one, other)


def test_rflo_is_the_diagonal_rule_where_the_leak_is_the_network_s():
    assert relative(run(NETWORKS["rate"], etr.RFLO(0.7), 1)[0], run(NETWORKS["rate"], etr.DRTRL(), 1)[0]) < 1e-12


def lif_layer(model, state, x, y):
    """Feed-forward; a readout with the leak of the membrane."""
    v, z, r = state
    v = 0.9 * v + model["w"] @ x + model["b"] - 0.5 * jax.lax.stop_gradient(z)
    z = spike(v - 0.5)
    r = 0.9 * r + READ @ z
    return 0.5 * jnp.sum((r - y) ** 2), (v, z, r)


def memoryless(model, state, x, y):
    _, (v, z, _) = lif_layer(model, (*state, jnp.zeros(2)), x, y)
    return 0.5 * jnp.sum((READ @ z - y) ** 2), (v, z)


def online_and_bptt(step, rule, window, states):
    net = NETWORKS["alif"]
    model, state = {"w": net.w[:, 6:], "b": 0.1 * net.w[:, 0]}, (jnp.zeros(6), jnp.zeros(6), jnp.zeros(2))[:states]
    online = etr.etrace_grad(step, rule, window=window)
    found, _, _ = online.scan(model, state, online.init(model, state, net.xs[0], net.ys[0]), net.xs, net.ys)
    return found, bptt(step, model, state, net.xs, net.ys)


@pytest.mark.parametrize("window", [0, 1, 5, STEPS])
def test_a_layer_of_lif_neurons(window):
    """OTTT is exact if nothing behind it has a memory, and e-prop if a leaky readout does."""
    for step, rule, states in [(memoryless, etr.OTTT(0.9), 2), (lif_layer, etr.EProp(), 3)]:
        found, wanted = online_and_bptt(step, rule, min(window, 0 if states == 2 else window), states)
        for name in wanted:
            assert relative(found[name], wanted[name]) < 1e-12, (rule, name)


def test_otpe_is_exact_before_a_readout_of_the_same_leak():
    """The readout is no part of the step: its error comes from outside, as the papers have it."""
    net = NETWORKS["alif"]
    model = {"w": net.w[:, 6:], "b": 0.1 * net.w[:, 0]}
    _, wanted = online_and_bptt(lif_layer, etr.EProp(), 0, 3)
    for rule in (etr.OTPE(0.9), etr.EProp(kappa=0.9)):
        online = etr.etrace_vjp(memoryless_spikes, rule, window=0)
        step = eqx.filter_jit(online)
        state, r, total = (jnp.zeros(6), jnp.zeros(6)), jnp.zeros(2), jax.tree.map(jnp.zeros_like, model)
        trace = online.init(model, state, net.xs[0])
        for x, y in zip(net.xs, net.ys, strict=True):
            z, state, trace, pull = step(model, state, trace, x)
            r = 0.9 * r + READ @ z
            total = jax.tree.map(jnp.add, total, pull(READ.T @ (r - y))[0])
        for name in wanted:
            assert relative(total[name], wanted[name]) < 1e-12, (rule, name)


def memoryless_spikes(model, state, x):
    _, (v, z) = memoryless(model, state, x, jnp.zeros(2))
    return z, (v, z)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("window", [1, 3])
def test_windows_leave_the_trace_of_single_steps(rule, window):
    rule, net = RULES[rule][0], NETWORKS["alif"]
    _, _, found = run(net, rule, window)
    _, _, wanted = run(net, rule, 1, by_calls=True)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("make", [etr.RFLO, etr.OTTT, etr.OTPE, lambda leak: etr.EProp(kappa=leak)])
def test_a_leak_may_be_an_array_that_is_mapped_over_or_differentiated_by(make):
    net = NETWORKS["rate"]

    def total(leak):
        return (run(net, make(leak), 0)[0] ** 2).sum()

    leaks = jnp.asarray([0.3, 0.8])
    mapped = jax.vmap(total)(leaks)
    np.testing.assert_allclose(mapped, [total(0.3), total(0.8)], rtol=1e-12)
    slope = (total(0.3 + 1e-5) - total(0.3 - 1e-5)) / 2e-5
    np.testing.assert_allclose(jax.grad(total)(leaks[0]), slope, rtol=1e-6)
    assert jnp.isnan(jax.jit(total)(jnp.asarray(1.5)))


@pytest.mark.parametrize("make", [etr.RFLO, etr.OTTT, etr.OTPE, lambda leak: etr.EProp(kappa=leak)])
def test_what_is_no_leak_is_refused(make):
    for wrong, error in [
        (1.5, ValueError),
        (-0.1, ValueError),
        (True, TypeError),
        ([0.5], TypeError),
        ("a", TypeError),
    ]:
        with pytest.raises(error, match=r"it must (lie in \[0, 1\]|be a float)"):
            make(wrong)


def test_a_rule_in_the_place_of_the_step_is_told():
    """(Here, where types are checked, they are told before.)"""
    with pytest.raises(TypeError, match=r"found EProp.*The order is `\(step, rule\)`"):
        check_step(etr.EProp())


@pytest.mark.parametrize("make", [etr.RFLO, etr.OTTT, etr.OTPE])
def test_time_is_that_of_the_states(make):
    """Steps that hold the states leave the trace alone, and a reset starts it anew."""
    net, rule = NETWORKS["rate"], make(0.8)

    def step(w, h, x, y, mode):
        old = jnp.where(mode == 2, 0.0, h[0])
        new = jnp.where(mode == 1, old, net.cell(w, (old,), x, False)[0])
        return net.loss(new, y), (new,)

    online = etr.etrace_grad(step, rule, window=0)

    def trace_after(modes):
        h, trace = net.start, online.init(net.w, net.start, net.xs[0], net.ys[0], jnp.asarray(0))
        for t, mode in enumerate(modes):
            _, h, trace = online(net.w, h, trace, net.xs[t % 4], net.ys[0], jnp.asarray(mode))
        return jax.tree.leaves(trace.values)

    for held, plain in zip(trace_after([0, 0, 1, 1]), trace_after([0, 0]), strict=True):
        np.testing.assert_allclose(held, plain, rtol=1e-12)
    for cut, alone in zip(trace_after([0, 0, 0, 0, 2]), trace_after([2]), strict=True):
        np.testing.assert_allclose(cut, alone, rtol=1e-12)


def first(w, h, x):
    return 0.6 * h + 0.4 * jnp.tanh(w @ jnp.concatenate([h, x]))


def test_ostl_keeps_the_full_jacobian_of_each_layer_alone():
    """Two recurrent layers, dense: M <- J M + I of each by itself, signals through the layer behind within the step."""
    net, rng = NETWORKS["rate"], np.random.default_rng(2)
    model = {"a": jnp.asarray(0.5 * rng.normal(size=(6, 9))), "b": jnp.asarray(0.5 * rng.normal(size=(4, 10)))}
    read = jnp.asarray(rng.normal(size=(2, 4)))

    def behind(w, h, below):
        return first(w, h, below)

    def step(model, state, x, y):
        one = first(model["a"], state[0], x)
        two = behind(model["b"], state[1], one)
        return 0.5 * jnp.sum((read @ two - y) ** 2), (one, two)

    h, influence = [jnp.zeros(6), jnp.zeros(4)], [np.zeros((6, 54)), np.zeros((4, 40))]
    wanted = {"a": np.zeros(54), "b": np.zeros(40)}
    for x, y in zip(net.xs, net.ys, strict=True):
        one = first(model["a"], h[0], x)
        two = behind(model["b"], h[1], one)
        met = [("a", h[0], x), ("b", h[1], one)]
        for i, (name, old, data) in enumerate(met):
            J, I = (np.asarray(jax.jacobian(first, k)(model[name], old, data)) for k in (1, 0))  # noqa: E741
            influence[i] = J @ influence[i] + I.reshape(old.size, -1)
        error = read @ two - y
        on_one = jax.grad(lambda one, old=h[1], y=y: 0.5 * jnp.sum((read @ behind(model["b"], old, one) - y) ** 2))(one)
        wanted["a"] = wanted["a"] + np.asarray(on_one) @ influence[0]
        wanted["b"] = wanted["b"] + np.asarray(read.T @ error) @ influence[1]
        h = [one, two]
    online, state = etr.etrace_grad(step, etr.OSTL(), window=0), (jnp.zeros(6), jnp.zeros(4))
    trace = online.init(model, state, net.xs[0], net.ys[0])
    found, _, _ = eqx.filter_jit(online.scan)(model, state, trace, net.xs, net.ys)
    for name, gradient in wanted.items():
        assert relative(found[name].ravel(), gradient) < 1e-12
    exact = bptt(step, model, state, net.xs, net.ys)
    assert relative(found["a"], exact["a"]) > 1e-2 and relative(found["b"], exact["b"]) < 1e-12


def test_sparse_weights_have_the_rule_of_dense_ones():
    """Synapses that are summed at an index, and the same in a matrix: a LIF layer, whose leak is the rule's."""
    net, rng = NETWORKS["alif"], np.random.default_rng(6)
    mask = rng.random((6, 3)) < 0.6
    post, pre = np.nonzero(mask)
    w = jnp.asarray(0.4 * rng.normal(size=mask.shape) + 0.2)

    def layer(current, state, y):
        v, z = state
        v = 0.9 * v + current - 0.5 * jax.lax.stop_gradient(z)
        z = spike(v - 0.5)
        return 0.5 * jnp.sum((READ @ z - y) ** 2), (v, z)

    def dense(w, state, x, y):
        return layer(w @ x, state, y)

    def sparse(w, state, x, y):
        return layer(jax.ops.segment_sum(w * x[pre], post, 6), state, y)

    state = (jnp.zeros(6), jnp.zeros(6))
    rules = etr.RFLO(0.9), etr.OTTT(0.9), etr.OTPE(0.9), etr.EProp(kappa=0.8), etr.OSTL()
    for rule, window in zip(rules, (0, 1, 3, 0, 0), strict=True):
        found = []
        for step, weights in ((dense, jnp.where(mask, w, 0.0)), (sparse, w[post, pre])):
            online = etr.etrace_grad(step, rule, window=window)
            trace = online.init(weights, state, net.xs[0], net.ys[0])
            found.append(eqx.filter_jit(online.scan)(weights, state, trace, net.xs, net.ys)[0])
        assert relative(found[1], found[0][post, pre]) < 1e-12, (rule, window)

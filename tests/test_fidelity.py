"""The probe: 1 where the rule is exact, what a comparison by hand gives where it is not."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import CASES
from cases.table import T
from oracle import by_path, rollout

import eqx_etrace as etr

pytestmark = pytest.mark.outside_sample  # of traces, and not of how this JAX writes a step


def probed(name, rule, every, stretch):
    """The fidelity after every step, the gradients, and the states."""
    loss_step, model, state, inputs = CASES[name].build()
    online = etr.etrace_grad(loss_step, rule)
    probe = etr.FidelityProbe(online, every=every, stretch=stretch)
    first = tuple(x[0] for x in inputs)

    def body(carry, now):
        state, trace, memory = carry
        gradients, new, trace = online(model, state, trace, *now)
        fidelity, memory = probe(model, state, memory, gradients, *now)
        return (new, trace, memory), (fidelity, gradients)

    start = (state, online.init(model, state, *first), probe.init(model, state, *first))
    return eqx.filter_jit(jax.lax.scan)(body, start, inputs)[1]


@pytest.mark.parametrize("stretch", [T, None])
@pytest.mark.parametrize("name", ["gru", "linear_recurrent_unit"])
def test_exact_is_one(name, stretch):
    fidelity, _ = probed(name, etr.RTRL(), T, stretch)
    assert fidelity.step.tolist() == [-1] * (T - 1) + [T - 1]
    for leaf in jax.tree.leaves((fidelity.cosine, fidelity.norm_ratio)):
        np.testing.assert_allclose(leaf[-1], 1, rtol=1e-9)
        assert np.isnan(leaf[:-1]).all()


def test_against_a_comparison_by_hand():
    """D-RTRL on a GRU, every third step through two: at steps 2 and 5."""
    fidelity, gradients = probed("gru", etr.DRTRL(), 3, 2)
    assert fidelity.step.tolist() == [-1, -1, 2, 2, 2, 5]
    loss_step, model, state, inputs = CASES["gru"].build()
    found = []
    for t in (2, 5):
        before = eqx.filter_jit(rollout)(loss_step, model, state, *(x[: t - 1] for x in inputs))[1]
        start = jax.tree.map(lambda s: s[-1], before)
        here = tuple(x[t - 1 : t + 1] for x in inputs)
        wanted = eqx.filter_grad(lambda m, s=start, i=here: rollout(loss_step, m, s, *i)[0][-1])(model)
        ours = by_path(jax.tree.map(lambda g, t=t: g[t], gradients))
        for path, exact in by_path(wanted).items():
            a, b = np.ravel(ours[path]), np.ravel(exact)
            cosine = a @ b / np.sqrt((a @ a) * (b @ b))
            found.append(cosine)
            np.testing.assert_allclose(by_path(fidelity.cosine)[path][t], cosine, rtol=1e-9)
            np.testing.assert_allclose(by_path(fidelity.norm_ratio)[path][t], np.sqrt(a @ a / (b @ b)), rtol=1e-9)
    assert min(found) < 1 - 1e-6


def test_the_shadow_is_bptt_from_the_start():
    """D-RTRL on a GRU at fixed parameters: at every step, RTRL and BPTT through all steps so far say the same."""
    fidelity, _ = probed("gru", etr.DRTRL(), 1, None)
    for length in (2, 5, T):
        stored, _ = probed("gru", etr.DRTRL(), length, length)
        for a, b in zip(*(jax.tree.leaves((f.cosine, f.norm_ratio)) for f in (fidelity, stored)), strict=True):
            np.testing.assert_allclose(a[length - 1], b[length - 1], rtol=1e-9)
    assert min(float(c[-1]) for c in jax.tree.leaves(fidelity.cosine)) < 1 - 1e-6


@pytest.mark.parametrize("stretch", [None, 2])
def test_gradients_of_a_scan(stretch):
    """Two calls of three steps each: the sum of the losses of the second, by hand."""
    loss_step, model, state, inputs = CASES["gru"].build()
    online = etr.etrace_grad(loss_step, etr.DRTRL())
    probe = etr.FidelityProbe(online, every=2, stretch=stretch, over_scan=True)
    calls = [tuple(x[s : s + 3] for x in inputs) for s in (0, 3)]
    trace, memory = online.init(model, state, *(x[0] for x in inputs)), probe.init(model, state, *calls[0])
    fidelity, gradients, here = None, None, state
    for call in calls:
        gradients, new, trace = eqx.filter_jit(online.scan)(model, here, trace, *call, window=2)
        fidelity, memory = probe(model, here, memory, gradients, *call)
        here = new
    assert fidelity is not None and int(fidelity.step) == 1
    wanted = eqx.filter_grad(lambda m: rollout(loss_step, m, state, *(x[:6] for x in inputs))[0][3:].sum())(model)
    ours, cosines = by_path(gradients), by_path(fidelity.cosine)
    for path, exact in by_path(wanted).items():
        a, b = np.ravel(ours[path]), np.ravel(exact)
        np.testing.assert_allclose(cosines[path], a @ b / np.sqrt((a @ a) * (b @ b)), rtol=1e-9)
    assert min(map(float, jax.tree.leaves(fidelity.cosine))) < 1 - 1e-6


def test_an_error_of_the_step_is_its_own():
    """It is not taken for RTRL's refusal; and a probe over scan wants a time axis."""

    def loss_step(model, state, x):
        raise ValueError("mine")

    online = etr.etrace_grad(loss_step, etr.DRTRL())
    with pytest.raises(ValueError, match=r"^mine\b"):
        etr.FidelityProbe(online, every=2).init(jnp.ones(2), jnp.ones(2), jnp.ones(2))
    with pytest.raises(ValueError, match="leading time axes"):
        etr.FidelityProbe(online, every=2, over_scan=True).init(jnp.ones(2), jnp.ones(2), jnp.ones(2), jnp.ones(4))


def test_rtrl_that_is_not_exact_is_no_measure():
    """It would measure 1 for itself."""
    loss_step, model, state, inputs = CASES["custom_vjp_that_clips"].build()
    online, first = etr.etrace_grad(loss_step, etr.RTRL()), [x[0] for x in inputs]
    wanted = (
        r"RTRL is not exact here .*could not be shown to be linear at approximate.py:\d+.*give the probe `stretch=`"
    )
    with pytest.raises(ValueError, match=wanted):
        etr.FidelityProbe(online, every=2).init(model, state, *first)
    etr.FidelityProbe(online, every=2, stretch=2).init(model, state, *first)


def test_rtrl_that_does_not_fit_says_so():
    """A dense layer of 512 units beside its limit of memory."""
    model, state = {"w": jnp.ones((512, 512))}, jnp.ones((16, 512))

    def loss_step(m, h, x):
        h = jnp.tanh(h @ m["w"] + x)
        return jnp.sum(h), h

    probe = etr.FidelityProbe(etr.etrace_grad(loss_step, etr.DRTRL()), every=2)
    with pytest.raises(ValueError, match=r"give the probe `stretch=`.*limit"):
        probe.init(model, state, state)


@pytest.mark.parametrize("stretch", [2, None])
def test_keys_and_auxiliary_output(stretch):
    """A typed key among the inputs, another in the state, and a loss with auxiliary output."""

    def loss_step(m, state, x, key):
        h, own = state
        own, now = jax.random.split(own)
        h = jnp.tanh(m * h + x + 0.1 * jax.random.normal(key) + 0.1 * jax.random.normal(now))
        return (jnp.sum(h**2), h), (h, own)

    online = etr.etrace_grad(loss_step, etr.DRTRL(), has_aux=True)
    probe = etr.FidelityProbe(online, every=2, stretch=stretch)
    model, state, xs = jnp.full(3, 0.5), (jnp.ones(3), jax.random.key(0)), jnp.ones((2, 3))
    keys = jax.random.split(jax.random.key(1))
    trace, memory = online.init(model, state, xs[0], keys[0]), probe.init(model, state, xs[0], keys[0])
    fidelity = None
    for x, key in zip(xs, keys, strict=True):
        (gradients, _), new, trace = online(model, state, trace, x, key)
        fidelity, memory = probe(model, state, memory, gradients, x, key)
        state = new
    assert fidelity is not None and int(fidelity.step) == 1
    np.testing.assert_allclose(fidelity.cosine, 1, rtol=1e-12)


@pytest.mark.parametrize(("every", "stretch"), [(1, 2), (3, 0), (0, 0)])
def test_the_stretch_lies_between_measurements(every, stretch):
    loss_step, *_ = CASES["gru"].build()
    with pytest.raises(ValueError, match="stretch" if every else "`every` is 0"):
        etr.FidelityProbe(etr.etrace_grad(loss_step, etr.DRTRL()), every=every, stretch=stretch)


def test_arguments_are_checked():
    loss_step, model, state, inputs = CASES["gru"].build()
    online, first = etr.etrace_grad(loss_step, etr.DRTRL()), tuple(x[0] for x in inputs)
    probe = etr.FidelityProbe(online, every=2, stretch=2)
    memory, gradients = probe.init(model, state, *first), eqx.filter(model, eqx.is_inexact_array)
    with pytest.raises(ValueError, match="inputs of this call"):
        probe(model, state, memory, gradients, *inputs)
    with pytest.raises(TypeError, match="gradients alone, without the loss"):
        probe(model, state, memory, (jnp.ones(()), gradients), *first)
    with pytest.raises(ValueError, match="made by a probe with a `stretch`"):
        etr.FidelityProbe(online, every=2)(model, state, memory, gradients, *first)
    with pytest.raises(ValueError, match="gradients of this call"):
        probe(model, state, memory, gradients.cell if hasattr(gradients, "cell") else state, *first)

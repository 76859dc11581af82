"""The dynamics against plain loops over NumPy numbers, the surrogates against their formulas."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqx_etrace import nn

STEPS, UNITS = 60, 7
CURRENTS = np.random.default_rng(0).uniform(0.0, 4.0, (STEPS, UNITS))
RESETS = ["soft", "hard"]
SURROGATES = [
    nn.Triangular(0.4, 1.5),
    nn.Arctan(3.0),
    nn.Sigmoid(2.0),
    nn.SuperSpike(5.0),
    nn.Boxcar(0.65),
    nn.Gaussian(0.7),
    nn.MultiGaussian(0.5, 0.4, 0.2, 3.0),
    nn.StraightThrough(),
]
XS = [-2.0, -1.5, -0.6, -0.1, 0.0, 0.1, 0.7, 1.4, 3.0]


def run(module, state, inputs) -> tuple[Any, Any]:
    """The outputs of every step, stacked, and every state."""

    def body(state, x):
        out, state = module(x, state)
        return state, (out, state)

    return jax.tree.map(np.asarray, jax.jit(jax.lax.scan, static_argnums=0)(body, state, jnp.asarray(inputs))[1])


def reset(V, V_th, V_reset, how):
    if V_th > V:
        return V
    return V - (V_th - V_reset) if how == "soft" else V_reset


@pytest.mark.parametrize("how", RESETS)
def test_lif_follows_its_equation(how):
    tau, V_th, V_reset, V_rest, R, dt = 12.0, -50.0, -62.0, -65.0, 9.0, 0.5
    neuron = nn.LIF(tau=tau, V_th=V_th, V_reset=V_reset, V_rest=V_rest, R=R, dt=dt, reset=how)
    spikes, state = run(neuron, neuron.init_state(UNITS), CURRENTS)
    for unit in range(UNITS):
        V = V_rest
        for t in range(STEPS):
            V = reset(V, V_th, V_reset, how)
            target = V_rest + R * float(CURRENTS[t, unit])
            V = target + (V - target) * math.exp(-dt / tau)
            assert state.V[t, unit] == pytest.approx(V, rel=1e-9)
            assert spikes[t, unit] == (V_th <= V)
    assert 0 < spikes.mean() < 1


@pytest.mark.parametrize("how", RESETS)
def test_if_sums_its_input(how):
    neuron = nn.IF(tau=4.0, V_th=1.5, V_reset=0.25, R=0.8, dt=0.5, reset=how)
    spikes, state = run(neuron, neuron.init_state(UNITS), CURRENTS)
    for unit in range(UNITS):
        V = 0.0
        for t in range(STEPS):
            V = reset(V, 1.5, 0.25, how) + 0.5 * 0.8 * float(CURRENTS[t, unit]) / 4.0
            assert state.V[t, unit] == pytest.approx(V, rel=1e-9, abs=1e-9)
            assert spikes[t, unit] == (V >= 1.5)
    assert 0 < spikes.mean() < 1


@pytest.mark.parametrize("how", RESETS)
def test_gif_follows_its_equations(how):
    neuron = nn.GIF(tau=8.0, tau_I2=30.0, A2=-0.4, V_th=1.2, V_reset=0.1, V_rest=0.2, R=1.5, dt=0.5, reset=how)
    spikes, state = run(neuron, neuron.init_state(UNITS), CURRENTS)
    for unit in range(UNITS):
        V, I2 = 0.2, 0.0
        for t in range(STEPS):
            I2 = (I2 - 0.4 * (V >= 1.2)) * math.exp(-0.5 / 30.0)
            V = reset(V, 1.2, 0.1, how)
            target = 0.2 + 1.5 * (float(CURRENTS[t, unit]) + I2)
            V = target + (V - target) * math.exp(-0.5 / 8.0)
            assert state.I2[t, unit] == pytest.approx(I2, rel=1e-9)
            assert state.V[t, unit] == pytest.approx(V, rel=1e-9, abs=1e-9)
            assert spikes[t, unit] == (V >= 1.2)
    assert 0 < spikes.mean() < 1


def test_adaptation_slows_a_neuron():
    constant = np.full((400, 1), 3.0)
    plain, adapting = (nn.GIF(A2=a) for a in (0.0, -0.3))
    rates = [float(run(n, n.init_state(1), constant)[0].mean()) for n in (plain, adapting)]
    assert rates[0] > 1.5 * rates[1] > 0


def test_synapse_decays_and_sums():
    synapse = nn.Expon(tau=6.0, dt=0.5)
    g, state = run(synapse, synapse.init_state(UNITS), CURRENTS)
    expected = np.zeros(UNITS)
    for t in range(STEPS):
        expected = expected * math.exp(-0.5 / 6.0) + CURRENTS[t]
        np.testing.assert_allclose(g[t], expected, rtol=1e-9)
    np.testing.assert_array_equal(g, state.g)


def test_readout_is_a_leaky_weighted_sum():
    readout = nn.LeakyRateReadout(UNITS, 3, tau=9.0, dt=0.5, key=jax.random.key(0))
    rates, state = run(readout, readout.init_state(), CURRENTS)
    expected, weight = np.zeros(3), np.asarray(readout.weight)
    for t in range(STEPS):
        expected = expected * math.exp(-0.5 / 9.0) + weight @ CURRENTS[t]
        np.testing.assert_allclose(rates[t], expected, rtol=1e-9)
    np.testing.assert_array_equal(rates, state.r)


def test_exp_euler_is_exact_where_linear_and_euler_where_flat():
    x = jnp.asarray([0.3, -2.0, 5.0])
    leak = nn.exp_euler_step(lambda x, rate: 1.0 - rate * x, x, 0.7, dt=3.0)
    np.testing.assert_allclose(leak, 1 / 0.7 + (x - 1 / 0.7) * math.exp(-2.1), rtol=1e-5)
    np.testing.assert_allclose(nn.exp_euler_step(lambda x: 0 * x + 2.0, x, dt=3.0), x + 6.0, rtol=1e-6)


def test_exp_euler_has_a_finite_gradient_without_leak():
    slope = jax.grad(lambda rate: nn.exp_euler_step(lambda x: 1.0 - rate * x, jnp.asarray(2.0), dt=0.5))
    # x + dt phi(-dt a)(1 - a x), differentiated in a at 0: -dt x - dt^2 / 2.
    assert slope(jnp.asarray(0.0)) == pytest.approx(-0.5 * 2.0 - 0.125)


def test_exp_euler_is_second_order_on_a_nonlinear_equation():
    def error(steps):
        x = jnp.asarray(0.5)
        for _ in range(steps):
            x = nn.exp_euler_step(lambda x: x * (1 - x), x, dt=1.0 / steps)
        return abs(float(x) - 1 / (1 + math.exp(-1.0)))

    assert 3.5 < error(8) / error(16) < 4.5


@pytest.mark.parametrize("surrogate", SURROGATES, ids=lambda s: type(s).__name__)
def test_spikes_are_ones_and_zeros(surrogate):
    spikes = surrogate(jnp.asarray(XS))
    np.testing.assert_array_equal(spikes, [0, 0, 0, 0, 1, 1, 1, 1, 1])
    np.testing.assert_array_equal(jax.vmap(surrogate)(jnp.asarray(XS)), spikes)


def bell(x, at, sigma):
    return math.exp(-0.5 * ((x - at) / sigma) ** 2) / math.sqrt(2 * math.pi * sigma**2)


CLOSED_FORM = {
    nn.Triangular: lambda x: 0.4 * max(0.0, 1 - abs(x) / 1.5),
    nn.Arctan: lambda x: 1.5 / (1 + (math.pi * 1.5 * x) ** 2),
    nn.Sigmoid: lambda x: 2.0 / (math.exp(x) + math.exp(-x)) ** 2,  # 2 s(2x) (1 - s(2x))
    nn.SuperSpike: lambda x: (1 + 5.0 * abs(x)) ** -2,
    nn.Boxcar: lambda x: 1 / 1.3 if abs(x) <= 0.65 else 0.0,
    nn.Gaussian: lambda x: bell(x, 0, 0.7),
    nn.MultiGaussian: lambda x: 0.5 * (1.2 * bell(x, 0, 0.4) - 0.2 * (bell(x, 0.4, 1.2) + bell(x, -0.4, 1.2))),
    nn.StraightThrough: lambda x: 1.0,
}


@pytest.mark.parametrize("surrogate", SURROGATES, ids=lambda s: type(s).__name__)
def test_surrogate_slopes(surrogate):
    x = jnp.asarray(XS)
    expected = [CLOSED_FORM[type(surrogate)](v) for v in XS]
    np.testing.assert_allclose(jax.vmap(jax.grad(surrogate))(x), expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(surrogate.derivative(x), expected, rtol=1e-5, atol=1e-7)
    tangent = jax.jvp(surrogate, (x,), (2 * jnp.ones_like(x),))[1]
    np.testing.assert_allclose(tangent, 2 * np.asarray(expected), rtol=1e-5, atol=1e-7)


def test_spike_is_scaled_by_the_reset_distance():
    neuron = nn.LIF(V_th=-50.0, V_reset=-60.0, surrogate=nn.Sigmoid(1.0))
    slope = jax.grad(lambda V: neuron.spike(nn.NeuronState(V)))(jnp.asarray(-45.0))
    assert slope == pytest.approx(float(nn.Sigmoid(1.0).derivative(jnp.asarray(0.5))) / 10.0, rel=1e-5)


def modules():
    readout = nn.LeakyRateReadout(4, 3, key=jax.random.key(0))
    for module in (nn.IF(), nn.LIF(), nn.GIF(), nn.CuBaLIF(), nn.Expon(), nn.Alpha(), nn.DoubleExponential()):
        yield module, module.init_state
    yield readout, lambda shape, dtype: readout.init_state(shape[:-1], dtype)


@pytest.mark.parametrize("index", range(8))
@pytest.mark.parametrize("shape", [(4,), (2, 4), (3, 2, 4)])
@pytest.mark.parametrize("x64", [False, True])
def test_shapes_and_dtypes_stay(index, shape, x64):
    with jax.enable_x64(x64):
        for dtype in [jnp.float32, jnp.float64] if x64 else [jnp.float32]:
            module, init = list(modules())[index]
            module = jax.tree.map(lambda a, dtype=dtype: a.astype(dtype) if eqx.is_inexact_array(a) else a, module)
            state = init(shape, dtype)
            out, new = eqx.filter_jit(module)(jnp.full(shape, 30.0, dtype), state)
            assert out.dtype == dtype and out.shape[:-1] == shape[:-1]
            assert [(a.shape, a.dtype) for a in new] == [(a.shape, a.dtype) for a in state]
            assert all(np.isfinite(a).all() for a in (out, *new))


def test_the_default_dtype_is_that_of_jax():
    for x64, dtype in [(False, jnp.float32), (True, jnp.float64)]:
        with jax.enable_x64(x64):
            assert nn.LIF().init_state(3).V.dtype == dtype


@pytest.mark.parametrize("neuron", [nn.IF, nn.LIF, nn.GIF])
def test_an_array_is_a_parameter_and_a_float_is_not(neuron):
    assert jax.tree.leaves(eqx.filter(neuron(), eqx.is_inexact_array)) == []
    trained = neuron(tau=jnp.asarray([5.0, 10.0, 20.0]), V_th=jnp.asarray(1.0))

    def last_potential(neuron):
        state = neuron.init_state(3)
        for x in jnp.asarray(CURRENTS[:5, :3]):
            state = neuron(x, state)[1]
        return state.V.sum()

    gradient = eqx.filter_jit(eqx.filter_grad(last_potential))(trained)
    assert gradient.tau.shape == (3,) and bool((gradient.tau != 0).all())
    assert gradient.V_th != 0


def test_reset_hides_the_spike_from_the_gradient_but_not_the_membrane():
    def next_potential(V, how):
        neuron = nn.LIF(tau=10.0, reset=how)
        return neuron(jnp.asarray(0.0), nn.NeuronState(V))[1].V

    above = jnp.asarray(1.3)
    assert jax.grad(next_potential)(above, "soft") == pytest.approx(math.exp(-0.1), rel=1e-5)
    assert jax.grad(next_potential)(above, "hard") == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (lambda: nn.LIF(tau=[5.0, 6.0]), TypeError, ["list", "jnp.asarray"]),
        (lambda: nn.LIF(tau=None), TypeError, ["None"]),
        (lambda: nn.LIF(tau=0.0), ValueError, ["`tau` of `LIF` is 0.0", "longer than zero"]),
        (lambda: nn.GIF(tau_I2=-1.0), ValueError, ["`tau_I2` of `GIF` is -1.0"]),
        (lambda: nn.Expon(dt=0.0), ValueError, ["`dt` of `Expon`"]),
        (
            lambda: nn.LeakyRateReadout(2, 1, tau=0.0, key=jax.random.key(0)),
            ValueError,
            ["`tau` of `LeakyRateReadout`"],
        ),
    ],
)
def test_arguments_that_no_neuron_has(make, kind, words):
    with pytest.raises(kind) as info:
        make()
    assert all(word in str(info.value) for word in words), str(info.value)

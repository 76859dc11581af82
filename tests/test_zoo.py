"""Synapses, neurons, cells and delays against plain loops over NumPy numbers; defaults that are alive; exact traces."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracle import bptt
from test_nn import CURRENTS, reset, RESETS, run, STEPS, UNITS

import eqx_etrace as etr
from eqx_etrace import nn

SPIKES = (np.random.default_rng(1).random((STEPS, UNITS)) < 0.2).astype(float)


def outputs(module: Any, state: Any, xs: Any) -> Any:
    """Of every step, for a derivative."""

    def body(state, x):
        out, state = module(x, state)
        return state, out

    return jax.lax.scan(body, state, xs)[1]


def impulse(module, steps, state):
    """What a module makes of a single 1."""
    inputs = np.zeros((steps, 1))
    inputs[0] = 1.0
    return run(module, state, inputs)[0][:, 0]


def test_an_alpha_synapse_peaks_at_its_time_constant():
    t = np.arange(80) * 0.5
    synapse = nn.Alpha(tau=6.0, dt=0.5)
    np.testing.assert_allclose(impulse(synapse, 80, synapse.init_state(1)), t / 6.0 * np.exp(1 - t / 6.0), atol=1e-12)


def test_a_double_exponential_synapse():
    t = np.arange(80) * 0.5
    synapse = nn.DoubleExponential(tau_decay=6.0, tau_rise=1.5, dt=0.5)
    fine = np.linspace(0, 40, 400_001)
    curve, near = (np.exp(-t / 6.0) - np.exp(-t / 1.5) for t in (t, fine))
    expected = curve / near.max()
    np.testing.assert_allclose(impulse(synapse, 80, synapse.init_state(1)), expected, rtol=1e-8, atol=1e-12)


def test_a_leaky_integrator():
    """One step after another, for a current that holds still: the solution of its equation."""
    membrane = nn.LeakyIntegrator(tau=6.0, V_rest=-0.5, R=3.0, dt=0.5)
    found, _ = run(membrane, membrane.init_state(UNITS), CURRENTS)
    V, expected = np.full(UNITS, -0.5), []
    for current in CURRENTS:
        rest = -0.5 + 3.0 * np.asarray(current)
        V = rest + (V - rest) * math.exp(-0.5 / 6.0)
        expected.append(V)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("make", [nn.Alpha, nn.DoubleExponential])
def test_synapses_add_up(make):
    synapse = make()
    g, _ = run(synapse, synapse.init_state(UNITS), CURRENTS)
    kernel = impulse(synapse, STEPS, synapse.init_state(1))
    expected = [kernel[t::-1] @ CURRENTS[: t + 1] for t in range(STEPS)]
    np.testing.assert_allclose(g, expected, rtol=1e-9)


def test_short_term_plasticity():
    U, tau_f, tau_d, dt = 0.3, 40.0, 25.0, 0.5
    synapse = nn.ShortTermPlasticity(U=U, tau_f=tau_f, tau_d=tau_d, dt=dt)
    release, _ = run(synapse, synapse.init_state(UNITS), SPIKES)
    for unit in range(UNITS):
        u, left, last = 0.0, 1.0, 0  # from spike to spike, in closed form
        for t in np.flatnonzero(SPIKES[:, unit]):
            pause = (t - last) * dt
            u = u * math.exp(-pause / tau_f)
            left = 1 - (1 - left) * math.exp(-pause / tau_d)
            u = u + U * (1 - u)
            assert release[t, unit] == pytest.approx(u * left, rel=1e-12)
            left, last = left * (1 - u), t
    assert not release[SPIKES == 0].any()


def test_what_facilitates_and_what_depresses():
    train = np.zeros((200, 1))
    train[::20] = 1.0
    for module, grows in [(nn.ShortTermPlasticity(), True), (nn.ShortTermPlasticity(0.5, 20.0, 500.0), False)]:
        release = run(module, module.init_state(1), train)[0][::20, 0]
        assert (release[1] > release[0]) == grows


@pytest.mark.parametrize("leaky", [True, False])
@pytest.mark.parametrize("how", RESETS)
def test_cuba_follows_its_equations(how, leaky):
    tau, tau_syn, V_th, V_reset, V_rest, R, dt = 12.0, 5.0, 1.4, 0.2, 0.1, 2.5, 0.5
    potentials: dict[str, Any] = {"V_th": V_th, "V_reset": V_reset, "V_rest": V_rest}
    neuron = nn.CuBaLIF(tau, tau_syn, R=R, dt=dt, reset=how, leaky_reset=leaky, **potentials)
    spikes, state = run(neuron, neuron.init_state(UNITS), 0.3 * CURRENTS)
    leak = math.exp(-dt / tau)
    for unit in range(UNITS):
        V, current = V_rest, 0.0
        for t in range(STEPS):
            current = current * math.exp(-dt / tau_syn) + 0.3 * CURRENTS[t, unit]
            target = V_rest + R * current
            fell = V_th <= V
            if leaky:
                V = target + (reset(V, V_th, V_reset, how) - target) * leak
            else:
                V = target + (V - target) * leak
                V = V if not fell else V - (V_th - V_reset) if how == "soft" else V_reset
            assert state.V[t, unit] == pytest.approx(V, rel=1e-9, abs=1e-9)
            assert spikes[t, unit] == (V_th <= V)
    assert 0 < spikes.mean() < 1


@pytest.mark.parametrize("mechanism", ["subtract", "zero"])
def test_resets_of_snntorch(mechanism: str):
    """`Leaky` of snnTorch 1.0.0: `subtract` takes the threshold off after the leak, `zero` clears V before it.

    In 10,000 steps of the real one, spikes that are the same: 1,341 and 1,347, none differ.
    """
    beta, V = 0.9, np.zeros(UNITS)
    options: dict[str, Any] = {"subtract": {"leaky_reset": False}, "zero": {"reset": "hard"}}[mechanism]
    neuron = nn.LIF(tau=-1 / math.log(beta), R=1 / (1 - beta), **options)
    _, state = run(neuron, neuron.init_state(UNITS), 0.2 * CURRENTS)
    seen = 0
    for t in range(STEPS):
        spiked = V >= 1.0
        seen += spiked.sum()
        V = beta * V - spiked if mechanism == "subtract" else beta * np.where(spiked, 0.0, V)
        V = V + 0.2 * CURRENTS[t]
        np.testing.assert_allclose(state.V[t], V, rtol=1e-9, atol=1e-9)
    assert seen > 20


@pytest.mark.parametrize("neuron", [nn.GIF(leaky_reset=False), nn.ALIF(leaky_reset=False)])
def test_other_neurons_reset_late_too(neuron):
    """A spike and no input: V leaks from where it is, and falls by the whole threshold."""
    still = eqx.tree_at(lambda n: (n.A2,), neuron, (0.0,)) if isinstance(neuron, nn.GIF) else neuron
    start = still.init_state(1)._replace(V=jnp.asarray([1.5]))
    assert still(jnp.zeros(1), start)[1].V[0] == pytest.approx(1.5 * math.exp(-1 / 20) - 1.0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def by_hand(cell, x, state) -> Any:
    """One step in NumPy, of one lane: (output, state)."""
    w = jax.tree.map(np.asarray, eqx.filter(cell, eqx.is_array))

    def of(projection):
        return projection.weight @ x + projection.bias

    h: Any = None
    match cell:
        case nn.RNNCell():
            h = 0.7 * state + 0.3 * np.tanh(of(w.into) + w.recurrent @ state)
        case nn.IndRNNCell():
            h = np.maximum(of(w.into) + w.recurrent * state, 0)
        case nn.MGUCell():
            f = sigmoid(of(w.gate_into) + w.gate_recurrent @ state)
            h = (1 - f) * state + f * np.tanh(of(w.into) + w.recurrent @ (f * state))
        case nn.MinGRUCell():
            z = sigmoid(of(w.gate))
            h = (1 - z) * state + z * of(w.into)
        case nn.MinLSTMCell():
            f, i = sigmoid(of(w.forget)), sigmoid(of(w.admit))
            h = (f * state + i * of(w.into)) / (f + i)
        case nn.LRUCell():
            ring = w.eigenvalues
            eigenvalue = np.exp(-np.exp(ring.nu_log) + 1j * np.exp(ring.theta_log))
            h = eigenvalue * state + np.exp(w.gamma_log) * ((w.B[0] + 1j * w.B[1]) @ x)
            return ((w.C[0] + 1j * w.C[1]) @ h).real + of(w.D), h
        case nn.RTUCell():
            ring = w.eigenvalues
            eigenvalue = np.exp(-np.exp(ring.nu_log) + 1j * np.exp(ring.theta_log))
            drive = np.sqrt(1 - abs(eigenvalue) ** 2) * (w.into[0].weight @ x + 1j * (w.into[1].weight @ x))
            c = eigenvalue * (state.c1 + 1j * state.c2) + drive
            return np.maximum(np.concatenate([c.real, c.imag]), 0), nn.RTUState(c.real, c.imag)
    return h, h


CELLS = [nn.RNNCell, nn.IndRNNCell, nn.MGUCell, nn.MinGRUCell, nn.MinLSTMCell, nn.LRUCell, nn.RTUCell, nn.MLSTMCell]
MIXES = (nn.RNNCell, nn.MGUCell)


def make(cell, key, n_in=4, n=6):
    if cell is nn.RNNCell:
        return cell(n_in, n, leak=0.3, key=key)
    return cell(n_in, n, 5, key=key) if cell in (nn.LRUCell, nn.MLSTMCell) else cell(n_in, n, key=key)


@pytest.mark.parametrize("kind", [c for c in CELLS if c is not nn.MLSTMCell], ids=lambda c: c.__name__)
def test_cells_follow_their_equations(kind, key):
    cell = make(kind, key)
    xs = np.random.default_rng(3).normal(size=(30, 4))
    out, _ = run(cell, cell.init_state(), xs)
    state: Any = jax.tree.map(np.asarray, cell.init_state())
    for t, x in enumerate(xs):
        y, state = by_hand(cell, x, state)
        np.testing.assert_allclose(out[t], y, rtol=1e-9, atol=1e-12)


def test_the_matrix_memory_is_what_it_is_without_its_divisor(key):
    """Gates of size e^30 and their sums in NumPy, as they stand in the equations."""
    cell = make(nn.MLSTMCell, key)
    cell = eqx.tree_at(lambda c: c.admit.weight, cell, 10 * cell.admit.weight)
    xs = np.random.default_rng(3).normal(size=(30, 4))
    out, _ = run(cell, cell.init_state(), xs)
    w = jax.tree.map(np.asarray, eqx.filter(cell, eqx.is_array))

    def of(projection, x):
        return projection.weight @ x + projection.bias

    C, n = np.zeros((5, 6)), np.zeros(6)
    for t, x in enumerate(xs):
        q, v, k = of(w.query, x), of(w.value, x), of(w.key, x) / math.sqrt(6)
        f, i = sigmoid(of(w.forget, x)), np.exp(of(w.admit, x))
        C, n = f * C + i * np.outer(v, k), f * n + i * k
        np.testing.assert_allclose(out[t], sigmoid(of(w.out, x)) * (C @ q) / max(abs(n @ q), 1), rtol=1e-8)


@pytest.mark.parametrize("kind", CELLS, ids=lambda c: c.__name__)
def test_a_cell_is_alive_and_remembers(kind, key):
    """Outputs of the size of the inputs; what came ten steps ago still counts."""
    cell = make(kind, key, 8, 32)
    xs = jax.random.normal(key, (300, 8))
    out, _ = run(cell, cell.init_state(), xs)
    assert 0.05 < out[50:].std() < 5

    def later(first, rest):
        return outputs(cell, cell.init_state(), jnp.concatenate([first[None], rest]))[-1]

    lanes = xs[:275].reshape(25, 11, 8)
    slopes = jax.jit(jax.vmap(lambda x: jax.jacrev(later)(x[0], x[1:])))(lanes)
    assert 1e-3 < float(jnp.linalg.norm(slopes)) / 5 < 1e2


NEURONS = [
    nn.IF(),
    nn.LIF(),
    nn.LIF(leaky_reset=False),
    nn.GIF(),
    nn.ALIF(),
    nn.CuBaLIF(),
    nn.Refractory(nn.LIF(), 5.0),
]


@pytest.mark.parametrize("neuron", NEURONS, ids=lambda n: type(n).__name__)
def test_a_neuron_behind_linear_weights_is_alive(neuron, key):
    spikes = jax.random.bernoulli(key, 0.2, (1000, 100)).astype(float)
    linear = eqx.nn.Linear(100, 50, key=key)
    rate = run(lambda x, state: neuron(linear(x), state), neuron.init_state(50), spikes)[0].mean()
    assert 0.01 < rate < 0.2
    readout = nn.SpikingReadout(50, 50, neuron=neuron, key=key)
    sparse = jax.random.bernoulli(key, 0.05, (1000, 50)).astype(float)
    assert 0.005 < run(readout, readout.init_state(), sparse)[0][100:].mean() < 0.3


def test_a_spiking_readout_counts_in_a_window(key):
    neuron = nn.LIF(dt=0.5, tau=10.0)
    readout = nn.SpikingReadout(UNITS, 3, neuron=neuron, tau=9.0, key=key)
    rates, state = run(readout, readout.init_state(), CURRENTS)
    z = neuron.emitted(nn.NeuronState(jnp.asarray(state.neurons.V)))
    expected, kept = np.zeros(3), math.exp(-0.5 / 9.0)
    for t in range(STEPS):
        expected = kept * expected + (1 - kept) * np.asarray(z[t])
        np.testing.assert_allclose(rates[t], expected, rtol=1e-9, atol=1e-12)
    assert rates.max() > 0


@pytest.mark.parametrize("steps", [0, 1, 4])
def test_a_delay_is_what_came_before(steps):
    delay = nn.Delay(steps)
    past, _ = run(delay, delay.init_state(UNITS), CURRENTS)
    np.testing.assert_array_equal(past[steps:], CURRENTS[: STEPS - steps])
    assert not past[:steps].any()


@pytest.mark.parametrize("front", [(), (2,)])
def test_each_unit_has_its_own_delay(front):
    steps = np.array([3, 0, 1, 5, 2, 2, 4])
    delay = nn.Delay(steps)
    inputs = np.broadcast_to(CURRENTS.reshape(STEPS, *(1,) * len(front), UNITS), (STEPS, *front, UNITS))
    past, _ = run(delay, delay.init_state((*front, UNITS)), inputs)
    for unit, lag in enumerate(steps):
        np.testing.assert_array_equal(past[lag:, ..., unit], inputs[: STEPS - lag, ..., unit])


def test_a_learned_delay_finds_its_place():
    narrow = nn.LearnedDelay(jnp.asarray([0.0, 2.0, 5.0]), 6, sigma=0.05)
    past, _ = run(narrow, narrow.init_state(3), CURRENTS[:, :3])
    for unit, lag in enumerate((0, 2, 5)):
        np.testing.assert_allclose(past[lag:, unit], CURRENTS[: STEPS - lag, unit], rtol=1e-12)
    xs, target = jnp.asarray(CURRENTS[:, :1]), jnp.asarray(np.roll(CURRENTS[:, :1], 3, 0))

    def loss(delay, sigma):
        learned = nn.LearnedDelay(delay, 6, sigma)
        out = outputs(learned, learned.init_state(1), xs)
        return jnp.mean((out - target)[6:] ** 2)

    slope = jax.jit(jax.grad(loss))
    delay = jnp.asarray([0.5])
    for sigma in jnp.linspace(2.0, 0.3, 200):
        delay = delay - 0.1 * slope(delay, sigma)
    assert abs(float(delay[0]) - 3.0) < 0.3


class Stack(eqx.Module):
    """Weights, if it has none of its own, then what is tried, then a readout."""

    linear: eqx.nn.Linear | None
    middle: Any
    readout: eqx.nn.Linear

    def __call__(self, state, x):
        out, state = self.middle(x if self.linear is None else self.linear(x), state)
        return jnp.sum(self.readout(out) ** 2), state


MIDDLE = {
    "Alpha": lambda: nn.Alpha(tau=jnp.full(5, 6.0)),
    "DoubleExponential": lambda: nn.DoubleExponential(tau_decay=jnp.full(5, 6.0), tau_rise=jnp.full(5, 2.0)),
    "CuBaLIF": lambda: nn.CuBaLIF(tau_syn=jnp.full(5, 5.0), surrogate=nn.SuperSpike()),
    "LIF, late reset": lambda: nn.LIF(leaky_reset=False, reset_gradient=True, surrogate=nn.MultiGaussian()),
    "ShortTermPlasticity": lambda: nn.ShortTermPlasticity(U=jnp.full(5, 0.3)),
    "Delay": lambda: nn.Delay([0, 1, 3, 2, 3]),
    "LearnedDelay": lambda: nn.LearnedDelay(jnp.asarray([0.5, 1.0, 2.5, 2.0, 0.0]), 3),
    **{kind.__name__: lambda kind=kind: make(kind, jax.random.key(5), 3) for kind in CELLS if kind not in MIXES},
}


@pytest.mark.sweep(3)
@pytest.mark.parametrize("name", MIDDLE)
def test_the_zoo_is_exact_by_position(name, key):
    """Every parameter, behind trained weights: called exact, and equal to BPTT."""
    first, last = jax.random.split(key)
    middle = MIDDLE[name]()
    is_cell = isinstance(middle, tuple(CELLS))
    state = middle.init_state() if is_cell else middle.init_state(5)
    out = jax.eval_shape(middle, jnp.zeros(3 if is_cell else 5), state)[0]
    model = Stack(None if is_cell else eqx.nn.Linear(3, 5, key=first), middle, eqx.nn.Linear(len(out), 2, key=last))
    xs = jax.random.normal(key, (12, 3)) + 0.5

    def step(m, s, x):
        return m(s, x)

    online = etr.etrace_grad(step, etr.DRTRL())
    report = online.graph(model, state, xs[0]).report(etr.DRTRL())
    assert all(row.exact for row in report.rows), report
    assert all(row.exact_at_window_0 for row in report.rows) == (
        name not in ("ShortTermPlasticity", "Delay", "LearnedDelay")
    )
    expected = bptt(step, model, state, xs)
    for window in (0, 5) if all(row.exact_at_window_0 for row in report.rows) else (1, 5):
        found = online.scan(model, state, online.init(model, state, xs[0]), xs, window=window)[0]
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)

"""e-prop in NEST 3.10.0, by a plain model: weight changes, and learning in closed loop."""

import pathlib

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eqx_etrace as etr
from eqx_etrace import nn

DATA = np.load(pathlib.Path(__file__).parent / "nest" / "eprop_weight_changes.npz")
CASES = sorted({name.partition("__")[0] for name in DATA.files})
stop = jax.lax.stop_gradient


def spike(u, is_free, height, width):
    """1 where u >= 0; the slope is a triangle, and zero where the unit may not spike."""
    slope = stop(height * jnp.maximum(0.0, 1 - jnp.abs(u) / width) * is_free)
    return stop((u >= 0).astype(u.dtype) * is_free) + slope * (u - stop(u))


def network(par):
    """A step as NEST takes it: all delays are one step, the reset follows the leak, nothing arrives at first."""
    tau, tau_out, v_th, height, width, t_ref, _, _, tau_a, beta, adapts = par[:11]
    alpha, kappa, rho = np.exp(-1 / tau), np.exp(-1 / tau_out), np.exp(-1 / tau_a) if adapts else 0.0

    def step(model, state, x, is_first):
        v, a, z, wait, y = state
        wait = jnp.maximum(wait - 1, 0)
        current = model["in"] @ x + model["rec"] @ stop(z)
        v = alpha * v + (1 - alpha) * current * (1 - is_first) - v_th * stop(z)
        a = rho * a + z
        z = spike(v - v_th - adapts * beta * a, (wait == 0).astype(v.dtype), height, width)
        y = kappa * y + (1 - kappa) * model["out"](z)
        return (y, z), (v, a, z, jnp.where(stop(z) > 0, int(t_ref), wait), y)

    return step


@pytest.mark.parametrize("case", CASES)
def test_weight_changes(case):
    names = ["x", "target", "W_in", "W_rec", "W_out", "B", "g_in", "g_rec", "g_out"]
    x, target, w_in, w_rec, w_out, b, *wanted = (jnp.asarray(DATA[f"{case}__{name}"]) for name in names)
    c_reg, f_target = DATA[f"{case}__par"][6:8]
    model = {"in": w_in, "rec": w_rec, "out": nn.FeedbackLinear(w_out, b)}
    n, steps = w_in.shape[0], len(x)
    state = *(jnp.zeros(n) for _ in range(3)), jnp.zeros(n, int), jnp.zeros(len(w_out))
    is_first = (jnp.arange(steps) == 0).astype(x.dtype)
    online = etr.etrace_vjp(network(DATA[f"{case}__par"]), etr.EProp(), window=0)
    trace = online.init(model, state, x[0], is_first[0])
    assert all(row.exact for row in online.graph(model, state, x[0], is_first[0]).report(etr.EProp()).rows)

    def one(carry, now):
        x, is_first, target = now
        (y, z), *carry, pull = online(model, *carry, x, is_first)
        by_error, by_rate = pull((y - target, None))[0], pull((None, jnp.ones(n)))[0]
        return tuple(carry), (by_error, by_rate, z)

    _, (by_error, by_rate, spikes) = eqx.filter_jit(jax.lax.scan)(one, (state, trace), (x, is_first, target))
    off = c_reg * (spikes.mean(0) - f_target / 1000)[:, None] / steps
    found_in, found_rec = (by_error[w].sum(0) + off * by_rate[w].sum(0) for w in ("in", "rec"))
    assert spikes.sum() > 0
    every = (found_in, found_rec * (1 - jnp.eye(n)), by_error["out"].weight.sum(0))
    for found, value in zip(every, wanted, strict=True):
        if not w_rec.any() and value is wanted[1]:
            continue  # of units that are not connected NEST has no recurrent weights
        np.testing.assert_allclose(found, value, rtol=0, atol=1e-12 * np.abs(value).max(initial=0))


# In closed loop

LOOPS = np.load(pathlib.Path(__file__).parent / "nest" / "closed_loop.npz")


def loop(case):
    """Of one case: its arrays by name."""
    return {name.partition("__")[2]: LOOPS[name] for name in LOOPS.files if name.startswith(f"{case}__")}


def weights_of(found):
    feedback = nn.FeedbackLinear(jnp.asarray(found["W_out"]), jnp.asarray(found["B"]))
    return {"in": jnp.asarray(found["W_in"]), "rec": jnp.asarray(found["W_rec"]), "out": feedback}


def with_out(model, weight):
    return eqx.tree_at(lambda layer: layer.weight, model["out"], weight)


def assert_learned(model, found):
    """The weights in the end; their changes are not small."""
    for name, weight in (("in", model["in"]), ("rec", model["rec"]), ("out", model["out"].weight)):
        moved = abs(found[f"V_{name}"] - found[f"W_{name}"]).max()
        assert moved > 1e-4 or not found[f"W_{name}"].any()
        np.testing.assert_allclose(weight, found[f"V_{name}"], rtol=0, atol=1e-12 * max(moved, 1.0))


@pytest.mark.sweep(2)
@pytest.mark.parametrize("case", ["sequences_refractory", "sequences_adapting", "sequences"])
def test_learning_sequence_by_sequence(case):
    """One update after each of four sequences: all spikes, and the weights in the end."""
    found = loop(case)
    eta, sequences = found["par"][11:]
    c_reg, f_target = found["par"][6:8]
    step = network(found["par"])
    x, target = jnp.asarray(found["x"]), jnp.asarray(found["target"])
    steps, n = len(x), len(found["W_rec"])
    is_first = (jnp.arange(steps) == 0).astype(x.dtype)
    state = *(jnp.zeros(n) for _ in range(3)), jnp.zeros(n, int), jnp.zeros(target.shape[1])
    online = etr.etrace_vjp(step, etr.EProp(), window=0)

    @eqx.filter_jit
    def one_sequence(model):
        def one(carry, now):
            x, is_first, target = now
            (y, z), *carry, pull = online(model, *carry, x, is_first)
            by_error, by_rate = pull((y - target, None))[0], pull((None, jnp.ones(n)))[0]
            return tuple(carry), (by_error, by_rate, z)

        trace = online.init(model, state, x[0], is_first[0])
        return jax.lax.scan(one, (state, trace), (x, is_first, target))[1]

    model, spikes = weights_of(found), []
    for _ in range(int(sequences)):
        by_error, by_rate, z = one_sequence(model)
        off = c_reg * (z.mean(0) - f_target / 1000)[:, None] / steps
        change = {w: by_error[w].sum(0) + off * by_rate[w].sum(0) for w in ("in", "rec")}
        out = model["out"].weight - eta * by_error["out"].weight.sum(0)
        rec = model["rec"] - eta * change["rec"] * (1 - jnp.eye(n))
        model = {"in": model["in"] - eta * change["in"], "rec": rec, "out": with_out(model, out)}
        spikes.append(z)
    np.testing.assert_array_equal(jnp.concatenate(spikes), found["spikes"][: steps * int(sequences)])
    assert_learned(model, found)


def spiking_network(par):
    """As NEST's models without sequences take a step: spikes arrive whole, and the reset leaks."""
    tau, tau_out, v_th, height, width, _, _, _, tau_a, beta, adapts, _, kappa_rate = par
    alpha, kappa, rho = np.exp(-1 / tau), np.exp(-1 / tau_out), np.exp(-1 / tau_a) if adapts else 0.0

    def step(model, state, x):
        v, a, z, y, rate = state
        y = kappa * y + model["out"](z)
        rate = kappa_rate * rate + (1 - kappa_rate) * z
        v = alpha * (v - v_th * stop(z)) + model["in"] @ x + model["rec"] @ stop(z)
        a = rho * a + z
        z = spike(v - v_th - adapts * beta * a, jnp.ones_like(v), height, width)
        return (y, rate), (v, a, z, y, rate)

    return step


@pytest.mark.sweep(2)
@pytest.mark.parametrize("case", ["spikes", "spikes_without_loop", "spikes_adapting"])
def test_learning_spike_by_spike(case):
    """What a synapse owes is paid whenever a spike comes to it, before the spike goes on.

    A readout's synapse pays what it owed a step before: its neuron knows an error a step later.
    """
    found = loop(case)
    eta, c_reg, f_target = found["par"][11], found["par"][6], found["par"][7] / 1000
    x, target = jnp.asarray(found["x"]), jnp.asarray(found["target"])
    n, n_out = len(found["W_rec"]), target.shape[1]
    has_error = (jnp.arange(len(x)) >= 3).astype(x.dtype)
    online = etr.etrace_vjp(spiking_network(found["par"]), etr.EProp(), window=0)
    state = *(jnp.zeros(n) for _ in range(3)), jnp.zeros(n_out), jnp.zeros(n)
    first = weights_of(found)
    others = (1 - jnp.eye(n)) * float(found["W_rec"].any())

    def one(carry, now):
        model, (state, trace), owed, latest = carry
        x, target, has_error = now
        z = state[2]
        out = model["out"].weight - eta * z * (owed["out"] - latest)
        owed_out = jnp.where(z > 0, latest, owed["out"])
        model = {
            "in": model["in"] - eta * x * owed["in"],
            "rec": model["rec"] - eta * z * owed["rec"] * others,
            "out": with_out(model, out),
        }
        owed = {"in": owed["in"] * (1 - x), "rec": owed["rec"] * (1 - z)}
        (y, rate), state, trace, pull = online(model, state, trace, x)
        grads, _ = pull((has_error * (y - target), c_reg * (rate - f_target)))
        owed = {w: owed[w] + grads[w] for w in ("in", "rec")} | {"out": owed_out + grads["out"].weight}
        return (model, (state, trace), owed, grads["out"].weight), state[2]

    begin = (state, online.init(first, state, x[0]))
    owed = {"in": 0 * first["in"], "rec": 0 * first["rec"], "out": 0 * first["out"].weight}
    (model, *_), spikes = eqx.filter_jit(jax.lax.scan)(one, (first, begin, owed, owed["out"]), (x, target, has_error))
    assert spikes.sum() > 20
    np.testing.assert_array_equal(spikes[: len(found["spikes"])], found["spikes"])
    assert_learned(model, found)

"""e-prop's weight changes in NEST 3.10.0, by a plain model."""

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


def network(case):
    """A step as NEST takes it: all delays are one step, the reset follows the leak, nothing arrives at first."""
    tau, tau_out, v_th, height, width, t_ref, _, _, tau_a, beta, adapts = DATA[f"{case}__par"]
    alpha, kappa, rho = np.exp(-1 / tau), np.exp(-1 / tau_out), np.exp(-1 / tau_a) if adapts else 0.0

    def step(model, state, x, is_first):
        v, a, z, wait, y = state
        wait = jnp.maximum(wait - 1, 0)
        current = model["in"] @ x + model["rec"] @ stop(z)
        v = alpha * v + (1 - alpha) * current * (1 - is_first) - v_th * stop(z)
        a = rho * a + z
        z = spike(v - v_th - beta * a, (wait == 0).astype(v.dtype), height, width)
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
    online = etr.etrace_vjp(network(case), etr.EProp(), window=0)
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

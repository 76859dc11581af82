"""Derivatives of an online gradient by what is exactly zero: a cotangent, an input, a leak, a weight.

"Zero times anything is nothing" keeps the infinities of a trace out of the numbers. It must not keep a factor of zero
out of their derivatives: the product depends on it all the same.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eqx_etrace as etr

T, N = 5, 3
KEY = jax.random.key(3)
RULES = {
    "DRTRL": etr.DRTRL(),
    "EProp": etr.EProp(),
    "RFLO": etr.RFLO(0.8),
    "OTTT": etr.OTTT(0.8),
    "OTPE": etr.OTPE(0.8),
    "PPProp": etr.PPProp(0.9),
    "SnAp": etr.SnAp(1),
    "RTRL": etr.RTRL(),
    "OSTL": etr.OSTL(),
    "UORO": etr.UORO(KEY),
    "KFRTRL": etr.KFRTRL(KEY),
    "NoTrace": etr.NoTrace(),
}
keys = jax.random.split(KEY, 5)
POINT = {
    "weight": jax.random.normal(keys[0], (N, 2)),
    "recurrent": 0.4 * jax.random.normal(keys[1], (N, N)),
    "leak": jnp.asarray([0.8, 0.5, 0.9]),
    "gain": jnp.asarray([1.0, 0.7, 1.2]),
    "inputs": jax.random.normal(keys[2], (T, 2)),
    "factors": jax.random.normal(keys[3], (T,)),
}
DIRECTION = jax.random.normal(keys[4], (100,))
MODEL = ("weight", "recurrent", "leak", "gain")
NOT_SMOOTH = {
    # For them a unit whose own derivative is zero was reset: what is left of the past jumps there.
    **dict.fromkeys(("RFLO", "OTPE"), ("leak",)),
    # And one that nothing enters was held.
    **dict.fromkeys(("OTTT", "PPProp"), ("leak", "gain")),
    # They divide by the norm of what enters, which is zero there.
    **dict.fromkeys(("UORO", "KFRTRL"), ("weight", "inputs", "gain")),
}


def loss_step(model, h, x, factor):
    h = model["leak"] * h + model["gain"] * jnp.tanh(model["weight"] @ x + model["recurrent"] @ h)
    return factor * jnp.sum(jnp.sin(h)), h


def through(rule, window, point):
    """A number made of the gradients of all steps: by calls (None), or by `scan` at a window."""
    model, h = {name: point[name] for name in MODEL}, jnp.zeros(N)
    online = etr.etrace_grad(loss_step, rule, window=1 if window is None else window)
    trace, found = online.init(model, h, point["inputs"][0], point["factors"][0]), []
    if window is not None:
        found.append(online.scan(model, h, trace, point["inputs"], point["factors"])[0])
    for x, factor in [] if window is not None else zip(point["inputs"], point["factors"], strict=True):
        grads, h, trace = online(model, h, trace, x, factor)
        found.append(grads)
    flat = jnp.concatenate([g.ravel() for g in jax.tree.leaves(found)])
    return flat @ jnp.resize(DIRECTION, flat.shape)


@pytest.mark.sweep(6)
@pytest.mark.parametrize("window", [None, 0, 3], ids=["calls", "window 0", "window 3"])
@pytest.mark.parametrize("name", RULES)
def test_a_factor_of_zero_has_its_derivative(name, window):
    """By each part of the point where that part is zero, beside finite differences."""

    @jax.jit
    def number(point):
        return through(RULES[name], window, point)

    slope = jax.jit(jax.grad(lambda point: through(RULES[name], window, point)))
    for part in (part for part in POINT if part not in NOT_SMOOTH.get(name, ())):
        point = {**POINT, part: jnp.zeros_like(POINT[part])}
        found = slope(point)[part]
        assert bool(jnp.isfinite(found).all()), part
        flat, step = np.zeros(found.size), 1e-5
        for i in range(found.size):
            ahead = np.zeros(found.size)
            ahead[i] = step
            moved = [{**point, part: jnp.asarray(sign * ahead.reshape(found.shape))} for sign in (1, -1)]
            flat[i] = (number(moved[0]) - number(moved[1])) / (2 * step)
        np.testing.assert_allclose(found.ravel(), flat, rtol=1e-6, atol=1e-8, err_msg=part)


@pytest.mark.parametrize("rule", [etr.DRTRL(), etr.RTRL()], ids=["DRTRL", "RTRL"])
@pytest.mark.parametrize("units", [2, 9])
def test_the_hessian_is_that_of_bptt_where_nothing_enters(rule, units):
    """Gains, and recurrent weights, of zero; RTRL's blocks of nine states are large ones. DRTRL without recurrence."""
    xs = jax.random.normal(KEY, (4, 2))
    start = {"weight": jax.random.normal(KEY, (units, 2)), "gain": (jnp.arange(units) % 2).astype(float)}
    if isinstance(rule, etr.RTRL):
        start["recurrent"] = jnp.zeros((units, units))

    def step(m, h, x):
        drive = m["weight"] @ x + (m["recurrent"] @ h if "recurrent" in m else 0.0)
        h = 0.9 * h + m["gain"] * jnp.tanh(drive)
        return jnp.sum(jnp.sin(h * jnp.arange(1.0, units + 1.0))), h

    def total(m):
        h, loss = jnp.zeros(units), jnp.zeros(())
        for x in xs:
            one, h = step(m, h, x)
            loss = loss + one
        return loss

    def by_calls(m):
        online, h, summed = etr.etrace_grad(step, rule), jnp.zeros(units), jax.tree.map(jnp.zeros_like, m)
        trace = online.init(m, h, xs[0])
        for x in xs:
            grads, h, trace = online(m, h, trace, x)
            summed = jax.tree.map(jnp.add, summed, grads)
        return summed

    found, expected = (jax.jit(jax.jacobian(f))(start) for f in (by_calls, jax.grad(total)))
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)

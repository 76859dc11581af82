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
    "inputs": jax.random.normal(keys[2], (T, 2)),
    "factors": jax.random.normal(keys[3], (T,)),
}
DIRECTION = jax.random.normal(keys[4], (100,))
MODEL = ("weight", "recurrent", "leak")
NOT_SMOOTH = {
    # For them a unit whose own derivative is zero was reset: what is left of the past jumps there.
    **dict.fromkeys(("RFLO", "OTTT", "OTPE", "PPProp"), ("leak",)),
    # They divide by the norm of what enters, which is zero there.
    **dict.fromkeys(("UORO", "KFRTRL"), ("weight", "inputs")),
}


def loss_step(model, h, x, factor):
    h = model["leak"] * h + jnp.tanh(model["weight"] @ x + model["recurrent"] @ h)
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


@pytest.mark.sweep(3)
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

"""A small smooth network, and what a rule makes of it without any transform."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from every_rule import every_rule

import eqx_etrace as etr

KEYS = jax.random.split(jax.random.key(3), 6)
UNITS, INPUTS, STEPS = 3, 2, 3
MODEL = {
    "into": np.asarray(jax.random.normal(KEYS[0], (INPUTS, UNITS), jnp.float64)),
    "back": 0.4 * np.asarray(jax.random.normal(KEYS[1], (UNITS, UNITS), jnp.float64)),
    "leak": np.asarray([0.8, 0.5, 0.9]),
}
MODEL = jax.tree.map(jnp.asarray, MODEL)
H = jnp.asarray([0.1, -0.2, 0.3])
XS = jax.random.normal(KEYS[2], (STEPS, INPUTS), jnp.float64)
RULES = every_rule(KEYS[3])
WITH_KEY = {"UORO": etr.UORO, "KFRTRL": etr.KFRTRL, "OK": lambda key: etr.OK(2, key)}
WITH_DECAY = {
    "PPProp": etr.PPProp,
    "EProp": lambda kappa: etr.EProp(kappa=kappa),
    "RFLO": etr.RFLO,
    "OTTT": etr.OTTT,
    "OTPE": etr.OTPE,
}


def out_step(model: Any, h: Any, x: Any) -> tuple[Any, Any]:
    h = model["leak"] * h + jnp.tanh(x @ model["into"] + h @ model["back"])
    return jnp.sin(h), h


def step(model: Any, h: Any, x: Any) -> tuple[Any, Any]:
    out, h = out_step(model, h, x)
    return jnp.sum(out), h


def run(rule: Any, model: Any = MODEL, h: Any = H, xs: Any = XS) -> Any:
    """The sum of the gradients of single steps, the last state, the last traces: by a scan."""
    online = etr.etrace_grad(step, rule)

    def body(carry: Any, x: Any) -> tuple[Any, Any]:
        grads, *carry = online(model, *carry, x)
        return tuple(carry), grads

    (h, trace), grads = jax.lax.scan(body, (h, online.init(model, h, xs[0])), xs)
    return jax.tree.map(lambda g: g.sum(0), grads), h, trace.values


@functools.cache
def plain(name: str) -> Any:
    """The same in a loop of Python that is not compiled."""
    online, h = etr.etrace_grad(step, RULES[name]), H
    trace, total = online.init(MODEL, h, XS[0]), jax.tree.map(jnp.zeros_like, MODEL)
    for x in XS:
        grads, h, trace = online(MODEL, h, trace, x)
        total = jax.tree.map(jnp.add, total, grads)
    return total, h, trace.values


def same(found: Any, wanted: Any, tolerance: float = 1e-12) -> None:
    """To rounding; of integers and keys exactly."""
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        assert a.dtype == b.dtype, (a.dtype, b.dtype)
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)

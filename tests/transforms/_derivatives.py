"""Derivatives through online updates, beside central differences in double precision."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import eqx_etrace as etr

from ._setting import H, MODEL, RULES, step, XS

POINT = jnp.asarray([0.1, 1.1])
"""The rate of the updates, and a gain of the weights that they begin with."""
SIZE = 1e-5


def trained(rule: Any, point: Any, wrap: Callable[..., Any] = lambda f: f) -> Any:
    """The loss of a stream during which a model is updated at every step."""
    online, model = etr.etrace_value_and_grad(step, rule), {**MODEL, "into": point[1] * MODEL["into"]}

    def body(carry: Any, x: Any) -> tuple[Any, Any]:
        model, h, trace = carry
        (loss, grads), h, trace = wrap(lambda *args: online(*args))(model, h, trace, x)
        return (jax.tree.map(lambda w, g: w - point[0] * g, model, grads), h, trace), loss

    return jnp.sum(jnp.sin(jax.lax.scan(body, (model, H, online.init(model, H, XS[0])), XS)[1]))


def differences(function: Any, point: Any) -> Any:
    ahead = [(function(point + move), function(point - move)) for move in SIZE * np.eye(len(point))]
    return np.stack([(np.asarray(a) - np.asarray(b)) / (2 * SIZE) for a, b in ahead])


def by_grad(name: str) -> None:
    value = functools.partial(trained, RULES[name])
    found = jax.jit(jax.grad(value))(POINT)
    np.testing.assert_allclose(found, differences(jax.jit(value), POINT), rtol=1e-6, atol=1e-8)


def by_jvp(name: str) -> None:
    value, along = functools.partial(trained, RULES[name]), jnp.asarray([0.6, -0.8])
    _, found = jax.jit(lambda p: jax.jvp(value, (p,), (along,)))(POINT)
    np.testing.assert_allclose(found, differences(jax.jit(value), POINT) @ along, rtol=1e-6, atol=1e-8)


def by_hessian(name: str) -> None:
    value = functools.partial(trained, RULES[name])
    found = jax.jit(jax.hessian(value))(POINT)
    np.testing.assert_allclose(found, differences(jax.jit(jax.grad(value)), POINT), rtol=1e-5, atol=1e-7)


def by_checkpoint(name: str) -> None:
    """Its value and its derivative are those without."""
    plain, wrapped = (
        jax.jit(jax.value_and_grad(lambda p, wrap=wrap: trained(RULES[name], p, wrap)))(POINT)
        for wrap in (lambda f: f, jax.checkpoint)
    )
    np.testing.assert_allclose(wrapped[0], plain[0], rtol=1e-12)
    np.testing.assert_allclose(wrapped[1], plain[1], rtol=1e-12)


DERIVATIVES = {
    "`grad`": by_grad,
    "`jvp`": by_jvp,
    "`hessian`": by_hessian,
    "`checkpoint`, under `grad`": by_checkpoint,
}

"""Train a step online and by BPTT on the same sequences: what the page of the three networks shows.

The task: each class is a fixed input, shown with noise for some steps, and the output is to be 1 for its class.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax
from jaxtyping import Array

import eqx_etrace as etr


class Losses(NamedTuple):
    """The loss of every sequence."""

    online: Array
    bptt: Array


def batched(step: Callable[..., Any]) -> Callable[..., Any]:
    """The squared error of a step over a batch."""

    def loss_step(model: Any, state: Any, x: Array, y: Array) -> tuple[Array, Any]:
        out, state = jax.vmap(step, (None, 0, 0))(model, state, x)
        return jnp.mean((out - y) ** 2), state

    return loss_step


def sequences(
    shape: tuple[int, ...], classes: int, scale: float, batch: int, steps: int
) -> Callable[[Array], tuple[Array, Array]]:
    """A batch of sequences from a key: inputs (steps, batch, *shape), targets (steps, batch, classes)."""
    patterns = scale * jr.bernoulli(jr.key(1), 0.5, (classes, *shape))

    def draw(key: Array) -> tuple[Array, Array]:
        which, noise = jr.split(key)
        labels = jr.randint(which, (batch,), 0, classes)
        x = patterns[labels] + 0.2 * scale * jr.normal(noise, (steps, batch, *shape))
        return x, jnp.broadcast_to(jax.nn.one_hot(labels, classes), (steps, batch, classes))

    return draw


def train(
    network: tuple[Callable[..., Any], Any, Any, tuple[Array, ...]],
    rule: etr.AbstractRule,
    *,
    scale: float,
    classes: int,
    updates: int = 300,
    batch: int = 16,
    steps: int = 20,
    rate: float = 3e-3,
) -> Losses:
    """One update of Adam per batch of sequences, by the gradient of `rule` at window 1 and by that of BPTT."""
    step, model, state, (x,) = network
    loss_step, draw = batched(step), sequences(x.shape, classes, scale, batch, steps)
    start = jax.tree.map(lambda s: jnp.broadcast_to(s, (batch, *s.shape)), state)
    online = etr.etrace_value_and_grad(loss_step, rule)
    optimiser = optax.adam(rate)

    def by_trace(model: Any, xs: Array, ys: Array) -> tuple[Array, Any]:
        (losses, gradients), _, _ = online.scan(model, start, online.init(model, start, xs[0], ys[0]), xs, ys)
        return losses.mean(), gradients

    def by_bptt(model: Any, xs: Array, ys: Array) -> tuple[Array, Any]:
        def total(model: Any) -> tuple[Array, Array]:
            def body(state: Any, now: tuple[Array, Array]) -> tuple[Any, Array]:
                loss, state = loss_step(model, state, *now)
                return state, loss

            losses = jax.lax.scan(body, start, (xs, ys))[1]
            return losses.sum(), losses.mean()

        (_, loss), gradients = eqx.filter_value_and_grad(total, has_aux=True)(model)
        return loss, gradients

    def run(gradient: Callable[..., tuple[Array, Any]]) -> Array:
        params, static = eqx.partition(model, eqx.is_inexact_array)

        def body(carry: Any, key: Array) -> tuple[Any, Array]:
            params, memory = carry
            loss, found = gradient(eqx.combine(params, static), *draw(key))
            change, memory = optimiser.update(found, memory, params)
            return (optax.apply_updates(params, change), memory), loss

        return jax.jit(lambda c, keys: jax.lax.scan(body, c, keys)[1])(
            (params, optimiser.init(params)), jr.split(jr.key(2), updates)
        )

    return Losses(run(by_trace), run(by_bptt))

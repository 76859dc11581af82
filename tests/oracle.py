"""References that share no code with the library."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
from jax.flatten_util import ravel_pytree


def rollout(loss_step: Callable[..., Any], model: Any, state: Any, *inputs: Any) -> tuple[Any, Any]:
    """The losses, and the state after each step."""

    def body(state, now):
        loss, state = loss_step(model, state, *now)
        return state, (loss, state)

    return jax.lax.scan(body, state, inputs)[1]


@eqx.filter_jit
def trajectory(loss_step: Callable[..., Any], model: Any, state: Any, *inputs: Any) -> tuple[Any, Any]:
    return rollout(loss_step, model, state, *inputs)


@eqx.filter_jit
def bptt(loss_step: Callable[..., Any], model: Any, state: Any, *inputs: Any) -> Any:
    """The gradient of the summed losses, by reverse mode through the whole sequence."""
    return eqx.filter_grad(lambda model: rollout(loss_step, model, state, *inputs)[0].sum())(model)


def finite_difference(
    loss_step: Callable[..., Any], model: Any, direction: Any, state: Any, *inputs: Any, size: float = 1e-5
) -> jax.Array:
    """The derivative of the summed losses along a direction."""

    def total(scale):
        moved = jax.tree.map(
            lambda p, d: p if d is None else p + scale * d, model, direction, is_leaf=lambda x: x is None
        )
        return trajectory(loss_step, moved, state, *inputs)[0].sum()

    return (total(size) - total(-size)) / (2 * size)


Advance = Callable[[Any, Any, tuple[Any, ...]], tuple[jax.Array, jax.Array]]
"""(model, state, inputs of one step) -> (dh/dh that is kept, dh/dtheta), dense and flat."""


def influence(loss_step: Callable[..., Any]) -> Advance:
    """The full Jacobians of the step: exact RTRL."""

    def advance(model, state, now):
        theta, rebuild = flat(model)
        s, unravel = ravel_pytree(state)

        def new(s, theta):
            return ravel_pytree(loss_step(rebuild(theta), unravel(s), *now)[1])[0]

        return jax.jacrev(new, (0, 1))(s, theta)

    return advance


def gru(p: Any, h: Any, recurrent: Any, x: Any) -> Any:
    """Cho et al. 2014, as `eqx.nn.GRUCell` has it; `recurrent` is W_hh h."""
    ir, iz, inew = jnp.split(p.weight_ih @ x + p.bias, 3)
    hr, hz, hnew = jnp.split(recurrent, 3)
    reset, update = jax.nn.sigmoid(ir + hr), jax.nn.sigmoid(iz + hz)
    new = jnp.tanh(inew + reset * (hnew + p.bias_n))
    return new + update * (h - new)


def lstm(p: Any, s: Any, recurrent: Any, x: Any) -> Any:
    """Hochreiter and Schmidhuber 1997, as `eqx.nn.LSTMCell` has it."""
    _, c = s
    i, f, g, o = jnp.split(p.weight_ih @ x + recurrent + p.bias, 4)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


def dense_drtrl(equations: Callable[..., Any]) -> Advance:
    """D-RTRL of a cell with dense Jacobians: `W_hh h` is held fixed in dh/dh, and nowhere else."""

    def advance(model, state, now):
        theta, rebuild = flat(model)
        s, unravel = ravel_pytree(state)
        x = now[0]

        def new(s, hidden, theta):
            p = rebuild(theta).cell
            return ravel_pytree(equations(p, unravel(s), p.weight_hh @ hidden, x))[0]

        hidden = jtu.tree_leaves(state)[0]
        return jax.jacrev(new, 0)(s, hidden, theta), jax.jacrev(new, 2)(s, hidden, theta)

    return advance


def flat(model: Any) -> tuple[jax.Array, Callable[[jax.Array], Any]]:
    params, static = eqx.partition(model, eqx.is_inexact_array)
    theta, unravel = ravel_pytree(params)
    return theta, lambda theta: eqx.combine(unravel(theta), static)


@eqx.filter_jit
def _window(loss_step, advance, model, state, J, inputs):
    """g_theta + g_s . J over one window, the state and J at its end."""
    theta, rebuild = flat(model)
    s, unravel = ravel_pytree(state)

    def loss(theta, s):
        return rollout(loss_step, rebuild(theta), unravel(s), *inputs)[0].sum()

    g_theta, g_s = jax.grad(loss, (0, 1))(theta, s)

    def body(carry, now):
        s, J = carry
        decay, entry = advance(model, unravel(s), now)
        return (ravel_pytree(loss_step(model, unravel(s), *now)[1])[0], decay @ J + entry), None

    (s, last), _ = jax.lax.scan(body, (s, J), inputs)
    return g_theta + g_s @ J, unravel(s), last


def estimate(
    loss_step: Callable[..., Any], advance: Advance, window: int, model: Any, state: Any, *inputs: Any
) -> tuple[Any, jax.Array]:
    """sum over windows of g_theta + g_s . J, with dense Jacobians; and the last J."""
    J = jnp.zeros((ravel_pytree(state)[0].size, flat(model)[0].size))
    total = jnp.zeros(J.shape[1])
    for start in range(0, inputs[0].shape[0], window):
        gradient, state, J = _window(
            loss_step, advance, model, state, J, tuple(x[start : start + window] for x in inputs)
        )
        total += gradient
    return as_gradient(model, total), J


@eqx.filter_jit
def estimate_from_new_state(
    readout_loss: Callable[..., Any],
    loss_step: Callable[..., Any],
    advance: Advance,
    model: Any,
    state: Any,
    *inputs: Any,
) -> Any:
    """The literature's estimator: sum_t dl/dh_t . J_t, and the readout's own gradient.

    `readout_loss(model, new_state, *inputs)` is the loss as a function of the new state alone.
    """
    theta, rebuild = flat(model)
    s, unravel = ravel_pytree(state)

    def body(carry, now):
        s, J, total = carry
        decay, entry = advance(model, unravel(s), now)
        J = decay @ J + entry
        s = ravel_pytree(loss_step(model, unravel(s), *now)[1])[0]
        g_theta, g_s = jax.grad(lambda theta, s: readout_loss(rebuild(theta), unravel(s), *now), (0, 1))(theta, s)
        return (s, J, total + g_theta + g_s @ J), None

    start = s, jnp.zeros((s.size, theta.size)), jnp.zeros_like(theta)
    return as_gradient(model, jax.lax.scan(body, start, inputs)[0][2])


def as_gradient(model: Any, theta: jax.Array) -> Any:
    """The flat gradient, in the structure of `eqx.filter_grad`."""
    return ravel_pytree(eqx.filter(model, eqx.is_inexact_array))[1](theta)


def relative(found: Any, wanted: Any) -> float:
    """max |found - wanted| / max |wanted|, for one leaf."""
    found, wanted = np.asarray(found), np.asarray(wanted)
    assert found.shape == wanted.shape
    scale, worst = float(np.max(np.abs(wanted))), float(np.max(np.abs(found - wanted)))
    return worst / scale if scale > 0 else (0.0 if worst == 0 else float("inf"))


def by_path(tree: Any) -> dict[tuple[Any, ...], Any]:
    """Leaves by path, as the library names them."""
    return {tuple(_name(k) for k in keys): leaf for keys, leaf in jtu.tree_flatten_with_path(tree)[0]}


def _name(key: Any) -> Any:
    return next(getattr(key, a) for a in ("name", "key", "idx") if hasattr(key, a))


def assert_close(found: Any, wanted: Any, tolerance: float = 1e-9) -> None:
    """Every leaf, by its own scale; the structures agree."""
    assert jtu.tree_structure(found) == jtu.tree_structure(wanted)
    references = by_path(wanted)
    errors = {path: relative(leaf, references[path]) for path, leaf in by_path(found).items()}
    assert all(error < tolerance for error in errors.values()), errors

"""What a call gives: losses, their gradient, and what comes after."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from .._carry import Signal
from ._at_once import Met
from ._call import Arrays, Call, Carry
from ._evaluate import Aside, window_function
from ._gradient import factors_of, Gradient, Left
from ._hand_over import hand_over, same_signal
from ._transition import Values


class Estimate(NamedTuple):
    """What one step, or many, give."""

    loss: jax.Array
    aux: tuple[Arrays, Arrays]
    gradient: Gradient
    """Factors of heads are stacked along time, but for those of a single step."""
    state: Carry
    advance: Callable[[Arrays], Values]
    """The traces after it; to be called with arrays that must be known first, such as the sum of all gradients."""
    met: Met
    """What keepers that follow D must know; stacked along time, but for those of a single step."""
    left: dict[int, Left] | None = None
    """What a single step leaves to be multiplied later, by the number of a keeper; None for more steps."""


def aux_of(aside: Aside) -> tuple[Arrays, Arrays]:
    return aside.aux_inexact, aside.aux_rest


class PulledWindow(NamedTuple):
    """A window of steps, differentiated as one."""

    losses: jax.Array
    gradient: Gradient
    """With what it hands over to the traces of its first state."""
    signal: Signal
    """What they met."""
    state: Carry
    aside: Aside


def pull_window(call: Call, values: Values, size: int) -> PulledWindow:
    """g_theta + g_s . J_0 of so many steps."""
    variables = call.weights, call.state.inexact, call.no_shifts(size)
    (out, new), pull, aside = jax.vjp(window_function(call), *variables, has_aux=True)
    direct, on_old, on_heads = pull(([jnp.ones_like(out[0])], [jnp.zeros_like(s) for s in new]))
    own, signal = Gradient(direct, factors_of(call, aside.taps, on_heads)), same_signal(call, on_old)
    return PulledWindow(out[0], hand_over(call, own, values, signal), signal, Carry(new, aside.state_rest), aside)

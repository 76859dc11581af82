"""One step at windows 1 and 0.

At window 1 the step is differentiated exactly, by reverse mode, and credit goes on to the trace of its old state:

    gradient  =  g_theta  +  g_s . J_0 ,          then   J_1  =  J_0 advanced .

Window 0 is the literature's estimator: the learning signal is dl/dh at the *new* state, one state at a time with the
group's other new states held fixed, contracted with the advanced trace J_1. The part of it that this very step put
into the trace is the in-step gradient of the parameter, which g_theta holds already and exactly; so

    gradient  =  g_theta  +  g_h . J_1  -  g_h . (dh/dy x) .
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from .._carry import Signal, Transition
from ._call import Arrays, Call, Carry
from ._evaluate import Aside, step_function
from ._gradient import factors_of, Gradient
from ._hand_over import hand_over, same_signal, with_entered
from ._learning_signal import new_state_signal
from ._transition import transition_of, Values


class OneStep(NamedTuple):
    """One step, run and ready to be pulled back."""

    out: Arrays
    new: Carry
    aside: Aside
    pull: Callable[[Arrays, Arrays], tuple[Gradient, Arrays, Arrays]]
    """From cotangents of outputs and new state to those of effective weights, state, and inputs if asked for."""
    transition: Transition


def take_step(call: Call, *, by_inputs: bool = False) -> OneStep:
    """Run a step; with `by_inputs` its inputs may be differentiated by, too."""
    variables = call.weights, call.state.inexact, call.no_shifts(), *([call.inputs.inexact] if by_inputs else [])
    (out, new), back, aside = jax.vjp(step_function(call), *variables, has_aux=True)

    def pull(on_out: Arrays, on_new: Arrays) -> tuple[Gradient, Arrays, Arrays]:
        direct, on_old, on_heads, *on_inputs = back((on_out, on_new))
        return Gradient(direct, factors_of(call, aside.taps, on_heads)), on_old, on_inputs[0] if by_inputs else []

    def pull_new(on_new: list[Array]) -> tuple[Arrays, Arrays, Arrays]:
        on_weights, on_old, on_heads, *_ = back(([jnp.zeros_like(x) for x in out], on_new))
        return on_weights, on_old, on_heads

    transition = transition_of(call, call.keepers, pull_new, aside.taps)
    return OneStep(out, Carry(new, aside.state_rest), aside, pull, transition)


def at_window_1(call: Call, own: Gradient, on_old: Arrays, values: Values) -> tuple[Gradient, Signal]:
    """g_theta + g_s . J_0, and g_s."""
    signal = same_signal(call, on_old)
    return hand_over(call, own, values, signal), signal


def at_window_0(
    call: Call, step: OneStep, advanced: Values
) -> Callable[[Gradient, Arrays, Arrays], tuple[Gradient, Signal]]:
    """From a step's own gradient g_theta, and cotangents of (outputs, new state), to the estimator of window 0.

    And its learning signal, g_h.
    """
    signal_of = new_state_signal(call, step.new.inexact)

    def estimate(own: Gradient, on_out: Arrays, on_new: Arrays) -> tuple[Gradient, Signal]:
        signal = signal_of(on_out, on_new)
        return hand_over(call, with_entered(call, own, step.transition, signal.negative), advanced, signal), signal

    return estimate

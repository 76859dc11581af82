"""One step, run and ready to be pulled back."""

import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .._carry import Entries, entries, Jacobians
from ._gradient import factors_of, Gradient, with_past, with_rows
from ._learning_signal import new_state_signal
from ._plan import Plan
from ._run import Arguments, Arrays, Carry, effective_weights, no_shifts, Result, step_of, Values
from ._window import advance_influences, fresh_rows, hand_over, jacobians, TraceValues


def check_window(window: Any) -> int:
    """A window is a whole number of steps, not negative."""
    try:
        if isinstance(window, bool):
            raise TypeError
        steps = operator.index(window)
    except TypeError:
        raise TypeError(
            f"`window` is {window!r}, of type {type(window).__name__}; it must be an integer: how many of the most "
            "recent steps are differentiated exactly (1: online; 0: the literature's estimator)."
        ) from None
    if steps < 0:
        raise ValueError(
            f"`window` is {steps}; it must not be negative. Use 1 for online learning, the length of the data for BPTT."
        )
    return steps


class OneStep(NamedTuple):
    """One step, run and ready to be pulled back."""

    out: Arrays
    new: Carry
    aside: Result
    pull: Callable[[Arrays, Arrays], tuple[Gradient, Arrays, Arrays]]
    """From cotangents of outputs and new state to those of effective weights, state, and inputs if asked for."""
    jacobians: Jacobians
    entries: Entries | None
    """None if no influences are kept."""


def take_step(plan: Plan, fixed: Values, arguments: Arguments, *, by_inputs: bool = False) -> OneStep:
    a = arguments
    variables = effective_weights(plan, fixed), a.state.inexact, no_shifts(plan), *([a.inputs] if by_inputs else [])
    (out, new), back, aside = jax.vjp(step_of(plan, fixed, a), *variables, has_aux=True)

    def pull(on_out: Arrays, on_new: Arrays) -> tuple[Gradient, Arrays, Arrays]:
        direct, on_old, on_heads, *on_inputs = back((on_out, on_new))
        return Gradient(direct, factors_of(plan, aside.taps, on_heads)), on_old, on_inputs[0] if by_inputs else []

    nothing = [jnp.zeros_like(x) for x in out]
    found = jacobians(plan, fixed, aside.taps)
    influenced = influence_entries(plan, fixed, arguments, lambda on_new: back((nothing, on_new)), aside.taps)
    return OneStep(out, Carry(new, aside.state_rest), aside, pull, found, influenced)


def new_state_of(
    plan: Plan, fixed: Values, arguments: Arguments, cut: frozenset[int] = frozenset()
) -> tuple[Arrays, Callable[..., Any], Result]:
    """One step, to be pulled back from its new state alone; derivatives stop at the variables in `cut`."""
    forward = step_of(plan, fixed, arguments, cut)

    def new(*variables: Arrays) -> tuple[Arrays, Result]:
        (_, new), aside = forward(*variables)
        return new, aside

    variables = effective_weights(plan, fixed), arguments.state.inexact, no_shifts(plan)
    return jax.vjp(new, *variables, has_aux=True)


def influence_entries(
    plan: Plan, fixed: Values, arguments: Arguments, back: Callable[..., Any], taps: Arrays
) -> Entries | None:
    """What one step does to the influences, from its own pullback of the new state; None if there are none."""
    if not plan.influences:
        return None
    if plan.cut:
        _, back, _ = new_state_of(plan, fixed, arguments, plan.cut)

    def pull(on_new: Arrays) -> tuple[Arrays, Arrays, Arrays]:
        on_weights, on_old, on_heads, *_ = back(on_new)
        return on_weights, on_old, on_heads

    met = dict(zip(plan.taps, taps, strict=True))
    return entries(plan.analysis, plan.influences, pull, met)


def advance_over(plan: Plan, fixed: Values, window: Arguments, values: TraceValues) -> TraceValues:
    """The influences through the steps of a window, one by one."""
    if not plan.influences:
        return ()

    def body(carry: tuple[Carry, TraceValues], now: tuple[Arrays, Arrays]) -> Any:
        state, values = carry
        here = Arguments(window.parameters, window.model_rest, state, *now)
        new, back, aside = new_state_of(plan, fixed, here)
        found = influence_entries(plan, fixed, here, back, aside.taps)
        return (Carry(new, aside.state_rest), advance_influences(plan, values, found)), None

    return jax.lax.scan(body, (window.state, values), (window.inputs, window.inputs_rest))[0][1]


def at_window_0(
    plan: Plan, fixed: Values, arguments: Arguments, step: OneStep, advanced: TraceValues
) -> Callable[[Gradient, Arrays, Arrays], Gradient]:
    """From a step's own gradient and the cotangents of (outputs, new state) to the estimator of window 0."""
    signal = new_state_signal(plan, fixed, arguments, step.new.inexact)
    held = new_state_signal(plan, fixed, arguments, step.new.inexact, hold_all=True) if plan.influences else signal

    def estimate(own: Gradient, on_out: Arrays, on_state: Arrays) -> Gradient:
        on_new, alone = signal(on_out, on_state), held(on_out, on_state)
        minus = jax.tree.map(jnp.negative, (on_new, alone))
        fresh = fresh_rows(plan, step.jacobians, step.entries, *minus)
        return with_past(plan, with_rows(plan, own, fresh), hand_over(plan, advanced, on_new, alone))

    return estimate

"""A step, and a window of steps, as functions of what they are differentiated by.

A head does not read the weight that is differentiated, but a copy; its output is shifted instead, by zeros. So the
cotangent of a weight can be made from what the head met and the cotangent of its shift, later, and for many steps at
once (`_gradient`), where reverse mode makes one product per step and adds them up.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from .._carry import PullNew
from .._read import evaluate, Runnable
from .._sharding import scan
from ._call import Arrays, Call, Carry, Inputs

Edit = Callable[[int, Any], Any]
"""From a variable and its value to the value that is used."""


class Aside(eqx.Module):
    """What one step, or a window of steps, leaves behind without derivatives."""

    out_rest: Arrays
    aux_inexact: Arrays
    aux_rest: Arrays
    state_rest: Arrays
    taps: Arrays


def run_step(
    call: Call, equations: Iterable[Runnable], values: dict[Any, Any], edit: Edit
) -> tuple[tuple[Arrays, Arrays], Aside]:
    """One step: ((out, new state), the rest). `edit` may change a variable where it is defined."""
    step = call.step
    for eqn in equations:
        evaluate([eqn], values)
        values.update((var, edit(var, values[var])) for var in eqn.outputs)

    def read(variables: Sequence[int]) -> Arrays:
        return [jnp.asarray(values[v]) for v in variables]

    aside = Aside(
        out_rest=read(step.out_rest),
        aux_inexact=read(step.aux_inexact),
        aux_rest=read(step.aux_rest),
        state_rest=read(step.new_states_rest),
        taps=read(call.plan.taps),
    )
    return (read(step.out_inexact), read(step.new_states)), aside


def step_function(call: Call, stops: frozenset[int] = frozenset()) -> Callable[..., Any]:
    """One step as a function of effective weights, state, shifts, and inputs if given: ((out, new state), the rest).

    Derivatives stop at the variables in `stops`. Inputs are given only where their gradient is asked for: what a step
    does with them alone (a `while_loop`, say) then need not have a derivative.
    """
    body = call.plan.analysis.body
    equations = body.held

    def forward(weights: Arrays, state: Arrays, shifts: Arrays, inputs: Arrays | None = None) -> Any:
        shift_of = {use.output: shift for use, shift in zip(body.heads, shifts, strict=True)}

        def edit(var: int, value: Any) -> Any:
            if var in stops:
                return jax.lax.stop_gradient(value)
            return value + shift_of[var] if var in shift_of else value

        given = Inputs(call.inputs.inexact if inputs is None else inputs, call.inputs.rest)
        values = call.env(weights, Carry(call.without_still(state), call.state.rest), given)
        return run_step(call, equations, values, edit)

    return forward


def new_state_function(call: Call, stops: frozenset[int] = frozenset()) -> Callable[..., tuple[Arrays, Aside]]:
    """As `step_function`, without the output."""
    forward = step_function(call, stops)

    def new(*variables: Arrays) -> tuple[Arrays, Aside]:
        (_, state), aside = forward(*variables)
        return state, aside

    return new


def pull_from_new_state(call: Call, stops: frozenset[int] = frozenset()) -> tuple[Arrays, PullNew, Aside]:
    """One step, to be pulled back from its new state alone; derivatives stop at the variables in `stops`."""
    variables = call.weights, call.state.inexact, call.no_shifts()
    return jax.vjp(new_state_function(call, stops), *variables, has_aux=True)


def window_function(call: Call) -> Callable[[Arrays, Arrays, Arrays], Any]:
    """As `step_function`, over inputs and shifts with a time axis: outputs and taps stacked, and the last state."""

    def forward(weights: Arrays, state: Arrays, shifts: Arrays) -> Any:
        def one(carry: Carry, now: tuple[Inputs, Arrays]) -> tuple[Carry, tuple[Arrays, Aside]]:
            inputs, shift = now
            (out, new), aside = step_function(call.at(carry, inputs))(weights, carry.inexact, shift)
            kept = Aside(aside.out_rest, aside.aux_inexact, aside.aux_rest, [], aside.taps)
            return Carry(new, aside.state_rest), (out, kept)

        last, (out, aside) = scan(one, Carry(state, call.state.rest), (call.inputs, shifts))
        kept = Aside(aside.out_rest, aside.aux_inexact, aside.aux_rest, last.rest, aside.taps)
        return (out, last.inexact), kept

    return forward

"""Running a step, or a window of steps, from its equations.

The prologue is run once. A step reads from it the effective weights, and is differentiated with respect to those, not
to the parameters: cotangents are summed over steps as they are, and pulled back to the parameters once.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from .._read import evaluate, Runnable
from ._plan import Plan

Arrays = list[Any]
Values = Mapping[Any, Any]


class Carry(eqx.Module):
    """The state between steps: its inexact arrays, which carry derivatives, and the others."""

    inexact: Arrays
    rest: Arrays


class Arguments(eqx.Module):
    """The arrays of one call, by role."""

    parameters: Arrays
    model_rest: Arrays
    state: Carry
    inputs: Arrays
    inputs_rest: Arrays


class Result(eqx.Module):
    """What one step, or a window of steps, leaves behind without derivatives."""

    out_rest: Arrays
    aux_inexact: Arrays
    aux_rest: Arrays
    state_rest: Arrays
    taps: Arrays


def take_arguments(plan: Plan, model: PyTree, state: PyTree, inputs: tuple[Any, ...]) -> Arguments:
    step = plan.analysis.step
    return Arguments(*step.model.split(model), Carry(*step.state.split(state)), *step.inputs.split(inputs))


def prologue(plan: Plan, parameters: Arrays, model_rest: Arrays) -> Values:
    """The values that depend on the model alone."""
    step = plan.analysis.step
    fixed = plan.analysis.fixed
    values = dict(step.program.constants)
    values.update(zip(step.parameters, parameters, strict=True))
    values.update(zip(step.model_rest, model_rest, strict=True))
    evaluate((eqn for eqn in step.program.equations if eqn.outputs and fixed.issuperset(eqn.outputs)), values)
    return values


def fixed_values(plan: Plan, arguments: Arguments) -> Values:
    """The prologue, and the copies of weights that heads read: made once, outside every loop."""
    values = prologue(plan, arguments.parameters, arguments.model_rest)
    return {**values, **plan.analysis.body.copies(values)}


def effective_weights(plan: Plan, fixed: Values) -> Arrays:
    return [jnp.asarray(fixed[v]) for v in plan.analysis.body.weights]


def to_parameters(plan: Plan, arguments: Arguments, on_weights: Arrays) -> Arrays:
    """From cotangents of the effective weights to cotangents of the parameters.

    Those of weights without credit are zeros that BPTT does not have: times an infinite slope they would be NaN.
    """
    body = plan.analysis.body
    credited = [i for i, weight in enumerate(body.weights) if weight in body.credited]

    def made(parameters: Arrays) -> Arrays:
        weights = effective_weights(plan, prologue(plan, parameters, arguments.model_rest))
        return [weights[i] for i in credited]

    return jax.vjp(made, arguments.parameters)[1]([on_weights[i] for i in credited])[0]


def without_still(plan: Plan, state: Sequence[Array]) -> Arrays:
    """The arrays of a state; those that carry credit of no parameter are not differentiated by."""
    still = plan.analysis.step.still
    return [jax.lax.stop_gradient(s) if leaf in still else s for leaf, s in enumerate(state)]


def run_step(
    plan: Plan,
    equations: Iterable[Runnable],
    fixed: Values,
    state: Carry,
    inputs: tuple[Arrays, Arrays],
    edit: Callable[[int, Any], Any] | None = None,
) -> tuple[tuple[Arrays, Arrays], Result]:
    """One step: ((out, new state), the rest). `edit` may change a variable where it is defined."""
    step = plan.analysis.step
    values = dict(fixed)
    values.update(zip(step.states, state.inexact, strict=True))
    values.update(zip(step.states_rest, state.rest, strict=True))
    values.update(zip(step.inputs_inexact, inputs[0], strict=True))
    values.update(zip(step.inputs_rest, inputs[1], strict=True))
    for eqn in equations:
        evaluate([eqn], values)
        if edit is not None:
            values.update((var, edit(var, values[var])) for var in eqn.outputs)

    def read(variables: Sequence[int]) -> Arrays:
        return [jnp.asarray(values[v]) for v in variables]

    aside = (step.out_rest, step.aux_inexact, step.aux_rest, step.new_states_rest, plan.taps)
    return (read(step.out_inexact), read(step.new_states)), Result(*map(read, aside))


def step_of(plan: Plan, fixed: Values, arguments: Arguments, cut: frozenset[int] = frozenset()) -> Callable[..., Any]:
    """`run_step` as a function of what it is differentiated by: effective weights, state, shifts, and inputs if given.

    Derivatives stop at the variables in `cut`. Inputs are given only where their gradient is asked for: what a step
    does with them alone (a `while_loop`, say) then need not have a derivative.

    A head does not read the weights that are differentiated, but a copy; its output is shifted instead, by zeros. So
    the cotangent of a weight can be made from what the head met and the cotangent of its shift, later, and for many
    steps at once (`_gradient`), where reverse mode makes one product per step and adds them up.
    """
    body = plan.analysis.body
    equations = body.held

    def forward(weights: Arrays, state: Arrays, shifts: Arrays, inputs: Arrays | None = None) -> Any:
        known = {**fixed, **dict(zip(body.weights, weights, strict=True))}
        shift_of = {use.output: shift for use, shift in zip(body.heads, shifts, strict=True)}

        def edit(var: int, value: Any) -> Any:
            if var in cut:
                return jax.lax.stop_gradient(value)
            return value + shift_of[var] if var in shift_of else value

        carry = Carry(without_still(plan, state), arguments.state.rest)
        given = arguments.inputs if inputs is None else inputs
        return run_step(plan, equations, known, carry, (given, arguments.inputs_rest), edit)

    return forward


def window_of(plan: Plan, fixed: Values, arguments: Arguments) -> Callable[[Arrays, Arrays, Arrays], Any]:
    """As `step_of` over inputs and shifts with a time axis; outputs and taps are stacked, the state is the last."""

    def forward(weights: Arrays, state: Arrays, shifts: Arrays) -> Any:
        def one(carry: Carry, now: tuple[Arrays, Arrays, Arrays]) -> tuple[Carry, tuple[Arrays, Result]]:
            inputs, inputs_rest, shift = now
            here = Arguments(arguments.parameters, arguments.model_rest, carry, inputs, inputs_rest)
            (out, new), aside = step_of(plan, fixed, here)(weights, carry.inexact, shift)
            kept = Result(aside.out_rest, aside.aux_inexact, aside.aux_rest, [], aside.taps)
            return Carry(new, aside.state_rest), (out, kept)

        last, (out, aside) = jax.lax.scan(
            one, Carry(state, arguments.state.rest), (arguments.inputs, arguments.inputs_rest, shifts)
        )
        kept = Result(aside.out_rest, aside.aux_inexact, aside.aux_rest, last.rest, aside.taps)
        return (out, last.inexact), kept

    return forward


def no_shifts(plan: Plan, *lead: int) -> Arrays:
    """The shifts of the heads' outputs, with these leading axes: zeros."""
    avals = plan.analysis.step.program.avals
    outputs = [avals[use.output] for use in plan.analysis.body.heads]
    return [jnp.zeros((*lead, *y.shape), y.dtype) for y in outputs]

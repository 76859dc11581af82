"""A step that is closed: all credit reaches the output through the new state, and the traces hold all of it.

Then the advanced traces, J_1 = dh_1/dw of the whole past with the step itself, need one thing more,

    gradient  =  dl/dw at a fixed new state  +  dl/dh_1 . J_1 ,

and nothing is pulled back through the recurrence. It is what a trace written by hand for one cell does. It equals the
windows 0 and 1 of the general estimator (`_window`), at the price of neither.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from .._carry import DRTRL
from .._read import evaluate, union
from ._gradient import factors_of, Gradient, with_past
from ._one_step import influence_entries, new_state_of
from ._plan import Plan
from ._run import Arguments, Arrays, Carry, effective_weights, no_shifts, Result, step_of, Values
from ._window import advance, hand_over, jacobians, TraceValues


class ClosedStep(NamedTuple):
    """A step, its gradient and the traces after it."""

    out: Arrays
    new: Carry
    aside: Result
    gradient: Gradient
    values: TraceValues


def take_closed_step(plan: Plan, fixed: Values, arguments: Arguments, values: TraceValues) -> ClosedStep:
    """One step of a plan that is closed, with a real scalar as output."""
    a = arguments
    if plan.influences:
        new, back, aside = new_state_of(plan, fixed, a)
        entries = influence_entries(plan, fixed, a, back, aside.taps)
    else:
        variables = effective_weights(plan, fixed), a.state.inexact, no_shifts(plan)
        ((_, new), aside), entries = step_of(plan, fixed, a)(*variables), None
    out, own, signal = _read_out(plan, fixed, a, new, aside)
    advanced = advance(plan, values, jacobians(plan, fixed, aside.taps), entries)
    gradient = with_past(plan, own, hand_over(plan, advanced, signal))
    return ClosedStep(out, Carry(new, aside.state_rest), aside, gradient, advanced)


def is_closed(plan: Plan) -> bool:
    """By structure: does the output read the old state through the new one alone, and is every weight followed?"""
    analysis = plan.analysis
    step, bits = analysis.step, analysis.bits
    grouped = {leaf for group in analysis.groups for leaf in group.leaves}
    if not analysis.read_out.is_closed or len(grouped) != len(step.new_states):
        return False
    onward = union(bits, step.new_states)
    parameters = (1 << len(step.parameters)) - 1
    return all(_is_followed(plan, w) for w in analysis.body.weights if bits.get(w, 0) & onward & parameters)


def _is_followed(plan: Plan, weight: int) -> bool:
    """Does its trace hold all that it does to any new state, now and later?"""
    analysis = plan.analysis
    step, bits = analysis.step, analysis.bits
    credit = bits[weight]
    if weight in plan.assignment.blocks:
        mine = [influence for influence in plan.influences if influence.source.weight == weight]
        calls = [cuts for p, cuts in enumerate(analysis.unfollowed) if credit >> p & 1]
        return all(influence.is_whole for influence in mine) and not any(calls)
    for number, site in enumerate(analysis.sites):
        if site.weight == weight:
            if plan.rules[number] != DRTRL():
                return False
            leaves = analysis.groups[site.group].leaves
            credit |= sum(1 << (len(step.parameters) + leaf) for leaf in leaves)
    return not any(bits.get(cut.operand, 0) & credit for tail in analysis.tails for cut in tail.cuts)


def _read_out(
    plan: Plan, fixed: Values, arguments: Arguments, new_state: Arrays, aside: Result
) -> tuple[Arrays, Gradient, Arrays]:
    """The output, its gradient at a fixed new state, and its derivative by every new state, all others fixed."""
    step, body, found = plan.analysis.step, plan.analysis.body, plan.analysis.read_out
    avals = step.program.avals
    others = dict(fixed)
    others.update(zip(step.states, arguments.state.inexact, strict=True))
    others.update(zip(step.states_rest, arguments.state.rest, strict=True))
    others.update(zip(step.inputs_inexact, arguments.inputs, strict=True))
    others.update(zip(step.inputs_rest, arguments.inputs_rest, strict=True))
    still = {found.states[leaf].variable for leaf in step.still}

    def outputs(weights: Arrays, given: Mapping[int, Array], shifts: Mapping[int, Array]) -> Arrays:
        given = {v: jax.lax.stop_gradient(x) if v in still else x for v, x in given.items()}
        values: dict[Any, Any] = {**others, **dict(zip(body.weights, weights, strict=True)), **given}
        for eqn in found.equations:
            evaluate([eqn], values)
            values.update((v, values[v] + shifts[v]) for v in eqn.outputs if v in shifts)
            values.update((v, given[v]) for v in eqn.outputs if v in given)
        return [jnp.asarray(values[v]) for v in step.out_inexact]

    shifts = {v: jnp.zeros(avals[v].shape, avals[v].dtype) for v in found.heads}
    given = found.given(step, new_state)
    out, pull = jax.vjp(outputs, effective_weights(plan, fixed), given, shifts)
    on_weights, on_new, on_heads = pull([jnp.ones_like(x) for x in out])
    heads = [on_heads.get(use.output) for use in body.heads]
    return out, Gradient(on_weights, factors_of(plan, aside.taps, heads)), found.by_leaf(on_new, new_state)

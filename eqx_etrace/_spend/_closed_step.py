"""A step that is closed: all credit reaches the output through the new state, and the traces hold all of it.

Then the advanced traces, J_1 = dh_1/dw of the whole past with the step itself, need one thing more,

    gradient  =  dl/dw at a fixed new state  +  dl/dh_1 . J_1 ,

and nothing is pulled back through the recurrence. It is what a trace written by hand for one cell does. It equals the
windows 0 and 1 of `_one_step`, at the price of neither.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from .._carry import Signal
from .._read import evaluate, union
from .._sharding import zeros
from ._call import Arrays, Call, Carry
from ._evaluate import Aside, pull_from_new_state, step_function
from ._gradient import factors_of, Gradient, multiplied
from ._hand_over import hand_over, same_signal
from ._plan import places, Plan
from ._transition import advance, transition_of, Values


class ClosedStep(NamedTuple):
    """A step, its gradient and the traces after it."""

    out: Arrays
    new: Carry
    aside: Aside
    gradient: Gradient
    signal: Signal
    values: Values


def take_closed_step(call: Call, values: Values) -> ClosedStep:
    """One step of a plan that is closed, with a real scalar as output."""
    _, sources = places(call.keepers)
    if sources:
        new, pull_new, aside = pull_from_new_state(call)
    else:
        (_, new), aside = step_function(call)(call.weights, call.state.inexact, call.no_shifts())
        pull_new = _never_pulled
    transition = transition_of(call, call.keepers, pull_new, aside.taps)
    out, own, on_new = _read_out(call, new, aside)
    advanced = advance(call, values, transition)
    # A share as factors is that of the trace before a step elsewhere, and here of the trace after it.
    signal = same_signal(call, on_new)
    gradient = multiplied(call, hand_over(call, own, advanced, signal))
    return ClosedStep(out, Carry(new, aside.state_rest), aside, gradient, signal, advanced)


def _never_pulled(on_new: list[Array]) -> Any:
    raise AssertionError(f"nothing asks for the pullback of {len(on_new)} new states")


def is_closed(plan: Plan) -> bool:
    """By structure: does the output read the old state through the new one alone, and is every weight followed?"""
    grouped = {leaf for group in plan.analysis.groups for leaf in group.leaves}
    if not plan.analysis.read_out.is_closed or len(grouped) != len(plan.analysis.step.new_states):
        return False
    return holds_all(plan)


def holds_all(plan: Plan) -> bool:
    """Do the traces hold all that every weight does to any new state?"""
    step, bits = plan.analysis.step, plan.analysis.bits
    credit = union(bits, step.new_states) & ((1 << len(step.parameters)) - 1)
    entering = [weight for weight in plan.analysis.body.weights if bits.get(weight, 0) & credit]
    return all(plan.assignment.holds_all(weight) for weight in entering)


def _read_out(call: Call, new_state: Arrays, aside: Aside) -> tuple[Arrays, Gradient, Arrays]:
    """The output, its gradient at a fixed new state, and its derivative by every new state, all others fixed."""
    step, body, read_out = call.step, call.plan.analysis.body, call.plan.analysis.read_out
    avals = step.program.avals

    def outputs(weights: Arrays, given: Mapping[int, Array], shifts: Mapping[int, Array]) -> Arrays:
        given = call.new_without_still(given)
        values = {**call.env(weights, call.state, call.inputs), **given}
        for eqn in read_out.equations:
            evaluate([eqn], values)
            values.update((v, values[v] + shifts[v]) for v in eqn.outputs if v in shifts)
            values.update((v, given[v]) for v in eqn.outputs if v in given)
        return [jnp.asarray(values[v]) for v in step.out_inexact]

    shifts = {v: zeros(avals[v]) for v in read_out.heads}
    out, pull = jax.vjp(outputs, call.weights, read_out.given(step, new_state), shifts)
    on_weights, on_new, on_heads = pull([jnp.ones_like(x) for x in out])
    heads = [on_heads.get(use.output) for use in body.heads]
    return out, Gradient(on_weights, factors_of(call, aside.taps, heads)), read_out.by_leaf(on_new, new_state)

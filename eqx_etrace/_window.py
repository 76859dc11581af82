"""The estimator: a window differentiated exactly, then credit handed over to the trace.

Over a window of K steps from the state s_0 with trace J_0,

    (g_theta, g_s) = VJP of the window with respect to (theta, s_0)       # exact, reverse mode
    gradient       = g_theta + g_s . J_0                                   # hand-over to the trace
    J_K            = J_0 advanced through the K steps                      # the rule's recursion

The window is a plain VJP of the step, so every parameter has its exact within-window gradient. `Window 0` is
the literature's estimator instead: the learning signal is dl/dh at the *new* state, one state at a time with the
group's other new states held fixed, contracted with the advanced trace J_1. The part of it that this very step
put into the trace is the in-step gradient of the parameter, which g_theta holds already and exactly; so

    gradient       = g_theta + g_h . J_1 - g_h . (dh/dy x)
"""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jaxtyping import Array, Bool, Inexact, PyTree

from ._analysis._dependence import dependence
from ._analysis._primitive import Links
from ._analysis._program import evaluate
from ._plan import Plan
from ._trace import Drive, linearise

Arrays = list[Any]
Values = dict[int, Any]
TraceValues = tuple[PyTree[Array], ...]


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


def prologue(plan: Plan, parameters: Arrays, model_rest: Arrays) -> Values:
    """The values that depend on the model alone."""
    step = plan.analysis.step
    fixed = plan.analysis.fixed
    values = dict(step.program.constants)
    values.update(zip(step.parameters, parameters, strict=True))
    values.update(zip(step.model_rest, model_rest, strict=True))
    evaluate((eqn for eqn in step.program.equations if eqn.outputs and fixed.issuperset(eqn.outputs)), values)
    return values


def run_step(
    plan: Plan,
    fixed: Values,
    state: Carry,
    inputs: Arrays,
    inputs_rest: Arrays,
    edit: Callable[[int, Any], Any] | None = None,
) -> tuple[tuple[Arrays, Arrays], Result]:
    """One step: ((out, new state), the rest). `edit` may change a variable where it is defined."""
    step = plan.analysis.step
    values = dict(fixed)
    values.update(zip(step.states, state.inexact, strict=True))
    values.update(zip(step.states_rest, state.rest, strict=True))
    values.update(zip(step.inputs_inexact, inputs, strict=True))
    values.update(zip(step.inputs_rest, inputs_rest, strict=True))
    for eqn in step.program.equations:
        if not eqn.outputs or not plan.analysis.fixed.issuperset(eqn.outputs):
            evaluate([eqn], values)
            if edit is not None:
                values.update((var, edit(var, values[var])) for var in eqn.outputs)

    def read(variables: Sequence[int]) -> Arrays:
        return [jnp.asarray(values[v]) for v in variables]

    aside = (step.out_rest, step.aux_inexact, step.aux_rest, step.new_states_rest, plan.taps)
    return (read(step.out_inexact), read(step.new_states)), Result(*map(read, aside))


def run_window(
    plan: Plan, parameters: Arrays, model_rest: Arrays, state: Carry, inputs: Arrays, inputs_rest: Arrays
) -> tuple[tuple[Arrays, Arrays], Result]:
    """As `run_step`, over inputs with a leading time axis; outputs and taps are stacked, the state is the last."""
    fixed = prologue(plan, parameters, model_rest)

    def body(carry: Carry, now: tuple[Arrays, Arrays]) -> tuple[Carry, tuple[Arrays, Result]]:
        (out, new), aside = run_step(plan, fixed, carry, *now)
        kept = Result(aside.out_rest, aside.aux_inexact, aside.aux_rest, [], aside.taps)
        return Carry(new, aside.state_rest), (out, kept)

    last, (out, aside) = jax.lax.scan(body, state, (inputs, inputs_rest))
    kept = Result(aside.out_rest, aside.aux_inexact, aside.aux_rest, last.rest, aside.taps)
    return (out, last.inexact), kept


def weights_pullback(plan: Plan, parameters: Arrays, model_rest: Arrays) -> Callable[[Arrays], Arrays]:
    """From cotangents of the effective weights, one per trace, to cotangents of the parameters."""

    def weights(parameters: Arrays) -> Arrays:
        fixed = prologue(plan, parameters, model_rest)
        return [fixed[trace.weight] for trace in plan.traces]

    values, pull = jax.vjp(weights, parameters)
    return lambda cotangents: pull([c.astype(w.dtype) for c, w in zip(cotangents, values, strict=True)])[0]


def _signals(plan: Plan, number: int, state_cotangents: Arrays) -> list[Inexact[Array, "..."]]:
    """The learning signal of each state that a trace supports, by row."""
    trace = plan.traces[number]
    leaves = plan.analysis.groups[trace.group].leaves
    return [trace.at_rows(state_cotangents[leaves[s]], s) for s in trace.states]


def hand_over(plan: Plan, values: Sequence[PyTree[Array]], state_cotangents: Arrays) -> Arrays:
    """g_s . J: the cotangent of every trace's effective weight."""
    return [
        rule.contract(trace, value, _signals(plan, trace.number, state_cotangents))
        for rule, trace, value in zip(plan.rules, plan.traces, values, strict=True)
    ]


def fresh_part(plan: Plan, drives: Sequence[Drive], state_cotangents: Arrays) -> Arrays:
    """g_h . (dh/dy x): what one step alone puts into that."""
    found = []
    for trace, drive in zip(plan.traces, drives, strict=True):
        signals = _signals(plan, trace.number, state_cotangents)
        terms = [g * entry for g, entry in zip(signals, drive.entry, strict=True) if entry is not None]
        found.append(trace.head.pull(sum(terms[1:], terms[0]), drive.x))
    return found


def drives_of(plan: Plan, fixed: Values, taps: Arrays) -> tuple[Drive, ...]:
    """What one step does to every trace."""
    return linearise(plan.analysis, plan.traces, fixed, dict(zip(plan.taps, taps, strict=True)))


def advance(plan: Plan, values: TraceValues, drives: Sequence[Drive]) -> TraceValues:
    """Every trace through one step."""
    parts = zip(plan.rules, plan.traces, values, drives, strict=True)
    return tuple(rule.advance(trace, value, drive) for rule, trace, value, drive in parts)


def advance_window(
    plan: Plan, values: TraceValues, drives: Sequence[Drive], valid: Bool[Array, ""] | None = None
) -> TraceValues:
    """Every trace through the stacked drives of a window; unchanged if not `valid`."""
    parts = zip(plan.rules, plan.traces, values, drives, strict=True)
    return tuple(rule.advance_window(trace, value, drive, valid) for rule, trace, value, drive in parts)


def new_state_signal(plan: Plan, fixed: Values, arguments: Arguments, new_state: Arrays) -> Callable[[Arrays], Arrays]:
    """From output cotangents to the learning signal of window 0: dl/dh, the group's other new states held fixed.

    A shift is added to new states where they are defined. Groups in which one new state reads another are taken
    one at a time, with their new states replaced by their values, so that no credit is counted twice.
    """
    step = plan.analysis.step
    passes = _passes(plan)

    def outputs(shifts: dict[int, Array], held: frozenset[int]) -> Arrays:
        known = dict(zip(step.new_states, new_state, strict=True))

        def edit(var: int, value: Any) -> Any:
            return (known[var] if var in held else value) + shifts[var] if var in shifts else value

        state, inputs, rest = arguments.state, arguments.inputs, arguments.inputs_rest
        return run_step(plan, fixed, state, inputs, rest, edit)[0][0]

    pulls = []
    for leaves, hold in passes:
        variables = [step.new_states[leaf] for leaf in leaves]
        shifts = {var: jnp.zeros_like(new_state[leaf]) for leaf, var in zip(leaves, variables, strict=True)}
        held = frozenset(variables) if hold else frozenset()
        pulls.append(jax.vjp(lambda shifts, held=held: outputs(shifts, held), shifts)[1])

    def signal(out_cotangents: Arrays) -> Arrays:
        found: dict[int, Array] = {}
        for pull in pulls:
            found |= pull(out_cotangents)[0]
        return [found[var] for var in step.new_states]

    return signal


def _passes(plan: Plan) -> list[tuple[list[int], bool]]:
    """Which new states are shifted together, and whether they are held at their values."""
    step = plan.analysis.step
    bits = dependence(step.program, Links(step.program), step.new_states)
    together, alone = [], []
    for group in plan.analysis.groups:
        mine = sum(1 << leaf for leaf in group.leaves)
        chained = any(bits[step.new_states[leaf]] & mine & ~(1 << leaf) for leaf in group.leaves)
        if chained:
            alone.append((list(group.leaves), True))
        else:
            together += group.leaves
    return ([(together, False)] if together else []) + alone


def add(first: Arrays, *others: Arrays) -> Arrays:
    return jtu.tree_map(lambda *leaves: sum(leaves[1:], leaves[0]), first, *others)

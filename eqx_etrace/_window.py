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

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jaxtyping import Array, Inexact, PyTree

from ._analysis._dependence import dependence
from ._analysis._primitive import COPIES, Links
from ._plan import Plan
from ._run import Arguments, Arrays, run_step, Values
from ._trace import compose, Jacobians, linearise

TraceValues = tuple[PyTree[Array], ...]


def jacobians(plan: Plan, fixed: Values, taps: Arrays) -> Jacobians:
    """What one step does to every trace."""
    return linearise(plan.analysis, plan.traces, fixed, dict(zip(plan.taps, taps, strict=True)))


def window_jacobians(plan: Plan, fixed: Values, taps: Arrays) -> Jacobians:
    """What a window does to every trace, from its stacked taps."""
    steps = jax.vmap(lambda taps: jacobians(plan, fixed, taps))(taps) if plan.traces else jacobians(plan, fixed, taps)
    return compose(plan.analysis, plan.traces, steps)


def advance(plan: Plan, values: TraceValues, step: Jacobians) -> TraceValues:
    """Every trace through one step."""
    parts = zip(plan.rules, plan.traces, values, strict=True)
    return tuple(rule.advance(trace, value, step.drive(trace)) for rule, trace, value in parts)


def advance_window(plan: Plan, values: TraceValues, window: Jacobians) -> TraceValues:
    """Every trace through a window of steps."""
    parts = zip(plan.rules, plan.traces, values, strict=True)
    return tuple(rule.advance_window(trace, value, window.drive(trace)) for rule, trace, value in parts)


def after(first: Arrays, then: Jacobians) -> Jacobians:
    """The same Jacobians, known only once every array of `first` is.

    A trace that is contracted *and then* advanced is advanced in place; XLA takes care of that only if the order is
    forced by the data. (`optimization_barrier` does not survive long enough on the CPU.) No number is both positive and
    negative, so nothing is changed.
    """
    never = jnp.asarray(False)
    for array in first:
        if array.size:
            one = jax.lax.stop_gradient(array.reshape(-1)[0])
            never = never | ((one > 0) & (one < 0))
    decay = jax.tree.map(lambda d: jnp.where(never, jnp.zeros_like(d), d), then.decay)
    return Jacobians(decay, then.entry, then.x)


def _signals(plan: Plan, number: int, state_cotangents: Arrays) -> list[Inexact[Array, "..."]]:
    """The learning signal of each state that a trace supports, by row."""
    trace = plan.traces[number]
    leaves = plan.analysis.groups[trace.group].leaves
    return [trace.at_rows(state_cotangents[leaves[s]], s) for s in trace.states]


def hand_over(plan: Plan, values: TraceValues, state_cotangents: Arrays) -> Arrays:
    """g_s . J: the cotangent of every trace's effective weight."""
    return [
        rule.contract(trace, value, _signals(plan, trace.number, state_cotangents))
        for rule, trace, value in zip(plan.rules, plan.traces, values, strict=True)
    ]


def fresh_part(plan: Plan, step: Jacobians, state_cotangents: Arrays) -> Arrays:
    """g_h . (dh/dy x): what one step alone puts into that."""
    found = []
    for trace in plan.traces:
        signals, drive = _signals(plan, trace.number, state_cotangents), step.drive(trace)
        terms = [g * entry for g, entry in zip(signals, drive.entry, strict=True) if entry is not None]
        found.append(trace.head.pull(sum(terms[1:], terms[0]), drive.x))
    return found


def with_past(plan: Plan, on_weights: Arrays, past: Arrays) -> Arrays:
    """Cotangents of the effective weights, those of the traces added."""
    found = dict(zip(plan.analysis.body.weights, on_weights, strict=True))
    for trace, more in zip(plan.traces, past, strict=True):
        found[trace.weight] = found[trace.weight] + more.astype(found[trace.weight].dtype)
    return list(found.values())


def new_state_signal(plan: Plan, fixed: Values, arguments: Arguments, new_state: Arrays) -> Callable[[Arrays], Arrays]:
    """From output cotangents to the learning signal of window 0: dl/dh, the group's other new states held fixed.

    A shift is added to new states where they are computed. Groups in which one new state reads another are taken
    one at a time, with their new states replaced by their values, so that no credit is counted twice.
    """
    body = plan.analysis.body
    computed = _computed(plan)
    avals = plan.analysis.step.program.avals
    values = {
        var: value.reshape(avals[var].shape).astype(avals[var].dtype)
        for var, value in zip(computed, new_state, strict=True)
    }

    def outputs(shifts: dict[int, Array], held: frozenset[int]) -> Arrays:
        def edit(var: int, value: Any) -> Any:
            return (values[var] if var in held else value) + shifts[var] if var in shifts else value

        inputs = (arguments.inputs, arguments.inputs_rest)
        return run_step(plan, body.equations, fixed, arguments.state, inputs, edit)[0][0]

    pulls = []
    for leaves, hold in _passes(plan, computed):
        variables = [computed[leaf] for leaf in leaves]
        shifts = {var: jnp.zeros_like(values[var]) for var in variables}
        held = frozenset(variables) if hold else frozenset()
        pulls.append(jax.vjp(lambda shifts, held=held: outputs(shifts, held), shifts)[1])

    def signal(out_cotangents: Arrays) -> Arrays:
        found: dict[int, Array] = {}
        for pull in pulls:
            found |= pull(out_cotangents)[0]
        return [found[var].reshape(s.shape).astype(s.dtype) for var, s in zip(computed, new_state, strict=True)]

    return signal


def _computed(plan: Plan) -> list[int]:
    """Where each new state is computed: before it is cast, copied or reshaped for the next step.

    A loss that reads it there reads the new state, too.
    """
    step = plan.analysis.step
    taken = {*step.states, *step.new_states, *plan.analysis.fixed}
    found = []
    for new in step.new_states:
        var = new
        while (eqn := step.program.producer[var]).primitive in COPIES:
            (source,) = eqn.inputs
            if source in taken or source not in step.program.producer or not step.program.is_inexact(source):
                break
            var = source
            taken.add(var)
        found.append(var)
    return found


def _passes(plan: Plan, computed: list[int]) -> list[tuple[list[int], bool]]:
    """Which new states are shifted together, and whether they are held at their values."""
    step = plan.analysis.step
    bits = dependence(step.program, Links(step.program), computed)
    together, alone = [], []
    for group in plan.analysis.groups:
        mine = sum(1 << leaf for leaf in group.leaves)
        chained = any(bits[computed[leaf]] & mine & ~(1 << leaf) for leaf in group.leaves)
        if chained:
            alone.append((list(group.leaves), True))
        else:
            together += group.leaves
    return ([(together, False)] if together else []) + alone


def add(first: Arrays, *others: Arrays) -> Arrays:
    return jtu.tree_map(lambda *leaves: sum(leaves[1:], leaves[0]), first, *others)

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

import jax
import jax.tree_util as jtu
from jaxtyping import Array, Inexact, PyTree

from ._plan import Plan
from ._run import Arrays, Values
from ._trace import compose, Jacobians, linearise, Product

TraceValues = tuple[PyTree[Array], ...]
Share = Inexact[Array, "..."] | Product
"""What a trace adds to the gradient of its effective weight, multiplied out or as factors."""


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


def _signals(plan: Plan, number: int, state_cotangents: Arrays) -> list[Inexact[Array, "..."]]:
    """The learning signal of each state that a trace supports, by row."""
    trace = plan.traces[number]
    leaves = plan.analysis.groups[trace.group].leaves
    return [trace.at_rows(state_cotangents[leaves[s]], s).astype(trace.dtype) for s in trace.states]


def hand_over(plan: Plan, values: TraceValues, state_cotangents: Arrays) -> list[Share]:
    """g_s . J: what every trace adds to the gradient of its effective weight."""
    return [
        rule.contract(trace, value, _signals(plan, trace.number, state_cotangents))
        for rule, trace, value in zip(plan.rules, plan.traces, values, strict=True)
    ]


def fresh_rows(plan: Plan, step: Jacobians, state_cotangents: Arrays) -> list[Inexact[Array, "..."]]:
    """g_h . dh/dy by trace and row: times x, what one step alone puts into that."""
    found = []
    for trace in plan.traces:
        signals, entry = _signals(plan, trace.number, state_cotangents), step.entry[trace.number]
        terms = [g * d for g, d in zip(signals, entry, strict=True) if d is not None]
        found.append(sum(terms[1:], terms[0]))
    return found


def add(first: Arrays, *others: Arrays) -> Arrays:
    return jtu.tree_map(lambda *leaves: sum(leaves[1:], leaves[0]), first, *others)

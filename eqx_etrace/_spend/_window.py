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

import jax.tree_util as jtu
from jaxtyping import Array, Inexact, PyTree

from .._carry import as_scalars, compose, Entries, for_each, Jacobians, linearise, NoTrace, Product, times, Window
from ._plan import Plan
from ._run import Arrays, Values

TraceValues = tuple[PyTree[Array], ...]
Share = Inexact[Array, "..."] | Product
"""What a trace adds to the gradient of its effective weight, multiplied out or as factors."""


def jacobians(plan: Plan, fixed: Values, taps: Arrays) -> Jacobians:
    """What one step does to every trace."""
    return linearise(plan.analysis, plan.traces, fixed, dict(zip(plan.taps, taps, strict=True)))


def step_jacobians(plan: Plan, fixed: Values, taps: Arrays) -> Jacobians:
    """What the steps of a window do to every trace, from their stacked taps."""
    if not plan.traces:
        return jacobians(plan, fixed, taps)
    return for_each(lambda taps: jacobians(plan, fixed, taps))(taps)


def advance(plan: Plan, values: TraceValues, step: Jacobians, found: Entries | None) -> TraceValues:
    """Every trace, and every influence, through one step."""
    parts = zip(plan.rules, plan.traces, values, strict=False)
    by_position = [rule.advance(trace, value, step.drive(trace)) for rule, trace, value in parts]
    return (*by_position, *advance_influences(plan, values[len(plan.traces) :], found))


def advance_influences(plan: Plan, values: TraceValues, found: Entries | None) -> TraceValues:
    """Every influence through one step."""
    if found is None:
        return ()
    parts = zip(plan.influences, values, found.jacobian, found.entry, found.x, strict=True)
    return tuple(influence.advance(value, d, entry, x) for influence, value, d, entry, x in parts)


def advance_window(plan: Plan, values: TraceValues, steps: Jacobians, first: Arrays) -> TraceValues:
    """Every trace, but for influences, through a window of steps, once `first` is known."""
    composed = compose(plan.analysis, plan.traces, steps).after(first)
    parts = zip(plan.rules, plan.traces, values, strict=False)
    return tuple(rule.advance_window(trace, value, Window(trace, steps, composed)) for rule, trace, value in parts)


def _signals(plan: Plan, number: int, state_cotangents: Arrays) -> list[Inexact[Array, "..."]]:
    """The learning signal of each state that a trace supports, by row."""
    trace = plan.traces[number]
    on_states = [state_cotangents[leaf] for leaf in plan.analysis.groups[trace.group].leaves]
    found = (trace.folded(on_states.__getitem__, s) for s in trace.states)
    return [signal for signal in found if signal is not None]


def hand_over(
    plan: Plan, values: TraceValues, state_cotangents: Arrays, on_scalars: Arrays | None = None
) -> list[Share | None]:
    """g_s . J: what every trace, then every influence, adds to the gradient of its effective weight.

    `on_scalars` are the cotangents that influences meet, if they differ.
    """
    shares: list[Share | None] = [
        rule.contract(trace, value, _signals(plan, trace.number, state_cotangents))
        for rule, trace, value in zip(plan.rules, plan.traces, values, strict=False)
    ]
    if plan.influences:
        signal = as_scalars(state_cotangents if on_scalars is None else on_scalars)
        blocks = zip(plan.influences, values[len(plan.traces) :], strict=True)
        shares += [influence.contract(value, signal) for influence, value in blocks]
    return shares


def fresh_rows(
    plan: Plan, step: Jacobians, found: Entries | None, state_cotangents: Arrays, on_scalars: Arrays
) -> list[Inexact[Array, "..."] | None]:
    """g_h . dh/dy by trace or influence and row: times x, what one step alone puts into that."""
    rows: list[Array | None] = []
    for rule, trace in zip(plan.rules, plan.traces, strict=True):
        if isinstance(rule, NoTrace):
            rows.append(None)
            continue
        signals, entry = _signals(plan, trace.number, state_cotangents), step.entry[trace.number]
        terms = [times(g, d) for g, d in zip(signals, entry, strict=True) if d is not None]
        rows.append(sum(terms[1:], terms[0]))
    if found is not None:
        signal = as_scalars(on_scalars)
        pairs = zip(plan.influences, found.entry, strict=True)
        rows += [influence.rows_of(entry, signal) for influence, entry in pairs]
    return rows


def add(first: Arrays, *others: Arrays) -> Arrays:
    return jtu.tree_map(lambda *leaves: sum(leaves[1:], leaves[0]), first, *others)

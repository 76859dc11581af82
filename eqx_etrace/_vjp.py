"""`etrace_vjp`: the primitive under the gradient transforms."""

import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jax.core import eval_jaxpr
from jaxtyping import PyTree

from ._analysis import Layout
from ._assign import check_rule, Rule
from ._compat import opened
from ._gradient import factors_of, Gradient, settle, stacked, with_past, with_rows
from ._graph import ETraceGraph
from ._new_state import new_state_signal
from ._plan import check_trace, ETrace, make_plan, Plan
from ._run import (
    Arguments,
    Arrays,
    Carry,
    effective_weights,
    fixed_values,
    no_shifts,
    Result,
    step_of,
    take_arguments,
    to_parameters,
    Values,
)
from ._trace import Entries, entries, Jacobians
from ._window import advance, advance_influences, fresh_rows, hand_over, jacobians, TraceValues


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


def _cotangents(arrays: Arrays, layout: Layout, given: PyTree, what: str) -> Arrays:
    """The cotangents that a user gave for the inexact arrays of a pytree, as it is split; None stands for zero.

    That of z = a + ib stands for Re(ct dz), so that its halves belong to a and to -b.
    """
    advice = f"The {what} cotangent must have the structure of the {what}, with an array or None for each leaf."
    try:
        leaves = layout.treedef.flatten_up_to(given)
    except ValueError as error:
        raise ValueError(f"{advice} {error}") from None
    if not all(c is None or jtu.treedef_is_leaf(jtu.tree_structure(c)) for c in leaves):
        raise ValueError(f"{advice} Found {jtu.tree_structure(given)}, expected {layout.treedef}.")
    wanted = [
        c for c, a in zip(leaves, layout.arrays, strict=True) if a is not None and jnp.issubdtype(a.dtype, jnp.inexact)
    ]
    found = []
    values = jtu.tree_leaves(layout.join(arrays, None))
    for given_leaf, value in zip(wanted, values, strict=True):
        if given_leaf is not None and jnp.iscomplexobj(given_leaf) and not jnp.iscomplexobj(value):
            raise TypeError(f"The {what} cotangent has a complex leaf; there the {what} is real, {value.dtype}.")
        leaf = jnp.zeros_like(value) if given_leaf is None else jnp.asarray(given_leaf, value.dtype)
        if leaf.shape != value.shape:
            raise ValueError(
                f"The {what} cotangent has a leaf of shape {leaf.shape}; there the {what} has shape {value.shape}."
            )
        found.append(jnp.conj(leaf) if layout.in_halves else leaf)
    return layout.split(found)[0]


class Pullback(eqx.Module):
    """From cotangents of the output and the new state of one step to gradients of the model and of the inputs.

    It is a pytree, as that of `jax.vjp` is: it may leave `jax.jit`, and be called when the reward is known.
    """

    known: Arrays
    """What the step left behind."""
    out: Arrays
    new_state: Arrays
    jaxpr: Any = eqx.field(static=True)
    """From `known` and flat cotangents to flat gradients."""
    structure: Any = eqx.field(static=True)
    layouts: tuple[Layout, Layout, Layout, Layout] = eqx.field(static=True)
    """Of the model, the state, the inputs and the output."""

    def __call__(self, out_cotangent: PyTree, state_cotangent: PyTree = None) -> tuple[PyTree, PyTree]:
        """`model_grads, input_grads`; a cotangent of None is zero, also that of a leaf."""
        model, state, inputs, out = self.layouts
        on_out = _cotangents(self.out, out, out_cotangent, "output")
        on_state = [jnp.zeros_like(s) for s in self.new_state]
        if state_cotangent is not None:
            on_state = _cotangents(self.new_state, state, state_cotangent, "state")
        found = eval_jaxpr(self.jaxpr, self.known, *on_out, *on_state)
        on_model, on_inputs = jtu.tree_unflatten(self.structure, found)
        return model.join(on_model, None), inputs.join(on_inputs, None)


class ETraceVJP(eqx.Module):
    """What `etrace_vjp` returns."""

    step: Callable[..., Any]
    rule: Rule
    window: int = eqx.field(static=True)

    def __call__(
        self, model: PyTree, state: PyTree, trace: ETrace, *inputs: Any
    ) -> tuple[PyTree, PyTree, ETrace, Pullback]:
        """One step: `out, state, trace, pullback`."""
        check_trace(trace)
        plan = self._plan(model, state, inputs)
        plan.check(trace)
        arguments = take_arguments(plan, model, state, inputs)
        fixed = fixed_values(plan, arguments)
        done = take_step(plan, fixed, arguments, by_inputs=True)
        values = advance(plan, trace.values, done.jacobians, done.entries)
        estimate = at_window_0(plan, fixed, arguments, done, values) if self.window == 0 else None
        step = plan.analysis.step

        def pull(on_out: Arrays, on_state: Arrays) -> tuple[Arrays, Arrays]:
            own, on_old, on_inputs = done.pull(on_out, on_state)
            if estimate is None:
                total = with_past(plan, own, hand_over(plan, trace.values, on_old))
            else:
                total = estimate(own, on_out, on_state)
            gradient = to_parameters(plan, arguments, settle(plan, fixed, stacked(total)))
            return gradient, on_inputs

        nothing = jax.tree.map(jnp.zeros_like, (done.out, done.new.inexact))
        staged, shapes = jax.make_jaxpr(pull, return_shape=True)(*nothing)  # what it closes over becomes constants
        jaxpr, known = opened(staged)
        layouts = step.model, step.state, step.inputs, step.out
        pullback = Pullback(list(known), done.out, done.new.inexact, jaxpr, jtu.tree_structure(shapes), layouts)
        out, state = step.out.join(done.out, done.aside.out_rest), step.state.join(done.new.inexact, done.new.rest)
        return out, state, trace.holding(values), pullback

    def init(self, model: PyTree, state: PyTree, *inputs: Any) -> ETrace:
        """The traces before the first step: zeros."""
        return self._plan(model, state, inputs).init()

    def graph(self, model: PyTree, state: PyTree, *inputs: Any) -> ETraceGraph:
        """The graph of the step."""
        return ETraceGraph(self._plan(model, state, inputs).analysis)

    def _plan(self, model: PyTree, state: PyTree, inputs: tuple[Any, ...]) -> Plan:
        return make_plan(self.step, self.rule, model, state, inputs, pulls_state=True)


def etrace_vjp(step: Callable[..., Any], rule: Rule, *, window: int = 1) -> ETraceVJP:
    """Run one step and return the function that pulls cotangents back through it and through the past.

    The primitive under `etrace_grad` and `etrace_value_and_grad`, and the door for everything whose learning signal
    does not come from a loss inside the step: three-factor rules (cotangent times a modulator), reinforcement learning,
    synthetic gradients (a cotangent on the new state).

    **Arguments**

    - `step`: `step(model, state, *inputs) -> (out, new_state)`.
    - `rule`: a rule such as `DRTRL()`, or a function from a `ParamRelation` to a rule.
    - `window`: 1 for the exact gradient of the step handed over to the trace, 0 for the literature's estimator.

    **Returns**

    `f(model, state, trace, *inputs) -> out, state, trace, pullback`, with `f.init` and `f.graph`. What the report of
    `f.graph` calls exact is exact for any cotangent of the output and of the new state.
    `pullback(out_cotangent, state_cotangent=None) -> model_grads, input_grads`. Cotangents have the structure of the
    output and of the state, with an array or None, for zero, at each leaf; a state cotangent of None is zero. Gradients
    have None wherever there is no inexact array. A pullback is a pytree: it may leave `jax.jit` and be called later, in
    another program, when the reward is known.

    **Raises** `TypeError` or `ValueError` as `etrace_value_and_grad`; from `pullback` for cotangents of another
    structure or shape, and for complex ones of what is real.
    """
    if check_window(window) > 1:
        raise ValueError(f"`window` is {window}, but a call of `etrace_vjp` sees one step: its window is 0 or 1.")
    return ETraceVJP(step, check_rule(rule), check_window(window))

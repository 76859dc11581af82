"""`etrace_vjp`: the primitive under the gradient transforms."""

import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jaxtyping import PyTree

from ._analysis import Layout
from ._graph import ETraceGraph
from ._new_state import new_state_signal
from ._plan import check_rule, check_trace, ETrace, make_plan, Plan, Rule
from ._run import (
    Arguments,
    Arrays,
    Carry,
    effective_weights,
    prologue,
    Result,
    step_of,
    take_arguments,
    to_parameters,
    Values,
)
from ._trace import Jacobians
from ._window import (
    add,
    advance,
    fresh_part,
    hand_over,
    jacobians,
    TraceValues,
    with_past,
)

Pullback = Callable[..., tuple[PyTree, PyTree]]


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
            f"`window` is {steps}; it must not be negative. Use 1 for online learning, larger for more accuracy."
        )
    return steps


class OneStep(NamedTuple):
    """One step, run and ready to be pulled back."""

    out: Arrays
    new: Carry
    aside: Result
    pull: Callable[[tuple[Arrays, Arrays]], tuple[Arrays, Arrays, Arrays]]
    """From cotangents of (outputs, new state) to those of (effective weights, state, inputs)."""
    jacobians: Jacobians


def take_step(plan: Plan, fixed: Values, arguments: Arguments) -> OneStep:
    a = arguments
    variables = effective_weights(plan, fixed), a.state.inexact, a.inputs
    (out, new), pull, aside = jax.vjp(step_of(plan, fixed, a), *variables, has_aux=True)
    return OneStep(out, Carry(new, aside.state_rest), aside, pull, jacobians(plan, fixed, aside.taps))


def past_at_window_0(
    plan: Plan, fixed: Values, arguments: Arguments, step: OneStep, advanced: TraceValues
) -> Callable[[Arrays, Arrays], Arrays]:
    """From cotangents of (outputs, new state) to what the advanced traces say beyond this very step."""
    signal = new_state_signal(plan, fixed, arguments, step.new.inexact)

    def past(on_out: Arrays, on_state: Arrays) -> Arrays:
        on_new = add(signal(on_out), on_state)
        fresh = fresh_part(plan, step.jacobians, on_new)
        return add(hand_over(plan, advanced, on_new), jax.tree.map(jnp.negative, fresh))

    return past


def _cotangents(arrays: Arrays, layout: Layout, given: PyTree, what: str) -> Arrays:
    """The cotangents that a user gave for the inexact arrays of a pytree; None stands for zero."""
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
    for given_leaf, value in zip(wanted, arrays, strict=True):
        leaf = jnp.zeros_like(value) if given_leaf is None else jnp.asarray(given_leaf, value.dtype)
        if leaf.shape != value.shape:
            raise ValueError(
                f"The {what} cotangent has a leaf of shape {leaf.shape}; there the {what} has shape {value.shape}."
            )
        found.append(leaf)
    return found


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
        plan = make_plan(self.step, self.rule, model, state, inputs)
        plan.check(trace)
        arguments = take_arguments(plan, model, state, inputs)
        fixed = prologue(plan, arguments.parameters, arguments.model_rest)
        done = take_step(plan, fixed, arguments)
        values = advance(plan, trace.values, done.jacobians)
        past = past_at_window_0(plan, fixed, arguments, done, values) if self.window == 0 else None
        step = plan.analysis.step

        def pullback(out_cotangent: PyTree, state_cotangent: PyTree = None) -> tuple[PyTree, PyTree]:
            on_out = _cotangents(done.out, step.out, out_cotangent, "output")
            on_state = [jnp.zeros_like(s) for s in done.new.inexact]
            if state_cotangent is not None:
                on_state = _cotangents(done.new.inexact, step.state, state_cotangent, "state")
            on_weights, on_old, on_inputs = done.pull((on_out, on_state))
            more = hand_over(plan, trace.values, on_old) if past is None else past(on_out, on_state)
            gradient = to_parameters(plan, arguments, with_past(plan, on_weights, more))
            return step.model.join(gradient, None), step.inputs.join(on_inputs, None)

        out, state = step.out.join(done.out, done.aside.out_rest), step.state.join(done.new.inexact, done.new.rest)
        return out, state, trace.holding(values), pullback

    def init(self, model: PyTree, state: PyTree, *inputs: Any) -> ETrace:
        """The traces before the first step: zeros."""
        return make_plan(self.step, self.rule, model, state, inputs).init()

    def graph(self, model: PyTree, state: PyTree, *inputs: Any) -> ETraceGraph:
        """The graph of the step."""
        return ETraceGraph(make_plan(self.step, self.rule, model, state, inputs).analysis)


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

    `f(model, state, trace, *inputs) -> out, state, trace, pullback`, with `f.init` and `f.graph`.
    `pullback(out_cotangent, state_cotangent=None) -> model_grads, input_grads`; gradients have None wherever there is
    no inexact array.
    """
    if check_window(window) > 1:
        raise ValueError(f"`window` is {window}, but a call of `etrace_vjp` sees one step: its window is 0 or 1.")
    return ETraceVJP(step, check_rule(rule), check_window(window))

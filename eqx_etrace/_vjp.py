"""`etrace_vjp`: the primitive under the gradient transforms."""

import operator
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jaxtyping import PyTree

from ._analysis import Layout
from ._graph import ETraceGraph
from ._plan import check_rule, check_trace, ETrace, make_plan, Plan, Rule
from ._window import (
    add,
    advance,
    Arguments,
    Arrays,
    Carry,
    drives_of,
    fresh_part,
    hand_over,
    new_state_signal,
    prologue,
    run_step,
    weights_pullback,
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


def take_arguments(plan: Plan, model: PyTree, state: PyTree, inputs: tuple[Any, ...]) -> Arguments:
    step = plan.analysis.step
    return Arguments(*step.model.split(model), Carry(*step.state.split(state)), *step.inputs.split(inputs))


def step_vjp(
    plan: Plan, arguments: Arguments, trace: ETrace, window: int, *, wrt_inputs: bool
) -> tuple[Arrays, Any, Carry, ETrace, Callable[[Arrays, Arrays], tuple[Arrays, Arrays]]]:
    """One step: outputs, what was set aside, new state, new trace, and the pullback on flat lists of arrays."""
    a = arguments

    def forward(parameters: Arrays, state: Arrays, inputs: Arrays) -> Any:
        fixed = prologue(plan, parameters, a.model_rest)
        return run_step(plan, fixed, Carry(state, a.state.rest), inputs if wrt_inputs else a.inputs, a.inputs_rest)

    differentiated = (a.parameters, a.state.inexact, a.inputs if wrt_inputs else [])
    (out, new), vjp, aside = jax.vjp(forward, *differentiated, has_aux=True)
    fixed = prologue(plan, a.parameters, a.model_rest)
    values = advance(plan, trace.values, trace.pending)
    drives = drives_of(plan, fixed, aside.taps)
    weights = weights_pullback(plan, a.parameters, a.model_rest)
    signal = new_state_signal(plan, fixed, a, new) if window == 0 else None

    def pull(out_cotangents: Arrays, state_cotangents: Arrays) -> tuple[Arrays, Arrays]:
        gradient, on_state, on_inputs = vjp((out_cotangents, state_cotangents))
        if signal is None:
            return add(gradient, weights(hand_over(plan, values, on_state))), on_inputs
        on_new = add(signal(out_cotangents), state_cotangents)
        advanced = advance(plan, values, drives)
        past = add(hand_over(plan, advanced, on_new), jax.tree.map(jnp.negative, fresh_part(plan, drives, on_new)))
        return add(gradient, weights(past)), on_inputs

    return out, aside, Carry(new, aside.state_rest), ETrace(values, drives, trace.owner, trace.inputs), pull


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
        out, aside, new, new_trace, pull = step_vjp(plan, arguments, trace, self.window, wrt_inputs=True)
        step = plan.analysis.step

        def pullback(out_cotangent: PyTree, state_cotangent: PyTree = None) -> tuple[PyTree, PyTree]:
            on_out = _cotangents(out, step.out, out_cotangent, "output")
            zeros = [jnp.zeros_like(s) for s in new.inexact]
            given = state_cotangent is not None
            on_state = _cotangents(new.inexact, step.state, state_cotangent, "state") if given else zeros
            gradient, on_inputs = pull(on_out, on_state)
            return step.model.join(gradient, None), step.inputs.join(on_inputs, None)

        return step.out.join(out, aside.out_rest), step.state.join(new.inexact, new.rest), new_trace, pullback

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

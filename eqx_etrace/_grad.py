"""`etrace_grad` and `etrace_value_and_grad`: online gradients of a loss."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from ._compat import definition_line
from ._graph import ETraceGraph
from ._plan import check_rule, check_trace, ETrace, make_plan, Plan, Rule
from ._trace import Drive
from ._vjp import check_window, step_vjp, take_arguments
from ._window import (
    add,
    advance,
    advance_window,
    Arguments,
    Arrays,
    Carry,
    drives_of,
    hand_over,
    prologue,
    run_window,
    TraceValues,
    weights_pullback,
)

Stacked = tuple[Arrays, Arrays]
"""The inexact and the other inputs, with a leading time axis."""
Aux = tuple[Arrays, Arrays]
Drives = tuple[Drive, ...]
Found = tuple[jax.Array, Aux, Arrays, Carry, ETrace]
"""Loss, aux, gradient, new state, new trace."""


class Window(NamedTuple):
    """What one window gives."""

    loss: jax.Array
    aux: Aux
    gradient: Arrays
    state: Carry
    drives: Drives
    """What its steps do to the traces; not folded in yet."""


class ETraceGrad(eqx.Module):
    """What `etrace_grad` and `etrace_value_and_grad` return."""

    loss_step: Callable[..., Any]
    rule: Rule
    window: int = eqx.field(static=True)
    has_aux: bool = eqx.field(static=True)
    with_value: bool = eqx.field(static=True)

    def init(self, model: PyTree, state: PyTree, *inputs: Any) -> ETrace:
        """The traces before the first step: zeros. Inputs are those of one step."""
        return self._plan(model, state, inputs).init()

    def graph(self, model: PyTree, state: PyTree, *inputs: Any) -> ETraceGraph:
        """The graph of the step. Inputs are those of one step."""
        return ETraceGraph(self._plan(model, state, inputs).analysis)

    def __call__(self, model: PyTree, state: PyTree, trace: ETrace, *inputs: Any) -> tuple[Any, PyTree, ETrace]:
        """One step: `(gradients, state, trace)`, or `((loss, gradients), state, trace)`."""
        check_trace(trace)
        plan = self._plan(model, state, inputs)
        plan.check(trace)
        found = _one_step(plan, take_arguments(plan, model, state, inputs), trace, self.window)
        return self._result(plan, *found)

    def scan(
        self, model: PyTree, state: PyTree, trace: ETrace, *inputs: Any, window: int | None = None
    ) -> tuple[Any, PyTree, ETrace]:
        """Many steps at fixed parameters: the same as `__call__`, with the gradients of the sum of the losses.

        **Arguments**

        - `inputs`: every array among them has a leading time axis, of one length T. Close over what stays the same.
        - `window`: how many steps are differentiated exactly before credit is handed to the trace; the transform's
          own if not given. T need not be a multiple of it: the last window is shorter. Memory grows with it, not
          with T.

        **Returns**

        As `__call__`, with the losses (and the auxiliary output) stacked along time.
        """
        check_trace(trace)
        length = _length(inputs)
        steps = min(self.window if window is None else check_window(window), length)
        first = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype) if eqx.is_array(x) else x, inputs)
        plan = self._plan(model, state, first)
        plan.check(trace)
        arguments = take_arguments(plan, model, state, inputs)
        if steps <= 1:
            return self._result(plan, *_rolled(plan, arguments, trace, steps))
        return self._result(plan, *_windowed(plan, arguments, trace, steps, length))

    def _plan(self, model: PyTree, state: PyTree, inputs: tuple[Any, ...]) -> Plan:
        plan = make_plan(self.loss_step, self.rule, model, state, inputs, has_aux=self.has_aux)
        _check_loss(plan, definition_line(self.loss_step), self.has_aux)
        return plan

    def _result(
        self, plan: Plan, loss: jax.Array, aux: tuple[Arrays, Arrays], gradient: Arrays, state: Carry, trace: ETrace
    ) -> tuple[Any, PyTree, ETrace]:
        step = plan.analysis.step
        gradients = step.model.join(gradient, None)
        value = (loss, step.aux.join(*aux)) if self.has_aux else loss
        if self.with_value:
            found: Any = (value, gradients)
        else:
            found = (gradients, step.aux.join(*aux)) if self.has_aux else gradients
        return found, step.state.join(state.inexact, state.rest), trace


def _check_loss(plan: Plan, where: str, has_aux: bool) -> None:
    step = plan.analysis.step
    arrays = [a for a in step.out.arrays if a is not None]
    leaves = len(step.out.arrays)
    advice = "" if has_aux else " To return more than the loss, return `((loss, aux), state)` and pass `has_aux=True`."
    if leaves != 1 or not arrays:
        raise TypeError(f"The loss of {where} must be one scalar array; it is a pytree with {leaves} leaves.{advice}")
    loss = arrays[0]
    if loss.shape != ():
        raise TypeError(
            f"The loss of {where} must be a scalar; it has shape {loss.shape}. Reduce it, for example with `jnp.mean`, "
            "or use `etrace_vjp`, which takes a cotangent for any output."
        )
    if not jnp.issubdtype(loss.dtype, jnp.floating):
        raise TypeError(f"The loss of {where} must be a real floating-point number; its dtype is {loss.dtype}.")


def _length(inputs: tuple[Any, ...]) -> int:
    arrays = [x for x in jax.tree.leaves(inputs) if eqx.is_array(x)]
    if not arrays or any(x.ndim == 0 for x in arrays):
        raise ValueError(
            "`scan` runs over the leading time axis of its inputs, but "
            + ("there is no array among them." if not arrays else "one of them is a scalar and has no axis.")
            + " Pass arrays with a leading time axis; close over what stays the same."
        )
    lengths = sorted({x.shape[0] for x in arrays})
    if len(lengths) > 1:
        raise ValueError(f"The leading time axes of the inputs of `scan` differ: {lengths}. They must have one length.")
    if lengths[0] == 0:
        raise ValueError("The inputs of `scan` have a leading time axis of length 0; there is no step to take.")
    return lengths[0]


def _one_step(plan: Plan, arguments: Arguments, trace: ETrace, window: int) -> Found:
    out, aside, state, trace, pull = step_vjp(plan, arguments, trace, window, wrt_inputs=False)
    gradient, _ = pull([jnp.ones_like(out[0])], [jnp.zeros_like(s) for s in state.inexact])
    return out[0], (aside.aux_inexact, aside.aux_rest), gradient, state, trace


def _one_window(plan: Plan, arguments: Arguments, values: TraceValues) -> Window:
    """A window of steps, differentiated as one, and handed over to the traces of its first state."""
    a = arguments

    def forward(parameters: Arrays, state: Arrays) -> Any:
        return run_window(plan, parameters, a.model_rest, Carry(state, a.state.rest), a.inputs, a.inputs_rest)

    (out, new), vjp, aside = jax.vjp(forward, a.parameters, a.state.inexact, has_aux=True)
    gradient, on_state = vjp(([jnp.ones_like(out[0])], [jnp.zeros_like(s) for s in new]))
    past = weights_pullback(plan, a.parameters, a.model_rest)(hand_over(plan, values, on_state))
    fixed = prologue(plan, a.parameters, a.model_rest)
    drives = jax.vmap(lambda taps: drives_of(plan, fixed, taps))(aside.taps) if plan.traces else ()
    aux = (aside.aux_inexact, aside.aux_rest)
    return Window(out[0], aux, add(gradient, past), Carry(new, aside.state_rest), drives)


def _rolled(plan: Plan, arguments: Arguments, trace: ETrace, window: int) -> Found:
    """Step by step, for windows 0 and 1."""
    a = arguments

    def body(carry: tuple[Arrays, Carry, ETrace], now: Stacked) -> Any:
        gradient, state, trace = carry
        step = Arguments(a.parameters, a.model_rest, state, *now)
        loss, aux, more, state, trace = _one_step(plan, step, trace, window)
        return (add(gradient, more), state, trace), (loss, aux)

    start = ([jnp.zeros_like(p) for p in a.parameters], a.state, trace)
    (gradient, state, trace), (losses, aux) = jax.lax.scan(body, start, (a.inputs, a.inputs_rest))
    return losses, aux, gradient, state, trace


def _windowed(plan: Plan, arguments: Arguments, trace: ETrace, size: int, length: int) -> Found:
    """Window by window. What a window does to the traces is folded in at the start of the next one, in place."""
    a = arguments
    count, left = divmod(length, size)
    inputs = (a.inputs, a.inputs_rest)

    def run(state: Carry, values: TraceValues, now: Stacked) -> Window:
        return _one_window(plan, Arguments(a.parameters, a.model_rest, state, *now), values)

    def body(carry: tuple[Arrays, Carry, TraceValues, Drives, Any], now: Stacked) -> Any:
        gradient, state, values, drives, started = carry
        values = advance_window(plan, values, drives, started)
        found = run(state, values, now)
        return (add(gradient, found.gradient), found.state, values, found.drives, True), (found.loss, found.aux)

    windows = jax.tree.map(lambda x: x[: count * size].reshape(count, size, *x.shape[1:]), inputs)
    values = advance(plan, trace.values, trace.pending)
    none = tuple(jax.tree.map(lambda x: jnp.zeros((size, *x.shape), x.dtype), drive) for drive in trace.pending)
    start = ([jnp.zeros_like(p) for p in a.parameters], a.state, values, none, jnp.asarray(False))
    (gradient, state, values, drives, _), (losses, aux) = jax.lax.scan(body, start, windows)
    losses, aux = jax.tree.map(lambda x: x.reshape(count * size, *x.shape[2:]), (losses, aux))
    if left:
        values = advance_window(plan, values, drives)
        found = run(state, values, jax.tree.map(lambda x: x[count * size :], inputs))
        gradient, state, drives = add(gradient, found.gradient), found.state, found.drives
        losses, aux = jax.tree.map(lambda x, y: jnp.concatenate([x, y]), (losses, aux), (found.loss, found.aux))
    return losses, aux, gradient, state, _settle(plan, values, drives, trace)


def _settle(plan: Plan, values: TraceValues, drives: Drives, trace: ETrace) -> ETrace:
    """Fold in all of a window but its last step, which stays pending."""
    steps = next((x.shape[0] for x in jax.tree.leaves(drives)), 1)
    if steps > 1:
        values = advance_window(plan, values, jax.tree.map(lambda x: x[:-1], drives))
    return ETrace(values, jax.tree.map(lambda x: x[-1], drives), trace.owner, trace.inputs)


def etrace_value_and_grad(
    loss_step: Callable[..., Any], rule: Rule, *, window: int = 1, has_aux: bool = False
) -> ETraceGrad:
    """Online gradients of a loss, with its value.

        online = etrace_value_and_grad(loss_step, DRTRL())
        trace = online.init(model, state, x, y)
        (loss, grads), state, trace = online(model, state, trace, x, y)                     # one step
        (losses, grads), state, trace = online.scan(model, state, trace, xs, ys, window=32)  # many

    **Arguments**

    - `loss_step`: `loss_step(model, state, *inputs) -> (loss, new_state)`, pure; the loss is a real scalar.
    - `rule`: a rule such as `DRTRL()`, or a function from a `ParamRelation` to a rule.
    - `window`: how many of the most recent steps are differentiated exactly, in reverse mode, before credit is handed
      to the trace. 1 is online learning, T is BPTT; 0 is the literature's estimator, without the exact step. A window
      never reaches back beyond the call it is used in.
    - `has_aux`: the step returns `((loss, aux), new_state)`.

    **Returns**

    What `equinox.filter_value_and_grad` returns, then the two carries: `(loss, grads), state, trace`, or
    `((loss, aux), grads), state, trace`. Gradients are for the inexact arrays of the model and None elsewhere.

    Every parameter, readouts and encoders included, has at least its exact within-window gradient. What the rule drops
    beyond that is said by `ETraceGraph.report`.

    **Raises** `TypeError` or `ValueError` for a state that changes across the step, a loss that is no real scalar, a
    trace of another graph or rule, a window that is negative or no integer.
    """
    return ETraceGrad(loss_step, check_rule(rule), check_window(window), has_aux, True)


def etrace_grad(loss_step: Callable[..., Any], rule: Rule, *, window: int = 1, has_aux: bool = False) -> ETraceGrad:
    """As `etrace_value_and_grad`, without the value: `grads, state, trace`, or `(grads, aux), state, trace`."""
    return ETraceGrad(loss_step, check_rule(rule), check_window(window), has_aux, False)

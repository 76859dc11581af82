"""`etrace_grad` and `etrace_value_and_grad`: online gradients of a loss."""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from ._explicit import with_automatic_axes
from ._given import check_flag
from ._read import naming_leaks
from ._source import definition_line
from ._spend import (
    Call,
    check_inputs,
    check_no_trace,
    check_rule,
    check_step,
    check_trace,
    check_window,
    Estimate,
    ETrace,
    init_beside,
    make_plan,
    many_steps,
    one_step,
    Plan,
    RuleOrChoice,
    settle,
    time_steps,
    trace_sharding,
)
from ._tell import ETraceGraph


class ETraceGrad(eqx.Module):
    """What `etrace_grad` and `etrace_value_and_grad` return."""

    loss_step: Callable[..., Any]
    rule: RuleOrChoice
    window: int = eqx.field(static=True)
    has_aux: bool = eqx.field(static=True)
    with_value: bool = eqx.field(static=True)

    def init(self, model: PyTree, state: PyTree, *inputs: Any) -> ETrace:
        """The traces before the first step: zeros. Inputs are those of one step."""
        check_no_trace((model, state, *inputs))
        return init_beside(self._planned(model, state, inputs), model, state)

    def trace_sharding(self, model: PyTree, state: PyTree, *inputs: Any) -> ETrace:
        """How the traces lie on a mesh of devices: each beside the states that it is about.

        A lane's numbers lie where the lane does, a unit's where the unit does; what belongs to no shard of the state
        lies on every device. `init` puts them there by itself. This is for programs that are compiled ahead of time.

        **Arguments** as `init`: arrays on a mesh, or `jax.ShapeDtypeStruct`s with a `sharding`.

        **Returns** an `ETrace` with a `NamedSharding` in place of every array.

        **Raises** `ValueError` if no array of the model or the state lies on a mesh.
        """
        return trace_sharding(self._planned(model, state, inputs), model, state)

    def graph(self, model: PyTree, state: PyTree, *inputs: Any) -> ETraceGraph:
        """The graph of the step. Inputs are those of one step."""
        return ETraceGraph(self._planned(model, state, inputs).analysis)

    def __call__(self, model: PyTree, state: PyTree, trace: ETrace, *inputs: Any) -> tuple[Any, PyTree, ETrace]:
        """One step: `(gradients, state, trace)`, or `((loss, gradients), state, trace)`.

        **Raises** `ValueError` for a transform with a window of more than one step, which is that of `scan`.
        """
        _check_single(self.window)
        check_trace(trace, model, state)
        check_inputs(trace.inputs, inputs, self.loss_step)
        arguments = model, state, trace, *inputs
        return with_automatic_axes(self._call, arguments, lambda: self._types(model, state, trace))

    def _call(self, model: PyTree, state: PyTree, trace: ETrace, *inputs: Any) -> tuple[Any, PyTree, ETrace]:
        with naming_leaks(self.loss_step):
            call = Call.bind(self._plan(model, state, inputs), model, state, trace, inputs)
            step = one_step(call, trace.values, self.window)
        return self._result(call, trace, step._replace(gradient=step.gradient.stacked))

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
        check_trace(trace, model, state)
        arguments = model, state, trace, *inputs
        scanned = functools.partial(self._scan, self.window if window is None else check_window(window))
        return with_automatic_axes(scanned, arguments, lambda: self._types(model, state, trace))

    def _scan(
        self, window: int, model: PyTree, state: PyTree, trace: ETrace, *inputs: Any
    ) -> tuple[Any, PyTree, ETrace]:
        length = time_steps(inputs)
        steps = min(window, length)
        first = jax.tree.map(lambda x: jax.eval_shape(lambda x: x[0], x) if eqx.is_array(x) else x, inputs)
        check_inputs(trace.inputs, first, self.loss_step, length)
        try:
            plan = self._plan(model, state, first)
            call = Call.bind(plan, model, state, trace, inputs)
        except Exception as error:
            error.add_note(
                f"`scan` took the leading axis of every array among its inputs, {length}, for time; close over what "
                "stays the same, frozen parameters for example."
            )
            raise
        with naming_leaks(self.loss_step):
            return self._result(call, trace, many_steps(call, trace.values, steps, length))

    def _types(self, model: PyTree, state: PyTree, trace: ETrace) -> Any:
        """What the arrays of a result are of a type with: losses and what is beside them are cut by no axis."""
        gradients = eqx.filter(model, eqx.is_inexact_array)
        if self.with_value:
            return (None, gradients), state, trace
        return ((gradients, None) if self.has_aux else gradients), state, trace

    def _planned(self, model: PyTree, state: PyTree, inputs: tuple[Any, ...]) -> Plan:
        """The plan, made where axes are automatic."""
        return with_automatic_axes(self._plan, (model, state, inputs))

    def _plan(self, model: PyTree, state: PyTree, inputs: tuple[Any, ...]) -> Plan:
        plan = make_plan(self.loss_step, self.rule, model, state, inputs, has_aux=self.has_aux)
        _check_loss(plan, definition_line(self.loss_step), self.has_aux)
        return plan

    def _result(self, call: Call, trace: ETrace, found: Estimate) -> tuple[Any, PyTree, ETrace]:
        step = call.step
        on_weights = settle(call, found.gradient)
        gradients = step.model.join(call.pull_to_parameters(on_weights), None)
        value = (found.loss, step.aux.join(*found.aux)) if self.has_aux else found.loss
        if self.with_value:
            first: Any = (value, gradients)
        else:
            first = (gradients, step.aux.join(*found.aux)) if self.has_aux else gradients
        new_state = step.state.join(found.state.inexact, found.state.rest)
        return first, new_state, trace.holding(found.advance(on_weights))


def _check_single(window: int) -> None:
    if window > 1:
        raise ValueError(
            f"This transform was made with `window={window}`, but a call sees one step: nothing before it "
            "could be differentiated exactly. Pass several steps to `.scan`, whose window this is, or make a transform "
            "with `window=1` (or 0) for single steps; the traces of both are the same, so they can take turns."
        )


def _check_loss(plan: Plan, where: str, has_aux: bool) -> None:
    step = plan.analysis.step
    arrays = [a for a in step.out.arrays if a is not None]
    leaves = len(step.out.arrays)
    advice = "" if has_aux else " To return more than the loss, return `((loss, aux), state)` and pass `has_aux=True`."
    if leaves == 1 and not arrays:
        raise TypeError(f"The loss of {where} must be one scalar array; it is the Python value {step.out.static[0]!r}.")
    if leaves != 1:
        raise TypeError(f"The loss of {where} must be one scalar array; it is a pytree with {leaves} leaves.{advice}")
    loss = arrays[0]
    if loss.shape != ():
        raise TypeError(
            f"The loss of {where} must be a scalar; it has shape {loss.shape}. Reduce it, for example with `jnp.mean`, "
            "or use `etrace_vjp`, which takes a cotangent for any output."
        )
    if not jnp.issubdtype(loss.dtype, jnp.floating):
        raise TypeError(f"The loss of {where} must be a real floating-point number; its dtype is {loss.dtype}.")


def etrace_value_and_grad(
    loss_step: Callable[..., Any], rule: RuleOrChoice, *, window: int = 1, has_aux: bool = False
) -> ETraceGrad:
    """Online gradients of a loss, with its value.

        online = etrace_value_and_grad(loss_step, DRTRL())
        trace = online.init(model, state, x, y)
        (loss, grads), state, trace = online(model, state, trace, x, y)                     # one step
        (losses, grads), state, trace = online.scan(model, state, trace, xs, ys, window=32)  # many

    **Arguments**

    - `loss_step`: `loss_step(model, state, *inputs) -> (loss, new_state)`, pure; the loss is a real scalar.
    - `rule`: a rule such as `DRTRL()`, or a function from a `ParamRelation` to a rule. The function is asked of
      relations only: a parameter without one, such as the first layer of an encoder, has a trace only under one `RTRL`
      or `SnAp` for everything.
    - `window`: how many of the most recent steps are differentiated exactly, in reverse mode, before credit is handed
      to the trace. 1 is online learning, T is BPTT; 0 is the literature's estimator, without the exact step: it misses
      what the loss takes from the old state other than through the new states that a trace is of (the report says for
      which parameters). A window never reaches back beyond the call it is used in, so that more than 1 is for `scan`.
    - `has_aux`: the step returns `((loss, aux), new_state)`.

    **Returns**

    What `equinox.filter_value_and_grad` returns, then the two carries: `(loss, grads), state, trace`, or
    `((loss, aux), grads), state, trace`. Gradients are for the inexact arrays of the model and None elsewhere.

    Every parameter, readouts and encoders included, has at least its exact within-window gradient. What the rule drops
    beyond that is said by `ETraceGraph.report`.

    **Raises** `TypeError` or `ValueError` for a state that changes across the step, a loss that is no real scalar, a
    trace of other parameters, groups, sizes or rules, a window that is negative or no integer.
    """
    return ETraceGrad(
        check_step(loss_step), check_rule(rule), check_window(window), check_flag("has_aux", has_aux), True
    )


def etrace_grad(
    loss_step: Callable[..., Any], rule: RuleOrChoice, *, window: int = 1, has_aux: bool = False
) -> ETraceGrad:
    """As `etrace_value_and_grad`, without the value: `grads, state, trace`, or `(grads, aux), state, trace`."""
    return ETraceGrad(
        check_step(loss_step), check_rule(rule), check_window(window), check_flag("has_aux", has_aux), False
    )

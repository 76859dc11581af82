"""`etrace_grad` and `etrace_value_and_grad`: online gradients of a loss."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from ._carry import Jacobians
from ._source import definition_line
from ._spend import (
    add,
    advance,
    advance_over,
    advance_window,
    Arguments,
    Arrays,
    at_window_0,
    Carry,
    check_rule,
    check_trace,
    check_window,
    effective_weights,
    ETrace,
    factors_of,
    fixed_values,
    Gradient,
    hand_over,
    is_closed,
    Left,
    make_plan,
    no_shifts,
    Plan,
    Rule,
    settle,
    stacked,
    step_jacobians,
    steps_to_keep,
    take_arguments,
    take_closed_step,
    take_step,
    to_parameters,
    TraceValues,
    unrolled,
    Values,
    window_of,
    with_past,
)
from ._tell import ETraceGraph

Stacked = tuple[Arrays, Arrays]
"""The inexact and the other inputs, with a leading time axis."""


class Found(NamedTuple):
    """What one step, or one window, gives."""

    loss: jax.Array
    aux: tuple[Arrays, Arrays]
    gradient: Gradient
    """Its factors are stacked along time, but for `_one_step`."""
    state: Carry
    advance: Callable[[Arrays], TraceValues]
    """The traces after it; to be called with arrays that must be known first, such as the sum of all gradients."""
    jacobians: Jacobians | None = None
    """What one step did to the traces; None if no factors are left of these."""


Run = Callable[[Arguments, TraceValues, int], Found]
"""A chunk of so many steps."""


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
        """One step: `(gradients, state, trace)`, or `((loss, gradients), state, trace)`.

        **Raises** `ValueError` for a transform with a window of more than one step, which is that of `scan`.
        """
        _check_single(self.window)
        check_trace(trace)
        plan = self._plan(model, state, inputs)
        plan.check(trace)
        arguments = take_arguments(plan, model, state, inputs)
        fixed = fixed_values(plan, arguments)
        found = _one_step(plan, fixed, arguments, trace.values, self.window)
        return self._result(plan, fixed, arguments, trace, found._replace(gradient=stacked(found.gradient)))

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
        length = time_steps(inputs)
        steps = min(self.window if window is None else check_window(window), length)
        first = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype) if eqx.is_array(x) else x, inputs)
        try:
            plan = self._plan(model, state, first)
            plan.check(trace)
        except Exception as error:
            error.add_note(
                f"`scan` took the leading axis of every array among its inputs, {length}, for time; close over what "
                "stays the same, frozen parameters for example."
            )
            raise
        arguments = take_arguments(plan, model, state, inputs)
        fixed = fixed_values(plan, arguments)

        def run(chunk: Arguments, values: TraceValues, size: int) -> Found:
            return (
                _one_window(plan, fixed, chunk, values, size)
                if steps > 1
                else _steps(plan, fixed, chunk, values, steps)
            )

        size = steps if steps > 1 else steps_to_keep(plan, length)
        found = _chunked(plan, fixed, arguments, trace.values, size, length, run)
        return self._result(plan, fixed, arguments, trace, found)

    def _plan(self, model: PyTree, state: PyTree, inputs: tuple[Any, ...]) -> Plan:
        plan = make_plan(self.loss_step, self.rule, model, state, inputs, has_aux=self.has_aux)
        _check_loss(plan, definition_line(self.loss_step), self.has_aux)
        return plan

    def _result(
        self, plan: Plan, fixed: Values, arguments: Arguments, trace: ETrace, found: Found
    ) -> tuple[Any, PyTree, ETrace]:
        step = plan.analysis.step
        on_weights = settle(plan, fixed, found.gradient)
        gradients = step.model.join(to_parameters(plan, arguments, on_weights), None)
        value = (found.loss, step.aux.join(*found.aux)) if self.has_aux else found.loss
        if self.with_value:
            first: Any = (value, gradients)
        else:
            first = (gradients, step.aux.join(*found.aux)) if self.has_aux else gradients
        return (
            first,
            step.state.join(found.state.inexact, found.state.rest),
            trace.holding(found.advance(on_weights)),
        )


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


def time_steps(inputs: tuple[Any, ...]) -> int:
    """The length of the leading axis of every input."""
    arrays = [x for x in jax.tree.leaves(inputs) if eqx.is_array(x)]
    if not arrays or any(x.ndim == 0 for x in arrays):
        raise ValueError(
            "`scan` runs over the leading time axis of its inputs, but "
            + ("there is no array among them." if not arrays else "one of them is a scalar and has no axis.")
            + " Pass arrays with a leading time axis; close over what stays the same."
        )
    length = arrays[0].shape[0]
    if any(x.shape[0] != length for x in arrays):
        named = [(jax.tree_util.keystr(path), x) for path, x in jax.tree_util.tree_leaves_with_path(inputs)]
        shapes = ", ".join(f"inputs{path} has shape {list(x.shape)}" for path, x in named if eqx.is_array(x))
        raise ValueError(
            f"The leading time axes of the inputs of `scan` differ: {shapes}. `scan` takes many steps: every array has "
            "a time axis first, of one length. For a single step call the transform itself."
        )
    if length == 0:
        raise ValueError("The inputs of `scan` have a leading time axis of length 0; there is no step to take.")
    return length


def _one_step(plan: Plan, fixed: Values, arguments: Arguments, values: TraceValues, window: int) -> Found:
    if is_closed(plan):
        done = take_closed_step(plan, fixed, arguments, values)
        aux = (done.aside.aux_inexact, done.aside.aux_rest)
        return Found(done.out[0], aux, done.gradient, done.new, lambda _: done.values)
    step = take_step(plan, fixed, arguments)
    on_out, on_new = [jnp.ones_like(step.out[0])], [jnp.zeros_like(s) for s in step.new.inexact]
    own, on_old, _ = step.pull(on_out, on_new)
    aux = (step.aside.aux_inexact, step.aside.aux_rest)
    if window == 0:
        advanced = advance(plan, values, step.jacobians, step.entries)
        total = at_window_0(plan, fixed, arguments, step, advanced)(own, on_out, on_new)
        return Found(step.out[0], aux, total, step.new, lambda _: advanced, step.jacobians)
    total = with_past(plan, own, hand_over(plan, values, on_old))

    def after(first: Arrays) -> TraceValues:
        entries = None if step.entries is None else step.entries.after(first)
        return advance(plan, values, step.jacobians.after(first), entries)

    return Found(step.out[0], aux, total, step.new, after, step.jacobians)


def _one_window(plan: Plan, fixed: Values, arguments: Arguments, values: TraceValues, size: int) -> Found:
    """A window of steps, differentiated as one, and handed over to the traces of its first state."""
    variables = effective_weights(plan, fixed), arguments.state.inexact, no_shifts(plan, size)
    (out, new), pull, aside = jax.vjp(window_of(plan, fixed, arguments), *variables, has_aux=True)
    direct, on_old, on_heads = pull(([jnp.ones_like(out[0])], [jnp.zeros_like(s) for s in new]))
    own = Gradient(direct, factors_of(plan, aside.taps, on_heads))
    total = with_past(plan, own, hand_over(plan, values, on_old))

    def advanced(first: Arrays) -> TraceValues:
        by_position = advance_window(plan, values, step_jacobians(plan, fixed, aside.taps), first)
        return (*by_position, *advance_over(plan, fixed, arguments, values[len(plan.traces) :]))

    aux = (aside.aux_inexact, aside.aux_rest)
    return Found(out[0], aux, total, Carry(new, aside.state_rest), advanced)


def _steps(plan: Plan, fixed: Values, arguments: Arguments, start: TraceValues, window: int) -> Found:
    """Step by step, for windows 0 and 1; what stays factors is stacked along time."""

    def body(carry: tuple[Arrays, Carry, TraceValues], now: Stacked) -> Any:
        direct, state, values = carry
        found = _one_step(plan, fixed, _at(arguments, state, now), values, window)
        total = add(direct, found.gradient.direct)
        left = {number: _left(plan, found, number) for number in found.gradient.traces}
        return (total, found.state, found.advance(total)), (found.loss, found.aux, found.gradient.heads, left)

    begin = ([jnp.zeros_like(w) for w in effective_weights(plan, fixed)], arguments.state, start)
    (direct, state, values), stacks = jax.lax.scan(body, begin, (arguments.inputs, arguments.inputs_rest))
    losses, aux, heads, left = stacks
    before = with_past(
        plan, Gradient(direct), hand_over(plan, start, [jnp.zeros_like(s) for s in state.inexact])
    ).traces
    total = unrolled(plan, Gradient(direct, heads), left, before, advanced=window == 0)
    return Found(losses, aux, total, state, lambda _: values)


def _left(plan: Plan, found: Found, number: int) -> Left:
    """What one step leaves to be multiplied later, of a factored trace."""
    product, trace = found.gradient.traces[number], plan.traces[number]
    assert found.jacobians is not None
    return Left(product.rows, *product.discount(found.jacobians.drive(trace)))


def _chunked(
    plan: Plan, fixed: Values, arguments: Arguments, values: TraceValues, size: int, length: int, run: Run
) -> Found:
    """Chunk by chunk, gradients settled and summed; the last chunk may be shorter."""
    count, left = divmod(length, size)
    inputs = (arguments.inputs, arguments.inputs_rest)

    def body(carry: tuple[Arrays, Carry, TraceValues], start: jax.Array) -> Any:
        total, state, values = carry
        here = jax.tree.map(lambda x: jax.lax.dynamic_slice_in_dim(x, start, size), inputs)
        found = run(_at(arguments, state, here), values, size)
        total = add(total, settle(plan, fixed, found.gradient))
        return (total, found.state, found.advance(total)), (found.loss, found.aux)

    begin = ([jnp.zeros_like(w) for w in effective_weights(plan, fixed)], arguments.state, values)
    (total, state, values), kept = jax.lax.scan(body, begin, jnp.arange(0, count * size, size))
    losses, aux = jax.tree.map(lambda x: x.reshape(count * size, *x.shape[2:]), kept)
    if not left:
        return Found(losses, aux, Gradient(total), state, lambda _: values)
    last = run(_at(arguments, state, jax.tree.map(lambda x: x[count * size :], inputs)), values, left)
    losses, aux = jax.tree.map(lambda x, y: jnp.concatenate([x, y]), (losses, aux), (last.loss, last.aux))
    more = last.gradient
    return Found(losses, aux, Gradient(add(total, more.direct), more.heads, more.traces), last.state, last.advance)


def _at(arguments: Arguments, state: Carry, inputs: Stacked) -> Arguments:
    return Arguments(arguments.parameters, arguments.model_rest, state, *inputs)


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
    return ETraceGrad(loss_step, check_rule(rule), check_window(window), has_aux, True)


def etrace_grad(loss_step: Callable[..., Any], rule: Rule, *, window: int = 1, has_aux: bool = False) -> ETraceGrad:
    """As `etrace_value_and_grad`, without the value: `grads, state, trace`, or `(grads, aux), state, trace`."""
    return ETraceGrad(loss_step, check_rule(rule), check_window(window), has_aux, False)

"""`etrace_vjp`: the primitive under the gradient transforms."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jax.core import eval_jaxpr
from jaxtyping import PyTree

from ._explicit import with_automatic_axes
from ._jax import opened
from ._read import Layout, naming_leaks
from ._spend import (
    advance,
    Arrays,
    at_window_0,
    at_window_1,
    Call,
    check_inputs,
    check_no_trace,
    check_rule,
    check_step,
    check_trace,
    check_window,
    ETrace,
    init_beside,
    make_plan,
    Plan,
    RuleOrChoice,
    settle,
    split_cotangents,
    take_step,
    trace_sharding,
)
from ._tell import ETraceGraph


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
        on_out = split_cotangents(self.out, out, out_cotangent, "output")
        on_state = [jnp.zeros_like(s) for s in self.new_state]
        if state_cotangent is not None:
            on_state = split_cotangents(self.new_state, state, state_cotangent, "state")

        def pull(known: Arrays, cotangents: Arrays) -> Arrays:
            return list(eval_jaxpr(self.jaxpr, known, *cotangents))

        found = with_automatic_axes(pull, (self.known, [*on_out, *on_state]), lambda: None)
        on_model, on_inputs = jtu.tree_unflatten(self.structure, found)
        return model.join(on_model, None), inputs.join(on_inputs, None)

    def __copy__(self) -> "Pullback":
        return self

    def __deepcopy__(self, memo: Any) -> "Pullback":
        """Arrays of its own, and the same program."""
        return jax.tree.map(jnp.copy, self)

    def __reduce__(self) -> Any:
        raise TypeError(
            "A pullback cannot be pickled: it holds a staged program, which JAX cannot pickle. Call it before, or "
            "pickle the model, state, trace and inputs of its step and take the step again."
        )


class ETraceVJP(eqx.Module):
    """What `etrace_vjp` returns."""

    step: Callable[..., Any]
    rule: RuleOrChoice
    window: int = eqx.field(static=True)

    def __call__(
        self, model: PyTree, state: PyTree, trace: ETrace, *inputs: Any
    ) -> tuple[PyTree, PyTree, ETrace, Pullback]:
        """One step: `out, state, trace, pullback`."""
        check_trace(trace, model, state)
        check_inputs(trace.inputs, inputs, self.step)
        arguments = model, state, trace, *inputs
        return with_automatic_axes(self._call, arguments, lambda: (None, state, trace, None))

    def _call(
        self, model: PyTree, state: PyTree, trace: ETrace, *inputs: Any
    ) -> tuple[PyTree, PyTree, ETrace, Pullback]:
        with naming_leaks(self.step):
            plan = self._plan(model, state, inputs)
            call = Call.bind(plan, model, state, trace, inputs)
            done = take_step(call, by_inputs=True)
            values = advance(call, trace.values, done.transition)
            at_0 = at_window_0(call, done, values) if self.window == 0 else None

        def pull(on_out: Arrays, on_new: Arrays) -> tuple[Arrays, Arrays]:
            own, on_old, on_inputs = done.pull(on_out, on_new)
            total, _ = at_window_1(call, own, on_old, trace.values) if at_0 is None else at_0(own, on_out, on_new)
            return call.pull_to_parameters(settle(call, total.stacked)), on_inputs

        pullback = _as_pytree(pull, done.out, done.new.inexact, call)
        out = call.step.out.join(done.out, done.aside.out_rest)
        return out, call.step.state.join(done.new.inexact, done.new.rest), trace.holding(values), pullback

    def init(self, model: PyTree, state: PyTree, *inputs: Any) -> ETrace:
        """The traces before the first step: zeros."""
        check_no_trace((model, state, *inputs))
        return init_beside(self._planned(model, state, inputs), model, state)

    def trace_sharding(self, model: PyTree, state: PyTree, *inputs: Any) -> ETrace:
        """How the traces lie on a mesh of devices, as that of `ETraceGrad`."""
        return trace_sharding(self._planned(model, state, inputs), model, state)

    def graph(self, model: PyTree, state: PyTree, *inputs: Any) -> ETraceGraph:
        """The graph of the step."""
        return ETraceGraph(self._planned(model, state, inputs).analysis)

    def _planned(self, model: PyTree, state: PyTree, inputs: tuple[Any, ...]) -> Plan:
        """The plan, made where axes are automatic."""
        return with_automatic_axes(self._plan, (model, state, inputs))

    def _plan(self, model: PyTree, state: PyTree, inputs: tuple[Any, ...]) -> Plan:
        return make_plan(self.step, self.rule, model, state, inputs, pulls_state=True)


def _as_pytree(pull: Callable[[Arrays, Arrays], Any], out: Arrays, new_state: Arrays, call: Call) -> Pullback:
    """The pullback, staged: what it closes over becomes constants, which are arrays that it holds."""
    nothing = jax.tree.map(jnp.zeros_like, (out, new_state))
    staged, shapes = jax.make_jaxpr(pull, return_shape=True)(*nothing)
    jaxpr, known = opened(staged)
    layouts = call.step.model, call.step.state, call.step.inputs, call.step.out
    return Pullback(list(known), out, new_state, jaxpr, jtu.tree_structure(shapes), layouts)


def etrace_vjp(step: Callable[..., Any], rule: RuleOrChoice, *, window: int = 1) -> ETraceVJP:
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
    return ETraceVJP(check_step(step), check_rule(rule), check_window(window))

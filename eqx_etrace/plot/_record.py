"""Traces and learning signals, step by step: what the gradient of a few weights is made of."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .._grad import ETraceGrad
from .._spend import check_trace, ETrace, time_steps
from .._vjp import etrace_vjp
from ._axes import named_leaves


class Recording(eqx.Module):
    r"""What the gradient of a few weights is made of, along time.

    At every step: `gradient = direct + sum over the states of signal * trace`. The sum is `carried`, the credit of the
    past, and `direct` is what the weight does to the loss within the step.
    """

    trace: PyTree[Float[Array, "time entries ..."]]
    r"""As the state, `[time, entries, *state]`: $dh_{t-1} / dw$ as the rule has it, the trace that step t finds."""
    signal: PyTree[Float[Array, "time ..."]]
    r"""As the state, `[time, *state]`: $d\ell_t / dh_{t-1}$, the learning signal that meets it."""
    carried: Float[Array, "time entries"]
    """Their product, summed over the states."""
    gradient: Float[Array, "time entries"]
    """The gradient of each step, that of the transform with `window=1`."""
    loss: Float[Array, " time"]
    """The loss of each step."""
    parameter: tuple[Any, ...] = eqx.field(static=True)
    """The path of the parameter."""
    entries: tuple[tuple[int, ...], ...] = eqx.field(static=True)
    """The indices of the weights in it."""


def record(
    online: ETraceGrad,
    model: PyTree,
    state: PyTree,
    trace: ETrace,
    *inputs: Any,
    parameter: Sequence[Any],
    entries: Sequence[Any],
) -> tuple[Recording, PyTree, ETrace]:
    r"""Many steps at fixed parameters, with the traces of a few weights and the signals that they meet.

        recording, state, trace = record(
            online, model, state, trace, xs, ys, parameter=("cell", "weight"), entries=[(0, 3), (1, 2)]
        )

    $$g_t = \frac{\partial \ell_t}{\partial w} + \frac{d \ell_t}{d h_{t-1}} \, e_{t-1}$$

    It is the gradient of the transform with a window of 1, whatever the window of `online` is: there the trace that
    meets the signal is the one before the step, and the step itself is differentiated exactly. The trace is read by
    pulling back from the states, so that it is that of the parameter itself, under any rule: for `DRTRL` it is zero but
    at the unit of the weight and at readouts that filter it, for `RTRL` it reaches other units.

    **Arguments**

    - `online`: what `etrace_grad` or `etrace_value_and_grad` returns.
    - `model`, `state`, `trace`: as for `online.scan`.
    - `inputs`: every array among them has a leading time axis, as for `online.scan`.
    - `parameter`: the path of an array of the model, as in a report: `("cell", "weight")`.
    - `entries`: indices of weights in it: `(i, j)`, of a vector also `i`. A step costs a pass for each.

    **Returns** a `Recording`, and the state and the trace after the last step. It may be compiled.

    **Raises** `ValueError` for a path that is none, an index outside the array, complex parameters or states, and for a
    step whose inputs go through a while loop, which JAX cannot pull back; `TypeError` or `ValueError` as `online.scan`.
    """
    if not isinstance(online, ETraceGrad):
        raise TypeError(
            f"`online` must be what `etrace_grad` or `etrace_value_and_grad` returns; found `{type(online).__name__}`."
        )
    check_trace(trace)
    time_steps(inputs)
    place, chosen = _place(model, parameter, entries)
    _check_real(model, state)
    changing, fixed = eqx.partition(inputs, eqx.is_array)
    arrays, rest = eqx.partition(state, eqx.is_array)

    def body(carry: tuple[PyTree, ETrace], now: PyTree) -> tuple[tuple[PyTree, ETrace], tuple[PyTree, ...]]:
        arrays, trace = carry
        found, new, trace = _step(
            online, model, eqx.combine(arrays, rest), trace, eqx.combine(now, fixed), place, chosen
        )
        return (eqx.filter(new, eqx.is_array), trace), found

    (arrays, trace), found = jax.lax.scan(body, (arrays, trace), changing)
    rows, signal, carried, gradient, loss = found
    recording = Recording(
        trace=rows,
        signal=signal,
        carried=carried,
        gradient=gradient,
        loss=loss,
        parameter=tuple(parameter),
        entries=chosen,
    )
    return recording, eqx.combine(arrays, rest), trace


def _step(
    online: ETraceGrad, model: PyTree, state: PyTree, trace: ETrace, now: Any, place: int, entries: tuple[Any, ...]
) -> tuple[tuple[PyTree, ...], PyTree, ETrace]:
    """Trace, signal, what is carried, gradient and loss of one step; the state and the trace after it."""

    def loss_of(model: PyTree, state: PyTree, *now: Any) -> tuple[Array, PyTree]:
        out, new = online.loss_step(model, state, *now)
        return (out[0] if online.has_aux else out), new

    def remembering(model: PyTree, state: PyTree, *now: Any) -> tuple[PyTree, PyTree]:
        """The step, with the state before it beside the loss: what comes back to that meets the trace alone."""
        loss, new = loss_of(model, state, *now)
        return (loss, eqx.filter(state, eqx.is_inexact_array)), new

    (loss, old), new, after, pull = etrace_vjp(remembering, online.rule)(model, state, trace, *now)
    index = tuple(jnp.asarray(axis) for axis in zip(*entries, strict=True))

    def on_entries(on_loss: Array, on_old: PyTree) -> Array:
        return jax.tree.leaves(pull((on_loss, on_old))[0])[place][index]

    nothing = jax.tree.map(jnp.zeros_like, old)
    rows = jax.jacrev(on_entries, 1)(jnp.zeros_like(loss), nothing)  # linear in what comes back: the same anywhere
    inexact, other = eqx.partition(state, eqx.is_inexact_array)
    signal = jax.grad(lambda s: loss_of(model, eqx.combine(s, other), *now)[0])(inexact)
    parts = [jnp.tensordot(r, s, s.ndim) for r, s in zip(jax.tree.leaves(rows), jax.tree.leaves(signal), strict=True)]
    gradient = on_entries(jnp.ones_like(loss), nothing)
    carried = sum((part.astype(gradient.dtype) for part in parts), jnp.zeros_like(gradient))
    return (rows, signal, carried, gradient, loss), new, after


def _place(model: PyTree, parameter: Sequence[Any], entries: Sequence[Any]) -> tuple[int, tuple[tuple[int, ...], ...]]:
    """Which leaf of the gradients, and indices in it."""
    leaves = named_leaves(eqx.filter(model, eqx.is_inexact_array))
    if isinstance(parameter, str) or tuple(parameter) not in leaves:
        raise ValueError(
            f"`parameter` is {parameter!r}, which is the path of no array of the model. They are "
            f"{', '.join(map(str, leaves))}."
        )
    shape = leaves[tuple(parameter)].shape
    chosen = tuple(tuple(map(int, e)) if isinstance(e, Sequence) else (int(e),) for e in entries)
    for entry in chosen:
        if len(entry) != len(shape) or not all(0 <= i < n for i, n in zip(entry, shape, strict=True)):
            raise ValueError(
                f"{list(entry)} is no index of {tuple(parameter)}, an array {list(shape)}: pass one number for each "
                "axis, from 0."
            )
    if not chosen or not shape:
        raise ValueError("`entries` must have at least one index, of an array with at least one axis.")
    return list(leaves).index(tuple(parameter)), chosen


def _check_real(model: PyTree, state: PyTree) -> None:
    for what, tree in (("parameter", model), ("state", state)):
        for path, leaf in named_leaves(eqx.filter(tree, eqx.is_inexact_array)).items():
            if jnp.iscomplexobj(leaf):
                raise ValueError(f"The {what} {path} is complex; traces and signals are recorded of real numbers only.")

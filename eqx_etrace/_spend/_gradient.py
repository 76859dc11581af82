"""Gradients of the effective weights while they are being summed.

What a head of the step, or a factored trace, adds to the gradient of its weight is a product as large as the weight,
made of factors as large as the activity. Factors are kept until `settle`: one product per weight for all the steps of
a window, or for a chunk of steps at fixed parameters.
"""

from collections.abc import Mapping, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact

from .._carry import Product, times
from .._read import Use
from ._plan import Plan
from ._run import Arrays, Values
from ._window import Share

_MOST_STEPS = 32
"""More steps side by side make a product no faster."""


class Factor(eqx.Module):
    """What a head met, and the cotangent of what it made of that."""

    x: Inexact[Array, "..."]
    on_output: Inexact[Array, "..."]

    def plus(self, more: Inexact[Array, "..."]) -> "Factor":
        """The same, a cotangent added."""
        return Factor(self.x, self.on_output + more.astype(self.on_output.dtype))


class Left(eqx.Module):
    """What one step leaves to be multiplied of a factored trace. Its x becomes keep * x + take * what the head met."""

    rows: Inexact[Array, "*t b m n"]
    keep: Inexact[Array, "*t b m"]
    take: Inexact[Array, "*t b m"]


class Gradient(eqx.Module):
    """A sum of cotangents of the effective weights, some of them as factors."""

    direct: Arrays
    """By effective weight."""
    heads: dict[int, Factor] = eqx.field(default_factory=dict)
    """By the variable that a head makes."""
    traces: dict[int, Product] = eqx.field(default_factory=dict)
    """By the number of a trace."""


def with_past(plan: Plan, gradient: Gradient, past: Sequence[Share | None]) -> Gradient:
    """A gradient with the shares of the traces, then of the influences, added."""
    direct = dict(zip(plan.analysis.body.weights, gradient.direct, strict=True))
    factors: dict[int, Product] = {}
    weights = [trace.weight for trace in plan.traces] + [influence.source.weight for influence in plan.influences]
    for number, (weight, share) in enumerate(zip(weights, past, strict=True)):
        if isinstance(share, Product):
            factors[number] = share
        elif share is not None:
            direct[weight] = direct[weight] + _as_dtype(share, direct[weight].dtype)
    return Gradient(list(direct.values()), gradient.heads, factors)


def with_rows(plan: Plan, gradient: Gradient, rows: Sequence[Inexact[Array, "..."] | None]) -> Gradient:
    """The gradient of one step, cotangents of what its heads made added; by trace, then by influence, in rows."""
    direct = dict(zip(plan.analysis.body.weights, gradient.direct, strict=True))
    heads = dict(gradient.heads)
    places = [(trace.weight, trace.output, trace.head) for trace in plan.traces]
    places += [(i.source.weight, i.source.output, i.head) for i in plan.influences]
    for (weight, output, head), found in zip(places, rows, strict=True):
        if found is None:
            continue
        if output is None:
            direct[weight] = direct[weight] + _as_dtype(head.to_weight(found), direct[weight].dtype)
        else:
            heads[output] = heads[output].plus(head.from_rows(found))
    return Gradient(list(direct.values()), heads, gradient.traces)


def factors_of(plan: Plan, taps: Arrays, on_outputs: Sequence[Array | None]) -> dict[int, Factor]:
    """What the heads of a step, or of a window of steps, met and got back; None for nothing."""
    values = dict(zip(plan.taps, taps, strict=True))
    heads = zip(plan.analysis.body.heads, on_outputs, strict=True)
    return {use.output: Factor(values[use.data], on_output) for use, on_output in heads if on_output is not None}


def settle(plan: Plan, fixed: Values, gradient: Gradient) -> Arrays:
    """Multiply out. Those of the heads are stacked along time."""
    found = dict(zip(plan.analysis.body.weights, gradient.direct, strict=True))
    for use in plan.analysis.body.heads:
        if use.output in gradient.heads:
            found[use.weight] = found[use.weight] + _pulled(use, fixed[use.weight], gradient.heads[use.output])
    for trace in plan.traces:
        if trace.number in gradient.traces:
            share = trace.head.pull(gradient.traces[trace.number])
            found[trace.weight] = found[trace.weight] + _as_dtype(share, found[trace.weight].dtype)
    return list(found.values())


def _as_dtype(share: Inexact[Array, "..."], dtype: np.dtype) -> Inexact[Array, "..."]:
    """Of a real weight that met complex data, the real part: a trace stands for Re(e dw)."""
    return (share if jnp.issubdtype(dtype, jnp.complexfloating) else share.real).astype(dtype)


def stacked(gradient: Gradient) -> Gradient:
    """The gradient of one step as that of a window."""
    return Gradient(gradient.direct, jax.tree.map(lambda x: x[None], gradient.heads), gradient.traces)


def _pulled(use: Use, weight: Array, factor: Factor) -> Array:
    first = use.operand == 0
    heads = jax.vmap(lambda w, x: use.equation.bind([w, x] if first else [x, w])[0], (None, 0))
    return jax.vjp(lambda w: heads(w, factor.x), weight)[1](factor.on_output)[0]


def unrolled(
    plan: Plan,
    gradient: Gradient,
    left: Mapping[int, Left],
    before: Mapping[int, Product],
    *,
    advanced: bool,
) -> Gradient:
    """The shares of factored traces at every step of a chunk, before or after the step advanced them, from their rows.

    A factored trace is a discounted sum of what its head met. So what is multiplied with it at one step can be
    multiplied, discounted, with what the head met at earlier steps, beside the head's own cotangent. What is left is
    one product with the trace before the chunk.
    """
    heads, traces = dict(gradient.heads), {}

    def back(later: Array, now: Left) -> tuple[Array, Array]:
        """From what later steps multiply with x after a step to the same of x before it, and of what the head met."""
        after = later + now.rows if advanced else later
        on_past = times(now.keep[..., None], after)
        return on_past if advanced else on_past + now.rows, times(now.take[..., None], after)

    for number, found in left.items():
        trace = plan.traces[number]
        assert trace.output is not None
        first, on_head = jax.lax.scan(back, jnp.zeros_like(found.rows[0]), found, reverse=True)
        traces[number] = Product(first, before[number].x, before[number].discount)
        heads[trace.output] = heads[trace.output].plus(jax.vmap(trace.head.from_rows)(on_head))
    return Gradient(gradient.direct, heads, traces)


def steps_to_keep(plan: Plan, length: int) -> int:
    """Over how many steps of `length` factors are kept: until they take twice the memory of the weights."""
    avals = plan.analysis.step.program.avals
    heads = plan.analysis.body.heads
    kept = sum(avals[v].size for use in heads for v in (use.data, use.output))
    kept += sum(int(np.prod(trace.rows)) for trace in plan.traces if trace.output is not None)
    worth = 2 * sum(avals[v].size for v in {use.weight for use in heads}) // max(kept, 1)
    most = max(1, min(length, _MOST_STEPS, worth))
    whole = max(size for size in range(1, most + 1) if length % size == 0)
    return whole if 2 * whole >= most else most

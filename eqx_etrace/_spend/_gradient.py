"""Gradients of the effective weights while they are being summed.

What a head of the step, or a factored trace, adds to the gradient of its weight is a product as large as the weight,
made of factors as large as the activity. Factors are kept until `settle`: one product per weight for all the steps of
a window, or for a chunk of steps at fixed parameters.
"""

from collections.abc import Mapping, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
from jaxtyping import Array, Inexact

from .._carry import FactoredShare, times
from .._read import Use
from .._sharding import scan
from ._call import Arrays, Call


class HeadFactors(eqx.Module):
    """What a head met, and the cotangent of what it made of that."""

    x: Inexact[Array, "..."]
    on_output: Inexact[Array, "..."]

    def plus(self, more: Inexact[Array, "..."]) -> "HeadFactors":
        """The same, a cotangent added."""
        return HeadFactors(self.x, self.on_output + more.astype(self.on_output.dtype))


class Left(eqx.Module):
    """What one step leaves to be multiplied of a factored trace. Its x becomes keep * x + take * what the head met."""

    rows: Inexact[Array, "*t b m n"]
    keep: Inexact[Array, "*t b m"]
    take: Inexact[Array, "*t b m"]


class Gradient(eqx.Module):
    """A sum of cotangents of the effective weights, some of them as factors."""

    direct: Arrays
    """By effective weight."""
    heads: dict[int, HeadFactors] = eqx.field(default_factory=dict)
    """By the variable that a head makes."""
    factored: dict[int, FactoredShare] = eqx.field(default_factory=dict)
    """By the number of a keeper of the call."""

    @property
    def stacked(self) -> "Gradient":
        """The gradient of one step as that of a window."""
        return Gradient(self.direct, jax.tree.map(lambda x: x[None], self.heads), self.factored)


def factors_of(call: Call, taps: Arrays, on_outputs: Sequence[Array | None]) -> dict[int, HeadFactors]:
    """What the heads of a step, or of a window of steps, met and got back; None for nothing."""
    values = dict(zip(call.plan.taps, taps, strict=True))
    heads = zip(call.plan.analysis.body.heads, on_outputs, strict=True)
    return {use.output: HeadFactors(values[use.data], on_output) for use, on_output in heads if on_output is not None}


def settle(call: Call, gradient: Gradient) -> Arrays:
    """Multiply out. Factors of the heads are stacked along time."""
    total = dict(zip(call.plan.analysis.body.weights, gradient.direct, strict=True))
    for use in call.plan.analysis.body.heads:
        if use.output in gradient.heads:
            total[use.weight] = total[use.weight] + _pulled(use, call.fixed[use.weight], gradient.heads[use.output])
    return multiplied(call, Gradient(list(total.values()), factored=gradient.factored)).direct


def multiplied(call: Call, gradient: Gradient) -> Gradient:
    """With the shares of factored traces multiplied out."""
    total = dict(zip(call.plan.analysis.body.weights, gradient.direct, strict=True))
    for number, share in gradient.factored.items():
        layout = call.keepers[number].layout
        total[layout.weight] = total[layout.weight] + as_dtype(layout.head.pull(share), total[layout.weight].dtype)
    return Gradient(list(total.values()), gradient.heads)


def as_dtype(share: Inexact[Array, "..."], dtype: np.dtype) -> Inexact[Array, "..."]:
    """Of a real weight that met complex data, the real part: a trace stands for Re(e dw)."""
    return (share if jnp.issubdtype(dtype, jnp.complexfloating) else share.real).astype(dtype)


def add(first: Arrays, *others: Arrays) -> Arrays:
    """The sum of gradients of the same weights."""
    return jtu.tree_map(lambda *leaves: sum(leaves[1:], leaves[0]), first, *others)


def _pulled(use: Use, weight: Array, factors: HeadFactors) -> Array:
    first = use.operand == 0
    heads = jax.vmap(lambda w, x: use.equation.bind([w, x] if first else [x, w])[0], (None, 0))
    return jax.vjp(lambda w: heads(w, factors.x), weight)[1](factors.on_output)[0]


def unrolled(
    call: Call, gradient: Gradient, left: Mapping[int, Left], before: Mapping[int, FactoredShare], *, advanced: bool
) -> Gradient:
    """The shares of factored traces at every step of a chunk, before or after the step advanced them, from their rows.

    A factored trace is a discounted sum of what its head met. So what is multiplied with it at one step can be
    multiplied, discounted, with what the head met at earlier steps, beside the head's own cotangent. What is left is
    one product with the trace before the chunk.
    """
    heads, factored = dict(gradient.heads), {}

    def back(later: Array, now: Left) -> tuple[Array, Array]:
        """From what later steps multiply with x after a step to the same of x before it, and of what the head met."""
        after = later + now.rows if advanced else later
        on_past = times(now.keep[..., None], after)
        return on_past if advanced else on_past + now.rows, times(now.take[..., None], after)

    for number, rows in left.items():
        layout = call.keepers[number].layout
        assert layout.output is not None
        first, on_head = scan(back, jnp.zeros_like(rows.rows[0]), rows, reverse=True)
        factored[number] = FactoredShare(first, before[number].x, before[number].discount)
        heads[layout.output] = heads[layout.output].plus(jax.vmap(layout.head.from_rows)(on_head))
    return Gradient(gradient.direct, heads, factored)

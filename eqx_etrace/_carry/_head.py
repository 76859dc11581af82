"""The head of a relation: how an effective weight w~ and data x make the output y.

Every head is bilinear, and every head is the same product once its arrays are laid out as

    y      [b, m, n]        n units, in m lanes that share a weight (the batch, the places of a convolution),
    x      [b, m, k]        b times over for b weights side by side (attention heads, convolution groups)
    w~     [b, n, k]        y[b, m, n] = sum_k w~[b, n, k] x[b, m, k]

so that the trace of one state is e[b, m, n, k] and

    outer        dh/dy[b, m, n] x[b, m, k]                        what one step adds to the trace
    contract     sum_m g[b, m, n] e[b, m, n, k]                   the learning signal meets the trace
    pull         sum_m g[b, m, n] x[b, m, k]                      the head's own VJP

A dense head contracts k, a convolution sees a patch as k, a lookup the rows of a table, of which it takes one. A weight
that is laid out by position itself has rows of its own shape and no k. Layout is speed: with lanes outermost and
features innermost every line above runs at the speed of memory.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact

from .._read import Contraction, Equation, find_lookup, Program
from .._sharding import is_laid_out_by_xla, scan, varying_as
from .._times import times
from ._status import entering, finite, lane_status, met, without_idle_lanes

_MOST_BLOCKS, _MOST_LANES = 32, 8
"""A contraction is a loop over blocks of lanes because XLA on the CPU would otherwise fuse the arithmetic that makes
the learning signal into it, and do it again for every element of the trace. It is short because every block reads and
writes the sum again; up to eight lanes of a block are read one by one, so that no XLA makes a copy of a block."""

Rows = Inexact[Array, "b m n"] | Inexact[Array, "..."]
Features = Inexact[Array, "b m k"] | None


class FactoredShare(eqx.Module):
    """The factors of what a factored trace adds to a gradient, sum_m rows[b, m, n] x[b, m, k]."""

    rows: Inexact[Array, "b m n"]
    x: Inexact[Array, "b m k"]
    """The x side of a factored trace: a sum of what the head met, discounted."""
    discount: Callable[..., Any]
    """From what one step does to the trace to (keep, take) by lane: x is then keep * x + take * what the head met."""


@dataclasses.dataclass(frozen=True)
class Head:
    """How to bring y, x and w~ into the common layout. `has_features` is false for an elementwise parameter."""

    shape: tuple[int, ...]
    """The shape of the trace of one state."""
    output: tuple[int, ...]
    """The shape of y."""
    has_features: bool
    to_rows: Callable[[Any], Any]
    """From the layout of y; for arrays of JAX and of NumPy alike."""
    to_features: Callable[[Array], Array]
    """From the layout of x."""
    to_weight: Callable[[Any], Any]
    """Back to the layout of w~; for arrays of JAX and of NumPy alike."""

    def outer(self, rows: Rows, x: Features) -> Inexact[Array, "..."]:
        return rows if x is None else rows[..., None] * x[:, :, None, :]

    def contract(
        self,
        rows: Sequence[Rows],
        e: Sequence[Inexact[Array, "..."]],
        status: Sequence[Inexact[Array, "b m n"]] | None,
    ) -> Inexact[Array, "..."]:
        """The status is that of a trace with features; None for a trace that has none."""
        if not self.has_features:
            terms = [times(g, one.astype(g.dtype)) for g, one in zip(rows, e, strict=True)]
            return self.to_weight(sum(terms[1:], terms[0]))
        if status is not None:
            rows = [met(g, one) for g, one in zip(rows, status, strict=True)]
        return self.to_weight(_over_lanes(rows, e))

    def blocks(self, least: int) -> tuple[int, int]:
        """An axis of the trace, and into how many equal blocks it is cut: at least so many, if one can be cut so."""
        for axis, length in enumerate(self.shape[:-1]):
            count = next((c for c in range(least, min(length, _MOST_BLOCKS) + 1) if length % c == 0), None)
            if count is not None:
                return axis, count
        return 1, 1

    def from_rows(self, rows: Inexact[Array, "b m n"]) -> Inexact[Array, "..."]:
        """Back to the layout of y."""
        (y,) = jax.vjp(self.to_rows, varying_as(jnp.zeros(self.output, rows.dtype), rows))[1](rows)
        return y

    def pull(self, factors: FactoredShare) -> Inexact[Array, "..."]:
        """The head's own VJP; of a head that has features."""
        x = without_idle_lanes(factors.x, (factors.rows,))
        return self.to_weight(jnp.einsum("bmn,bmk->bnk", factors.rows, x))

    def over_time(self, rows: Inexact[Array, "t ..."], x: Inexact[Array, "t b m k"] | None) -> Inexact[Array, "..."]:
        """The same of many steps: sum_t rows_t (x) x_t. Zero times anything is nothing."""
        if x is None:
            return self.to_weight(rows.sum(0))
        spoiled = entering(rows, lane_status(x)[..., None])
        return self.to_weight(jnp.einsum("tbmn,tbmk->bnk", met(rows, spoiled), finite(x)))


def _over_lanes(rows: Sequence[Rows], e: Sequence[Inexact[Array, "b m n k"]]) -> Inexact[Array, "b n k"]:
    """The sum over states and lanes of g e."""
    if is_laid_out_by_xla():
        terms = [(g[..., None] * one.astype(g.dtype)).sum(1) for g, one in zip(rows, e, strict=True)]
        return sum(terms[1:], terms[0])
    b, m, n, k = e[0].shape
    size = _lanes_at_once(m)

    def block(total: Array, start: Array) -> tuple[Array, None]:
        for g, one in zip(rows, e, strict=True):
            if size > _MOST_LANES:
                row, part = (jax.lax.dynamic_slice_in_dim(a, start, size, 1) for a in (g, one))
                total = total + (row[..., None] * part.astype(g.dtype)).sum(1)
                continue
            for lane in range(size):
                row, part = (jax.lax.dynamic_index_in_dim(a, start + lane, 1, keepdims=False) for a in (g, one))
                total = total + row[..., None] * part.astype(g.dtype)
        return total, None

    return scan(block, jnp.zeros((b, n, k), rows[0].dtype), jnp.arange(0, m, size))[0]


def _lanes_at_once(m: int) -> int:
    """The largest block of few lanes that leaves a loop, but a short one; else the smallest that leaves a short one."""
    sizes = [d for d in _divisors(m) if m // d <= _MOST_BLOCKS]
    few = [d for d in sizes if d <= min(_MOST_LANES, max(m - 1, 1))]
    return max(few) if few else min(sizes)


def _divisors(m: int) -> list[int]:
    return [d for d in range(1, m + 1) if m % d == 0]


def make_head(program: Program, weight: int, equation: Equation | None) -> Head:
    """Of a weight in an equation, a contraction or a convolution; of one that is its own output for None."""
    if equation is None:
        shape = program.shape(weight)
        return Head(shape, shape, False, _same, _same, _same)
    return HEADS[equation.traits.head](program, weight, equation)


def _same(array: Any) -> Any:
    return array


def _dense(program: Program, weight: int, eqn: Equation) -> Head:
    """`dot_general`: lanes are the free axes of the data, units those of the weight, features what is contracted."""
    w = eqn.inputs.index(weight)
    contraction = Contraction.of([program.shape(v) for v in eqn.inputs], eqn.params["dimension_numbers"])
    of_weight, of_data = contraction.factors[w], contraction.factors[1 - w]
    (b, n, k), (_, m, _) = of_weight.sizes, of_data.sizes
    return Head(
        shape=(b, m, n, k),
        output=contraction.output,
        has_features=True,
        to_rows=lambda y: contraction.apart(y, 1 - w),
        to_features=of_data.apart,
        to_weight=of_weight.together,
    )


def _convolution(program: Program, weight: int, eqn: Equation) -> Head:
    """Groups of channels side by side; lanes are the batch and the places; features are a patch."""
    params = eqn.params
    x_dims, w_dims, y_dims = params["dimension_numbers"]
    kernel, y_shape = program.shape(weight), program.shape(eqn.outputs[0])
    groups = params["feature_group_count"]
    out, into, *places = (kernel[d] for d in w_dims)
    batch, _, *space = (y_shape[d] for d in y_dims)
    place, size = int(np.prod(space)), into * int(np.prod(places))

    def to_rows(y: Any) -> Any:
        parted = y.transpose(y_dims).reshape(batch, groups, out // groups, place)
        return parted.transpose(1, 0, 3, 2).reshape(groups, batch * place, out // groups)

    def to_features(x: Array) -> Array:
        patches = jax.lax.conv_general_dilated_patches(
            x.transpose(x_dims),
            places,
            params["window_strides"],
            params["padding"],
            params["lhs_dilation"],
            params["rhs_dilation"],
            precision=params["precision"],
        )
        parted = patches.reshape(batch, groups, size, place)
        return parted.transpose(1, 0, 3, 2).reshape(groups, batch * place, size)

    def to_weight(flat: Any) -> Any:
        return flat.reshape(out, into, *places).transpose(np.argsort(w_dims))

    return Head((groups, batch * place, out // groups, size), y_shape, True, to_rows, to_features, to_weight)


def _lookup(program: Program, weight: int, eqn: Equation) -> Head:
    """Rows of a table at indices: the product with an x that is one at the row, and zero elsewhere.

    Lanes are the rows that are looked up, features those of the table.
    """
    slices = find_lookup(program, eqn, eqn.inputs.index(weight))
    assert slices is not None, "a lookup that is none"
    units = sorted(slices.kept)
    order = (*units, *slices.decided)
    n, k = math.prod(slices.shape[a] for a in units), math.prod(slices.shape[a] for a in slices.decided)
    m = math.prod(slices.out[d] for d in slices.free)
    of_y = (*slices.free, *(slices.kept[a] for a in units))

    def to_weight(flat: Any) -> Any:
        return flat.reshape([slices.shape[a] for a in order]).transpose(np.argsort(order))

    return Head(
        shape=(1, m, n, k),
        output=slices.out,
        has_features=True,
        to_rows=lambda y: y.transpose(of_y).reshape(1, m, n),
        to_features=lambda index: jax.nn.one_hot(slices.row(index).reshape(1, m), k),
        to_weight=to_weight,
    )


HEADS = {"lookup": _lookup, "dense": _dense, "convolution": _convolution}
"""By the kind that a primitive's row in the table names."""

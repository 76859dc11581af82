"""The linear recursion that every rule shares, over one step and over a window.

    e[s]  <-  sum_s' D[s, s'] e[s']  +  new[s]

D is a small matrix of rows: one array per pair of states, None where it is zero by structure.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact

from .._trace import after, are_finite, Drive, finite, Head, Matrix, mended, spoiled, times

Value = tuple[Inexact[Array, "..."], ...]
"""One array per state that the trace supports."""


def roll(value: Value, decay: Matrix, new: Sequence[Inexact[Array, "..."] | None]) -> Value:
    """sum_s' decay[s, s'] e[s'] + new[s]; `decay` may lack the last axes of e. In the dtype of e."""
    decay, value = _prepared(decay, value)
    return tuple(_row(s, value, row, entering) for s, (row, entering) in enumerate(zip(decay, new, strict=True)))


def roll_in_place(value: Value, decay: Matrix, new: Sequence[Inexact[Array, "..."] | None]) -> Value:
    """The same, one state after the other."""
    decay, value = _prepared(decay, value)
    found = dict(enumerate(value))
    last: list[Array] = []
    for s in _order(decay):
        found[s] = _row(s, value, after(last, decay[s]), new[s])
        last = [found[s]]
    return tuple(found[s] for s in range(len(value)))


def _prepared(decay: Matrix, value: Value) -> tuple[Matrix, Value]:
    """D with a number in place of infinity and NaN, and the trace with NaN where it would have met them."""
    rows = [d for row in decay for d in row if d is not None]
    value = mended(_spoiled, ~are_finite(rows), value, decay)
    return jax.tree.map(lambda d: finite(d, 1.0), decay), value


def _spoiled(value: Value, decay: Matrix) -> Value:
    found = list(value)
    for row in decay:
        found = [e if d is None else spoiled(e, d) for e, d in zip(found, row, strict=True)]
    return tuple(found)


def _order(decay: Matrix) -> list[int]:
    """States in an order in which none is overwritten while another has still to read it, as far as there is one."""
    order: list[int] = []
    while left := [s for s in range(len(decay)) if s not in order]:
        unread = [s for s in left if all(decay[r][s] is None for r in left if r != s)]
        order.append((unread or left)[0])
    return order


def _row(
    s: int, value: Value, row: tuple[Inexact[Array, "..."] | None, ...], entering: Inexact[Array, "..."] | None
) -> Inexact[Array, "..."]:
    terms = [times(_lift(d, old), old.astype(d.dtype)) for d, old in zip(row, value, strict=True) if d is not None]
    terms += [] if entering is None else [entering]
    return sum(terms[1:], terms[0]).astype(value[s].dtype)


def fold(head: Head, value: Value, drive: Drive) -> Value:
    """A window: one pass over the trace, and one matrix product, a block of the trace at a time.

    In blocks, because the product is as large as what it is added to.
    """
    if drive.x is None:
        return roll(value, drive.decay, [None if d is None else d.sum(0) for d in drive.entry])
    axis, count = head.blocks(4)
    size = head.shape[axis] // count
    decays, value = _prepared(drive.decay, value)

    def part(rows: Any, start: Array, along: int) -> Array:
        return jax.lax.dynamic_slice_in_dim(rows, start, size, along)

    def block(value: Value, start: Array) -> tuple[Value, None]:
        x = drive.x if axis == 2 else part(drive.x, start, axis + 1)
        decay, entry = jax.tree.map(lambda d: part(d, start, axis), decays), drive.entry
        here = tuple(part(e, start, axis) for e in value)
        updated, last = list(value), []
        for s in _order(decay):
            row, d = after(last, (decay[s], entry[s]))
            new = None if d is None else jnp.einsum("tbmn,tbmk->bmnk", part(d, start, axis + 1), x)
            updated[s] = jax.lax.dynamic_update_slice_in_dim(value[s], _row(s, here, row, new), start, axis)
            last = [updated[s]]
        return tuple(updated), None

    return jax.lax.scan(block, value, jnp.arange(0, head.shape[axis], size))[0]


def _lift(rows: Inexact[Array, "..."], e: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
    return rows.reshape(*rows.shape, *(1,) * (e.ndim - rows.ndim))

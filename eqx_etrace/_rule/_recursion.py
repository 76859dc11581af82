"""The linear recursion that every rule shares, over one step and over a window.

    e[s]  <-  sum_s' D[s, s'] e[s']  +  new[s]

D is a small matrix of rows: one array per pair of states, None where it is zero by structure.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact

from .._trace import after, Drive, Head, Matrix

Value = tuple[Inexact[Array, "..."], ...]
"""One array per state that the trace supports."""


def roll(value: Value, decay: Matrix, new: Sequence[Inexact[Array, "..."] | None]) -> Value:
    """sum_s' decay[s, s'] e[s'] + new[s]; `decay` may lack the last axes of e. In the dtype of e."""
    return tuple(_row(s, value, row, entering) for s, (row, entering) in enumerate(zip(decay, new, strict=True)))


def roll_in_place(value: Value, decay: Matrix, new: Sequence[Inexact[Array, "..."] | None]) -> Value:
    """The same, one state after the other: each when no other has still to read it, as far as that is possible."""
    found: dict[int, Array] = {}
    while left := [s for s in range(len(value)) if s not in found]:
        unread = [s for s in left if all(decay[r][s] is None for r in left if r != s)]
        s = (unread or left)[0]
        found[s] = _row(s, value, after(list(found.values())[-1:], decay[s]), new[s])
    return tuple(found[s] for s in range(len(value)))


def _row(
    s: int, value: Value, row: tuple[Inexact[Array, "..."] | None, ...], entering: Inexact[Array, "..."] | None
) -> Inexact[Array, "..."]:
    terms = [_lift(d, old) * old.astype(d.dtype) for d, old in zip(row, value, strict=True) if d is not None]
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

    def part(rows: Any, start: Array, along: int) -> Array:
        return jax.lax.dynamic_slice_in_dim(rows, start, size, along)

    def block(value: Value, start: Array) -> tuple[Value, None]:
        x = drive.x if axis == 2 else part(drive.x, start, axis + 1)
        new = [None if d is None else jnp.einsum("tbmn,tbmk->bmnk", part(d, start, axis + 1), x) for d in drive.entry]
        decay = jax.tree.map(lambda d: part(d, start, axis), drive.decay)
        advanced = roll(tuple(part(e, start, axis) for e in value), decay, new)
        updated = [
            jax.lax.dynamic_update_slice_in_dim(e, there, start, axis) for e, there in zip(value, advanced, strict=True)
        ]
        return tuple(updated), None

    return jax.lax.scan(block, value, jnp.arange(0, head.shape[axis], size))[0]


def _lift(rows: Inexact[Array, "..."], e: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
    return rows.reshape(*rows.shape, *(1,) * (e.ndim - rows.ndim))

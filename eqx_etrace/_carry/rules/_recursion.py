"""The linear recursion that every rule shares, over one step and over a window.

    e[s]  <-  sum_s' D[s, s'] e[s']  +  new[s]

D is a small matrix of rows: one array per pair of states, None where it is zero by structure.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ..._sharding import scan
from ..._times import times
from .._head import Head
from .._status import entering, finite, lane_status, scaled, Stored, through, worst
from ..by_position import Drive, Matrix, matrix_of, reachable, Rows
from ..xla import after, Pieces

_MANY = 8
"""Blocks of states that read one another: a block is copied."""

Value = tuple[Inexact[Array, "..."], ...]
"""One array per state that the trace supports."""


def roll(value: Value, decay: Matrix, new: Sequence[Inexact[Array, "..."] | None]) -> Value:
    """sum_s' decay[s, s'] e[s'] + new[s], in the dtype of e. `decay` may lack the last axis; then it is finite."""
    return tuple(_row(s, value, decay[s], new[s]) for s in range(len(value)))


def roll_in_place(head: Head, value: Value, decay: Matrix, response: Rows, x: Inexact[Array, "b m k"] | None) -> Value:
    """The same with new = dh/dy (x) x: each state is written over once no other has still to read it."""
    if x is not None and _is_cyclic(decay):
        return _by_blocks(head, value, decay, response, x)
    advanced = dict(enumerate(value))
    last: list[Array] = []
    for s in _order(decay):
        advanced[s] = _row(s, value, after(last, decay[s]), _entering(head, response[s], x))
        last = [advanced[s]]
    return tuple(advanced[s] for s in range(len(value)))


def _by_blocks(head: Head, value: Value, decay: Matrix, response: Rows, x: Inexact[Array, "b m k"]) -> Value:
    """States that read one another, a block of the trace at a time.

    No order spares them: one old trace must survive, and XLA would copy all of it. Here what survives is a block. Its
    new rows depend on one another before they are written, or XLA would copy the whole trace for every block.
    """
    axis, count = head.blocks(_MANY)
    pieces = Pieces.of(head.shape[axis], head.shape[axis] // count)

    def block(value: Value, start: int | Array) -> Value:
        here, rows, entering = jax.tree.map(lambda a: pieces.take(a, start, axis), (value, decay, response))
        met = x if axis == 2 else pieces.take(x, start, axis)
        new = [_row(s, here, rows[s], _entering(head, entering[s], met)) for s in range(len(value))]
        written = zip(value, after(new, new), strict=True)
        return tuple(pieces.put(e, one, start, axis) for e, one in written)

    return pieces.fold(block, value)


def _entering(head: Head, response: Inexact[Array, "..."] | None, x: Inexact[Array, "..."] | None) -> Array | None:
    return None if response is None else head.outer(response, x)


def _is_cyclic(decay: Matrix) -> bool:
    """Is there no order in which every state is written over after all that read it?"""
    order = _order(decay)
    return any(decay[r][s] is not None for i, s in enumerate(order) for r in order[i + 1 :])


def _order(decay: Matrix) -> list[int]:
    """States in an order in which none is overwritten while another has still to read it, as far as there is one."""

    def is_unread(s: int, left: list[int]) -> bool:
        return all(decay[r][s] is None for r in left if r != s)

    order: list[int] = []
    while left := [s for s in range(len(decay)) if s not in order]:
        order.append(next((s for s in left if is_unread(s, left)), left[0]))
    return order


def _row(
    s: int, value: Value, row: tuple[Inexact[Array, "..."] | None, ...], new: Inexact[Array, "..."] | None
) -> Inexact[Array, "..."]:
    terms = [_product(d, old.astype(d.dtype)) for d, old in zip(row, value, strict=True) if d is not None]
    terms += [] if new is None else [new]
    return sum(terms[1:], terms[0]).astype(value[s].dtype)


def compose_steps(steps: Drive) -> Drive:
    """What the steps of a window do as one, from them stacked along time, by their own D, row by row."""
    reach = reachable(steps.decay)
    like = steps.first_rows[0]
    known = next((d for row in steps.decay for d in row if d is not None), like)

    def identity(s: int, c: int) -> Array:
        return jnp.full(like.shape, float(s == c), known.dtype)

    def before(onward: Matrix, now: Matrix) -> tuple[Matrix, Matrix]:
        def dot(s: int, c: int) -> Array:
            product = _dot(onward[s], [row[c] for row in now])
            return identity(0, 1) if product is None else product

        return matrix_of(dot, reach), onward

    whole, onward = scan(before, matrix_of(identity, reach), steps.decay, reverse=True)

    return Drive(whole, tuple(_dot(row, steps.response) for row in onward), steps.x)


def _dot(row: Sequence[Array | None], column: Sequence[Array | None]) -> Array | None:
    """None where it is zero by structure."""
    terms = [times(p, d) for p, d in zip(row, column, strict=True) if p is not None and d is not None]
    return sum(terms[1:], terms[0]) if terms else None


def next_status(status: Value, drive: Drive) -> Value:
    """Of every state of a trace with features, after one step or a window, composed."""
    assert drive.x is not None
    lanes = lane_status(drive.x)[..., None]
    advanced = []
    for row, response, old in zip(drive.decay, drive.response, status, strict=True):
        terms = [through(d, one) for d, one in zip(row, status, strict=True) if d is not None]
        terms += [] if response is None else [_over_time(entering(response, lanes), old.ndim)]
        advanced.append(worst(terms, old.dtype) if terms else jnp.zeros_like(old))
    return tuple(advanced)


def _over_time(status: Inexact[Array, "..."], rank: int) -> Inexact[Array, "..."]:
    return status if status.ndim == rank else status.max(0)


def fold(head: Head, value: Stored, drive: Drive) -> Stored:
    """A window: one pass over the trace, and one matrix product, a block of the trace at a time.

    In blocks, because the product is as large as what it is added to.
    """
    status, drive = next_status(value.status, drive), jax.tree.map(finite, drive)
    met, is_tied = drive.x, _is_cyclic(drive.decay)
    assert met is not None
    axis, count = head.blocks(_MANY if is_tied else 4)
    pieces = Pieces.of(head.shape[axis], head.shape[axis] // count)

    def block(value: Value, start: int | Array) -> Value:
        x = met if axis == 2 else pieces.take(met, start, axis + 1)
        decay, response = jax.tree.map(lambda d: pieces.take(d, start, axis), drive.decay), drive.response
        here = tuple(pieces.take(e, start, axis) for e in value)

        def row(s: int, first: list[Array]) -> Array:
            d, entering = after(first, (decay[s], response[s]))
            new = None if entering is None else _product_of_steps(pieces.take(entering, start, axis + 1), x)
            return _row(s, here, d, new)

        def written(s: int, new: Array) -> Array:
            return pieces.put(value[s], new, start, axis)

        if is_tied:
            ready = [row(s, []) for s in range(len(value))]
            return tuple(map(written, range(len(value)), after(ready, ready)))
        updated: dict[int, Array] = {}
        for s in _order(decay):
            updated[s] = written(s, row(s, list(updated.values())[-1:]))
        return tuple(updated[s] for s in range(len(value)))

    return Stored(pieces.fold(block, value.e), status)


def _product_of_steps(rows: Inexact[Array, "t b m n"], x: Inexact[Array, "t b m k"]) -> Inexact[Array, "b m n k"]:
    return jnp.einsum("tbmn,tbmk->bmnk", rows, x)


def _product(rows: Inexact[Array, "..."], e: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
    return times(rows, e) if rows.ndim == e.ndim else scaled(rows[..., None], e)

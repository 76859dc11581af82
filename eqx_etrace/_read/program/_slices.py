"""Slices that an index decides: a lookup, a buffer that is read or written at a counter.

Where the index is not known when the step is read, it is still known which axes it decides. Along those an element may
be any; along the others it stays where it is. So an element of a slice is one of a line of elements of the whole, and
what is said of the line holds whatever the index turns out to be.
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..primitives import Flow
from ._constant import constant_value
from ._link import indices, Positions
from ._program import Equation, Program

_Mode = jax.lax.GatherScatterMode


@dataclasses.dataclass(frozen=True)
class Slices:
    """Slices of an array, each one element long along the axes that an index decides, and whole along the others."""

    shape: tuple[int, ...]
    """Of the array."""
    out: tuple[int, ...]
    """Of the slices together."""
    decided: tuple[int, ...]
    """The axes of the array that the index decides, in the order in which it names them."""
    kept: dict[int, int]
    """By the other axes of the array: the axis of the slices that it is."""
    named: tuple[int, ...]
    """For each component of the index, the axis of the array."""
    mode: Any
    """What is done about an index that lies outside."""
    index: int | None
    """The variable that holds the index; None if it is in several."""
    is_read_by_batch: bool
    """Has every slice an array of its own?"""
    counted: tuple[int, ...] = ()
    """The kept axes along which the index names each slice's own place, as in `x[i, jnp.arange(n)]`."""

    @property
    def free(self) -> tuple[int, ...]:
        """The axes of the slices along which there are many of one array."""
        return tuple(d for d in range(len(self.out)) if d not in self.kept.values())

    @property
    def is_single(self) -> bool:
        """Is there one slice of every array?"""
        return math.prod(self.out[d] for d in self.free) == 1

    @property
    def line(self) -> Positions:
        """By element of the array, the element of a single slice that it may be."""
        axes = sorted(self.kept)
        apart = indices(self.out).transpose([*(self.kept[a] for a in axes), *self.free])
        lines = apart.reshape([self.shape[a] if a in self.kept else 1 for a in range(len(self.shape))])
        return np.broadcast_to(lines, self.shape)

    @property
    def block(self) -> Positions:
        """By element of the array, where it lies along the axes that the slices have whole."""
        return self._along({a: a for a in self.kept}, self.shape)

    @property
    def block_of_slices(self) -> Positions:
        """The same, by element of the slices."""
        return self._along(self.kept, self.out)

    def _along(self, kept: dict[int, int], shape: tuple[int, ...]) -> Positions:
        axes = [kept[a] for a in sorted(kept)]
        numbers = indices(tuple(shape[d] for d in axes)).transpose(np.argsort(axes))
        apart = numbers.reshape([shape[d] if d in axes else 1 for d in range(len(shape))])
        return np.broadcast_to(apart, shape)

    def row(self, index: Array) -> Array:
        """By slice, which of all that an index may decide it is; -1 if it lies outside and is filled."""
        parts = jnp.moveaxis(index.astype(int), -1, 0) if index.ndim else index.astype(int)[None]
        row, is_inside = jnp.zeros(parts.shape[1:], int), jnp.ones(parts.shape[1:], bool)
        for axis, part in zip(self.named, parts, strict=True):
            if axis in self.counted:
                continue
            last = self.shape[axis] - 1 if axis in self.decided else 0
            at = jnp.clip(part, 0, last)
            is_inside &= at == part
            row = row * (last + 1) + at
        return row if self.mode == _Mode.CLIP else jnp.where(is_inside, row, -1)


def find_lookup(program: Program, eqn: Equation, operand: int) -> Slices | None:
    """The slices of a table that are looked up, where this operand is the table; None if that is not what is done."""
    is_read = operand == 0 and "slice_sizes" in eqn.params
    slices = slices_of(program, eqn) if is_read else None
    is_table = slices is not None and slices.index is not None and bool(slices.decided) and not slices.is_read_by_batch
    return slices if is_table else None


def slices_of(program: Program, eqn: Equation) -> Slices | None:
    """Of an equation that reads or writes at an index; None if its slices are longer, or more is done to them."""
    if eqn.traits.flow not in (Flow.INDEXED, Flow.SCATTERED) or eqn.primitive is None:
        return None
    shape, params = program.shape(eqn.inputs[0]), eqn.params
    if "dimension_numbers" not in params:
        is_read = "slice_sizes" in params
        out, starts = program.shape(eqn.outputs[0] if is_read else eqn.inputs[1]), eqn.inputs[1 if is_read else 2 :]
        decided = [a for a, (size, whole) in enumerate(zip(out, shape, strict=True)) if size != whole]
        if any(out[a] != 1 for a in decided):
            return None
        kept = {a: a for a in range(len(shape)) if a not in decided}
        index = starts[decided[0]] if len(decided) == 1 else None
        return _checked(Slices(shape, out, tuple(decided), kept, tuple(decided), _Mode.CLIP, index, False))
    numbers = params["dimension_numbers"]
    if hasattr(numbers, "offset_dims"):
        out, offsets, hidden = program.shape(eqn.outputs[0]), numbers.offset_dims, numbers.collapsed_slice_dims
        named, of_index = numbers.start_index_map, numbers.start_indices_batching_dims
    else:
        out, offsets, hidden = program.shape(eqn.inputs[2]), numbers.update_window_dims, numbers.inserted_window_dims
        named, of_index = numbers.scatter_dims_to_operand_dims, numbers.scatter_indices_batching_dims
    batching = numbers.operand_batching_dims
    shown = [a for a in range(len(shape)) if a not in (*hidden, *batching)]
    lead = [d for d in range(len(out)) if d not in offsets]
    along = dict(zip(shown, sorted(offsets), strict=True))
    kept = {a: d for a, d in along.items() if out[d] == shape[a]}
    if any(out[d] != 1 for a, d in along.items() if a not in kept):
        return None
    kept |= {a: lead[i] for a, i in zip(batching, of_index, strict=True)}
    named = tuple(map(int, named))
    counted = {a: lead[i] for a, i in _counted(program, eqn.inputs[1], named, shape).items() if a in hidden}
    kept |= counted
    decided = tuple(a for a in named if a not in kept)
    is_batched = bool(batching) or bool(counted)
    return _checked(Slices(shape, out, decided, kept, named, params["mode"], eqn.inputs[1], is_batched, (*counted,)))


def _counted(program: Program, index: int, named: tuple[int, ...], shape: tuple[int, ...]) -> dict[int, int]:
    """By axis that a component of the index names: the axis of the index along which it counts all of its places."""
    eqn = program.producer.get(index)
    last = len(program.shape(index)) - 1
    if eqn is None or eqn.traits.flow is not Flow.JOINED or eqn.params.get("dimension") != last:
        return {}
    if any(program.shape(v)[last] != 1 for v in eqn.inputs):
        return {}
    values = {a: constant_value(program, v) for a, v in zip(named, eqn.inputs, strict=True)}
    found: dict[int, int] = {}
    for axis, value in values.items():
        along = [] if value is None else [i for i in range(last) if _counts(value[..., 0], i, shape[axis])]
        if along and along[0] not in found.values():
            found[axis] = along[0]
    return found


def _counts(value: np.ndarray, along: int, length: int) -> bool:
    """Is it 0, 1, ... up to the length, along this axis, and the same along the others?"""
    numbers = np.arange(value.shape[along]).reshape([-1 if i == along else 1 for i in range(value.ndim)])
    return value.shape[along] == length and bool((value == numbers).all())


def _checked(slices: Slices) -> Slices | None:
    """None if an axis is neither whole nor decided by the index."""
    is_plain = len(slices.decided) + len(slices.kept) == len(slices.shape)
    return slices if is_plain and 0 not in (*slices.shape, *slices.out) else None

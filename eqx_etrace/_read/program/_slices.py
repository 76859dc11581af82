"""Slices that an index decides: a lookup, a buffer that is read or written at a counter.

Where the index is not known when the step is read, it is still known which axes it decides. Along those an element may
be any; along the others it stays where it is. So an element of a slice is one of a line of elements of the whole, and
what is said of the line holds whatever the index turns out to be.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

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
    def is_lookup(self) -> bool:
        """Are they of one table, each where an index in one variable decides?"""
        return self.index is not None and bool(self.decided) and not self.is_read_by_batch

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
    return slices if slices is not None and slices.is_lookup else None


def slices_of(program: Program, eqn: Equation) -> Slices | None:
    """Of an equation that reads or writes at an index; None if its slices are longer, or more is done to them."""
    if eqn.traits.flow not in (Flow.INDEXED, Flow.SCATTERED) or eqn.primitive is None:
        return None
    return _gathered(program, eqn) if "dimension_numbers" in eqn.params else _dynamic_slice(program, eqn)


def _dynamic_slice(program: Program, eqn: Equation) -> Slices | None:
    """One slice, of which every axis has a start of its own: `dynamic_slice`, `dynamic_update_slice`."""
    shape, is_read = program.shape(eqn.inputs[0]), "slice_sizes" in eqn.params
    out, starts = program.shape(eqn.outputs[0] if is_read else eqn.inputs[1]), eqn.inputs[1 if is_read else 2 :]
    decided = [a for a, (size, whole) in enumerate(zip(out, shape, strict=True)) if size != whole]
    if any(out[a] != 1 for a in decided):
        return None
    kept = {a: a for a in range(len(shape)) if a not in decided}
    index = starts[decided[0]] if len(decided) == 1 else None
    return _checked(Slices(shape, out, tuple(decided), kept, tuple(decided), _Mode.CLIP, index, False))


class _Windows(NamedTuple):
    """What the dimension numbers of a gather and those of a scatter call by different names."""

    out: tuple[int, ...]
    """The shape of the slices together."""
    offsets: Sequence[int]
    """The axes of the slices that are axes of the array."""
    hidden: Sequence[int]
    """The axes of the array that the slices do not have."""
    named: tuple[int, ...]
    """For each component of the index, the axis of the array."""
    batching: dict[int, int]
    """By axis of the array: the axis of the index that it is paired with."""

    @classmethod
    def of(cls, program: Program, eqn: Equation) -> "_Windows":
        numbers = eqn.params["dimension_numbers"]
        if hasattr(numbers, "offset_dims"):
            slices, offsets, hidden = eqn.outputs[0], numbers.offset_dims, numbers.collapsed_slice_dims
            named, of_index = numbers.start_index_map, numbers.start_indices_batching_dims
        else:
            slices, offsets, hidden = eqn.inputs[2], numbers.update_window_dims, numbers.inserted_window_dims
            named, of_index = numbers.scatter_dims_to_operand_dims, numbers.scatter_indices_batching_dims
        batching = dict(zip(map(int, numbers.operand_batching_dims), map(int, of_index), strict=True))
        return cls(program.shape(slices), offsets, hidden, tuple(map(int, named)), batching)

    @property
    def lead(self) -> list[int]:
        """The axes of the slices that are axes of the index."""
        return [d for d in range(len(self.out)) if d not in self.offsets]

    def along(self, rank: int) -> dict[int, int]:
        """By axis of the array, which has so many, the axis of the slices."""
        shown = [a for a in range(rank) if a not in (*self.hidden, *self.batching)]
        return dict(zip(shown, sorted(map(int, self.offsets)), strict=True))


def _gathered(program: Program, eqn: Equation) -> Slices | None:
    """A slice for each place that an index names: a gather or a scatter."""
    shape, windows, index = program.shape(eqn.inputs[0]), _Windows.of(program, eqn), eqn.inputs[1]
    out, named, lead, along = windows.out, windows.named, windows.lead, windows.along(len(shape))
    kept = {a: d for a, d in along.items() if out[d] == shape[a]}
    if any(out[d] != 1 for a, d in along.items() if a not in kept):
        return None
    kept |= {a: lead[i] for a, i in windows.batching.items()}
    counted = {a: lead[i] for a, i in _counted(program, index, named, shape).items() if a in windows.hidden}
    kept |= counted
    decided = tuple(a for a in named if a not in kept)
    is_batched = bool(windows.batching) or bool(counted)
    return _checked(Slices(shape, out, decided, kept, named, eqn.params["mode"], index, is_batched, (*counted,)))


def _components(program: Program, index: int) -> list[int]:
    """The variables that an index is joined of, one component each; none where it is made in another way."""
    eqn, last = program.producer.get(index), len(program.shape(index)) - 1
    if eqn is None or eqn.traits.flow is not Flow.JOINED or eqn.params.get("dimension") != last:
        return []
    return list(eqn.inputs) if all(program.shape(v)[last] == 1 for v in eqn.inputs) else []


def _counted(program: Program, index: int, named: tuple[int, ...], shape: tuple[int, ...]) -> dict[int, int]:
    """By axis that a component of the index names: the axis of the index along which it counts all of its places."""
    components = _components(program, index)
    if not components:
        return {}
    found: dict[int, int] = {}
    for axis, component in zip(named, components, strict=True):
        along = _counted_along(program, component, shape[axis])
        if along is not None and along not in found.values():
            found[axis] = along
    return found


def _counted_along(program: Program, component: int, length: int) -> int | None:
    """The axis along which a component of an index counts up to this length; None if there is none."""
    value = constant_value(program, component)
    if value is None:
        return None
    return next((i for i in range(value.ndim - 1) if _counts(value[..., 0], i, length)), None)


def _counts(value: np.ndarray, along: int, length: int) -> bool:
    """Is it 0, 1, ... up to the length, along this axis, and the same along the others?"""
    numbers = np.arange(value.shape[along]).reshape([-1 if i == along else 1 for i in range(value.ndim)])
    return value.shape[along] == length and bool((value == numbers).all())


def _checked(slices: Slices) -> Slices | None:
    """None if an axis is neither whole nor decided by the index."""
    is_plain = len(slices.decided) + len(slices.kept) == len(slices.shape)
    return slices if is_plain and 0 not in (*slices.shape, *slices.out) else None

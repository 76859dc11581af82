"""Arrays of several states of a unit, taken apart along some of their axes.

A unit with two states may keep them in one array, `[2, n]` or one after the other in `[2 n]`. What is taken out is a
part for each, so that nothing behind this page knows of packed states.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp

Places = tuple[tuple[int, tuple[int, ...]], ...]
"""By axis, in order: where its parts start, 0 first. Nothing for an array that stays whole."""
Box = tuple[tuple[int, int, int], ...]
"""Of one part: axis, start and stop."""


def boxes(shape: Sequence[int], places: Places) -> Iterator[Box]:
    """The parts of an array in order, the last axis fastest."""
    return itertools.product(*(_along(axis, (*starts, shape[axis])) for axis, starts in places))


def _along(axis: int, ends: Sequence[int]) -> list[tuple[int, int, int]]:
    return [(axis, start, stop) for start, stop in itertools.pairwise(ends)]


def take_apart(leaf: Any, places: Places) -> list[Any]:
    """The parts of an array; an axis of which a part has one element is no axis of it."""
    if not places:
        return [leaf]
    return [_part(leaf, box) for box in boxes(leaf.shape, places)]


def _part(leaf: Any, box: Box) -> Any:
    _, shown = _shapes(leaf.shape, box)
    if isinstance(leaf, jax.ShapeDtypeStruct):
        return jax.ShapeDtypeStruct(shown, leaf.dtype)
    ranges = {axis: slice(start, stop) for axis, start, stop in box}
    return leaf[tuple(ranges.get(axis, slice(None)) for axis in range(leaf.ndim))].reshape(shown)


def put_together(parts: Sequence[Any], shape: Sequence[int], places: Places) -> Any:
    """The array again."""
    if not places:
        return parts[0]
    whole = [part.reshape(_shapes(shape, box)[0]) for part, box in zip(parts, boxes(shape, places), strict=True)]
    for axis, starts in reversed(places):
        groups = [whole[i : i + len(starts)] for i in range(0, len(whole), len(starts))]
        whole = [jnp.concatenate(group, axis) for group in groups]
    return whole[0]


def _shapes(shape: Sequence[int], box: Box) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Of one part: with all axes, and as it is shown."""
    length = {axis: stop - start for axis, start, stop in box}
    full = tuple(length.get(axis, n) for axis, n in enumerate(shape))
    return full, tuple(n for axis, n in enumerate(full) if length.get(axis) != 1)


def keys(shape: Sequence[int], places: Places) -> list[tuple[Any, ...]]:
    """How each part is named after the array: `[2]`, `[:, 0]`, `[:64]`."""
    return [_key(box) for box in boxes(shape, places)]


def _key(box: Box) -> tuple[Any, ...]:
    if not box:
        return ()
    of = {axis: (start, stop) for axis, start, stop in box}
    if [*of] == [0] and of[0][1] - of[0][0] == 1:
        return (of[0][0],)
    shown = [_range(of.get(axis)) for axis in range(1 + max(of))]
    return (f"[{', '.join(shown)}]",)


def _range(ends: tuple[int, int] | None) -> str:
    """Along one axis; None for all of it."""
    if ends is None:
        return ":"
    start, stop = ends
    return str(start) if stop - start == 1 else f"{start}:{stop}"

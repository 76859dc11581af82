"""Elements of an array by their numbers, without a gather where the numbers are regular.

A gather reads one element at a time. Numbers that are `start + sum_d stride_d i_d`, with every stride as long as all
that is counted within it, are a reshape, slices and a transposition.
"""

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Inexact, Int


def take(values: Inexact[Array, "..."], index: Int[np.ndarray, "..."]) -> Inexact[Array, "..."]:
    """`values.reshape(-1)[index]`."""
    flat = values.reshape(-1)
    strides = _strides(index)
    order = [] if strides is None else sorted(range(index.ndim), key=lambda axis: -strides[axis])
    if strides is None or not _is_nested([(index.shape[axis], strides[axis]) for axis in order]):
        return flat[index]
    found = flat[int(index.flat[0]) :]
    for axis in order:
        length, stride = index.shape[axis], strides[axis]
        more = length * stride - found.shape[-1]
        found = lax.pad(found, np.zeros((), found.dtype), [(0, 0, 0)] * (found.ndim - 1) + [(0, more, 0)])
        found = found.reshape(*found.shape[:-1], length, stride)
    return found[..., 0].transpose(np.argsort(order))


def take_rows(values: Inexact[Array, "m k"], index: Int[np.ndarray, "..."]) -> Inexact[Array, "... k"]:
    """`values[index]`; each row in turn, equally often, is a broadcast, which XLA merges with what reads it."""
    count, k = values.shape
    times = index.size // max(count, 1)
    if index.size == count * times and (index.ravel() == np.repeat(np.arange(count), times)).all():
        return jnp.broadcast_to(values[:, None], (count, times, k)).reshape(*index.shape, k)
    return values[index]


def _strides(index: Int[np.ndarray, "..."]) -> list[int] | None:
    """By axis, if the numbers are regular and rise along every axis; of an axis of length 1, as long as the array."""
    if index.size == 0:
        return None
    start, found, total = int(index.flat[0]), [], np.zeros(index.shape, index.dtype)
    for axis, length in enumerate(index.shape):
        stride = _stride(index, axis)
        along = np.arange(length).reshape(-1, *(1,) * (index.ndim - 1 - axis))
        found.append(stride)
        total = total + stride * along
    is_regular = (total + start == index).all() and all(stride > 0 for stride in found)
    return found if is_regular else None


def _stride(index: Int[np.ndarray, "..."], axis: int) -> int:
    """From the first number to the next along an axis."""
    if index.shape[axis] == 1:
        return int(index.max()) + 1
    return int(np.take(index, 1, axis).flat[0]) - int(index.flat[0])


def _is_nested(axes: list[tuple[int, int]]) -> bool:
    """Does every stride, from the longest, hold all that is counted within it?"""
    inside = 1
    for length, stride in reversed(axes):
        if inside > stride:
            return False
        inside += (length - 1) * stride
    return True

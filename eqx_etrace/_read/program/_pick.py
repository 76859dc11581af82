"""Values by the elements that a position array names."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact, Int

from ._link import DECIDED, NONE, Positions


def pick(values: Inexact[Array, "..."], index: Positions) -> Inexact[Array, "..."]:
    """The elements of `values` that `index` names, zero where it names none; without a gather where it can be."""
    flat = values.reshape(-1)
    times = index.size // max(flat.size, 1)
    if _is_tiled(index, flat.size, times):
        *lead, last = index.shape or (1,)
        once = flat.reshape(*lead, 1, last // times)
        return jnp.broadcast_to(once, (*lead, times, last // times)).reshape(index.shape)
    picked = flat[np.maximum(index, 0)]
    return jnp.where(index == NONE, 0, picked) if (index == NONE).any() else picked


def at_rows(values: Inexact[Array, "..."], rows: Int[Array, "..."]) -> Inexact[Array, "..."]:
    """The elements of `values` that `rows` names, zero where it names none; the names are numbers of a call."""
    return values.reshape(-1).at[jnp.where(rows < 0, values.size, rows)].get(mode="fill", fill_value=0)


def _is_tiled(index: Positions, size: int, times: int) -> bool:
    """Are the elements 0 ... size-1 there in order, each row of the last axis repeated `times` times?"""
    *lead, last = index.shape or (1,)
    if times == 0 or index.size != times * size or last % times:
        return False
    once = np.arange(size).reshape(*lead, 1, last // times)
    return bool((index.reshape(*lead, times, last // times) == once).all())


def elements(positions: Positions, frame: Positions) -> Positions:
    """For each entry of `frame`, the element of a state with these `positions` that shares its position."""
    frame = np.where(frame < DECIDED, frame, NONE)
    inverse = np.full(1 + max(int(positions.max(initial=-1)), int(frame.max(initial=-1))), NONE)
    inverse[positions.ravel()] = np.arange(positions.size)
    return np.where(frame >= 0, inverse[np.maximum(frame, 0)], NONE)

"""How one step moves the discounted sums of a trace, lane by lane: time is that of the states.

A step that holds all states of a lane as they are does nothing to a sum. A step that cuts them off from their past, as
a reset does, starts it anew.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Inexact

from ..by_position import Drive


class Pace(NamedTuple):
    """What a step does to the sums over time, by lane."""

    keep: Inexact[Array, "*t b m"]
    """What is left of e_x: a_x; 1 in a step that holds the states, 0 in one that cuts them off from their past."""
    take: Inexact[Array, "*t b m"]
    """How much of x is added: 1, or 0 in a step that holds the states."""
    forget: Inexact[Array, "*t b m"]
    """What D is multiplied with: a_f, or 1 in a step that holds the states."""


def pace_of(drive: Drive, a_x: Any, a_f: Any, *, restarts: bool) -> Pace:
    """Of a weight that has features; D itself sees to the cut of e_f.

    `restarts`: does a D that is zero by structure cut the states off, at every step?
    """
    assert drive.x is not None
    held, real, dtype = drive.held_lanes, drive.x.real.dtype, drive.x.dtype
    cut = drive.cut_lanes if restarts or drive.is_coupled else jnp.zeros_like(held)
    return Pace(
        keep=jnp.where(held, 1, jnp.where(cut, 0, as_number(a_x, real))).astype(dtype),
        take=jnp.where(held, 0, 1).astype(dtype),
        forget=jnp.where(held, 1, as_number(a_f, real)).astype(dtype),
    )


def kept_by_row(drive: Drive, leak: Any, *, restarts: bool) -> Inexact[Array, "..."]:
    """A leak for every row, where time is that of the states; of a weight without features unit by unit.

    `restarts`: does a reset of the states start the sum anew?
    """
    has_lanes = drive.x is not None
    held = drive.held_lanes[..., None] if has_lanes else drive.held_rows
    cut = drive.cut_lanes[..., None] if has_lanes else drive.cut_rows
    dtype = drive.first_rows.dtype
    is_cut = cut if restarts and drive.is_coupled else jnp.zeros_like(cut)
    keep = jnp.where(held, 1, jnp.where(is_cut, 0, as_number(leak, jnp.finfo(dtype).dtype))).astype(dtype)
    return jnp.broadcast_to(keep, drive.held_rows.shape)


def as_leak(name: str, leak: Any, more: str = "") -> Any:
    """An argument that is a leak: a Python float in [0, 1], or a traced scalar, NaN out of range."""
    if not is_real_scalar(leak):
        raise TypeError(
            f"`{name}` is {of_its_type(leak)}; it must be a float in [0, 1], or a scalar array of floats: what is left "
            f"of a sum after one step. Of a time constant tau it is `exp(-dt / tau)`.{more}"
        )
    if isinstance(leak, Tracer):
        return jnp.where((leak >= 0) & (leak <= 1), leak, jnp.nan).astype(leak.dtype)
    if not 0 <= float(leak) <= 1:
        raise ValueError(
            f"`{name}` is {float(leak)}; it must lie in [0, 1]: what is left of a sum after one step. Of a time "
            "constant tau it is `exp(-dt / tau)`."
        )
    return float(leak)


def is_real_scalar(given: Any) -> bool:
    """Is it a Python number, or one array of floats without axes?"""
    dtype = getattr(given, "dtype", None)
    is_real = isinstance(given, float | int) if dtype is None else jnp.issubdtype(dtype, jnp.floating)
    return bool(is_real) and not isinstance(given, bool) and np.shape(given) == ()


def of_its_type(given: Any) -> str:
    """What a user gave, as it is named with its type; an array by its dtype and shape."""
    dtype = getattr(given, "dtype", None)
    return f"{given!r}, of type {type(given).__name__}" if dtype is None else f"{dtype}{list(np.shape(given))}"


def as_number(decay: Any, dtype: Any) -> Any:
    """A Python number as it is, an array in the dtype of the trace."""
    return decay.astype(dtype) if isinstance(decay, jax.Array) else decay

"""A trace in full: one number for each weight, lane and state.

It follows e <- D e + dh/dy (x) x with a D that its rule says. It may have more states than the group: what a rule
filters them with.
"""

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from .._status import finite, kept_finite, lane_status, Stored
from ..by_position import Drive, TraceLayout
from ._by_position import stored
from ._recursion import fold, next_status, roll, roll_in_place


def nothing_yet(layout: TraceLayout, dtype: DTypeLike | None, *, times: int = 1) -> Stored:
    """Zeros, `times` over for every state of the trace."""
    kept = stored(dtype, layout)
    e = times * layout.zeros(kept)
    return Stored(e, tuple(jnp.zeros(layout.rows, jnp.finfo(kept).dtype) for _ in e if layout.head.has_features))


def through_step(layout: TraceLayout, value: Stored, drive: Drive) -> Stored:
    """After one more step."""
    if drive.x is None:
        return Stored(roll_in_place(layout.head, value.e, drive.decay, drive.response, None), ())
    status, x = next_status(value.status, drive), kept_finite(drive.x, lane_status(drive.x))
    decay, response = jax.tree.map(finite, (drive.decay, drive.response))
    return Stored(roll_in_place(layout.head, value.e, decay, response, x), status)


def through_steps(layout: TraceLayout, value: Stored, drive: Drive) -> Stored:
    """After the steps of a window, composed."""
    if drive.x is None:
        new = [None if d is None else d.sum(0) for d in drive.response]
        return Stored(roll(value.e, drive.decay, new), ())
    return fold(layout.head, value, drive)

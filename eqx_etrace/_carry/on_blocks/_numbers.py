"""Influence on blocks of the state: its recursion, and how a learning signal meets it.

Per group of r scalars and q rows (see `_layout`),

    e[g, i, q, k]  <-  sum_j J[g, i, j] e[g, j, q, k]  +  dh_i/dy_q x[q, k] ,

where J is the Jacobian of the step between the r scalars.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact

from .._status import entering_any, finite, lane_status, met, Stored, worst
from ..xla import apply_blocks, contract_blocks, scale_blocks, take, take_rows, through_blocks
from ._jacobian import BlockDrive, where_kept
from ._layout import BlockLayout


def zero_influence(layout: BlockLayout) -> Any:
    """Before the first step."""
    e = jnp.zeros(layout.shape, layout.dtype)
    if not layout.head.has_features:
        return e
    return Stored(e, jnp.zeros(layout.shape[:2], jnp.finfo(layout.dtype).dtype))


def advance_influence(layout: BlockLayout, value: Any, drive: BlockDrive) -> Any:
    """After one more step."""
    if drive.x is None:
        return _where_kept(layout, apply_blocks(drive.jacobian, value) + drive.response)
    first = layout.lanes[:, :1]
    lanes = take(lane_status(drive.x).reshape(-1), first if (layout.lanes == first).all() else layout.lanes)
    new = finite(drive.response)[..., None] * features_of(layout, finite(drive.x))[:, None]
    before = through_blocks(drive.jacobian, value.status[..., None])[..., 0]
    status = worst([before, entering_any(drive.response, lanes[:, None])], value.status.dtype)
    return Stored(_where_kept(layout, scale_blocks(finite(drive.jacobian), value.e) + new), status)


def _where_kept(layout: BlockLayout, e: Inexact[Array, "g r q ..."]) -> Inexact[Array, "g r q ..."]:
    """Without what rows influence beyond the scalars that they are kept on."""
    if layout.kept is None:
        return e
    return jnp.where(layout.kept.reshape(*layout.kept.shape, *(1,) * (e.ndim - 3)), e, 0)


def contract_influence(layout: BlockLayout, value: Any, signal: Inexact[Array, " n"]) -> Inexact[Array, "..."]:
    """The cotangent of the effective weight, from one of every scalar of the state."""
    head, on_block = layout.head, on_slots(layout, signal).astype(layout.dtype)[:, None]
    if isinstance(value, Stored):
        per_row = contract_blocks(met(on_block[:, 0], value.status), value.e)
    else:
        per_row = apply_blocks(on_block, value)[:, 0]
    if not head.has_features:
        return head.to_weight(in_order(layout, per_row).reshape(head.shape))
    b, m, n, k = head.shape
    if layout.columns is None:
        return head.to_weight(in_order(layout, per_row).reshape(b, m, n, k).sum(1))
    at = ((layout.lanes // m) * n + np.maximum(layout.rows, 0) % n)[..., None] * k + np.maximum(layout.columns, 0)
    kept = jnp.where((layout.rows >= 0)[..., None] & (layout.columns >= 0), per_row, 0)
    return head.to_weight(jnp.zeros(b * n * k, layout.dtype).at[at.ravel()].add(kept.ravel()).reshape(b, n, k))


def entered_rows(
    layout: BlockLayout, response: Inexact[Array, "g r q"], signal: Inexact[Array, " n"]
) -> Inexact[Array, "..."]:
    """g_h . dh/dy: the cotangent of the head's output by what one step put in, in the rows of the head."""
    on_block = on_slots(layout, signal).astype(response.dtype)[:, None]
    by_row = in_order(layout, apply_blocks(on_block, response)[:, 0])
    return by_row.reshape(layout.head.shape[:-1] if layout.head.has_features else layout.head.shape)


def on_slots(layout: BlockLayout, signal: Inexact[Array, " n"]) -> Inexact[Array, "g r"]:
    return where_kept(layout.slots >= 0, take(signal, np.maximum(layout.slots, 0)))


def in_order(layout: BlockLayout, values: Inexact[Array, "g q ..."]) -> Inexact[Array, "rows ..."]:
    """From groups to rows in order; zero for rows that influence nothing."""
    where = np.full(layout.source.rows, -1)
    flat = layout.rows.ravel()
    where[flat[flat >= 0]] = np.flatnonzero(flat >= 0)
    picked = values.reshape(flat.size, *values.shape[2:])
    if where.size == flat.size and (where == np.arange(flat.size)).all():
        return picked
    here = (where >= 0).reshape(-1, *(1,) * (values.ndim - 2))
    return jnp.where(here, picked[np.maximum(where, 0)], 0)


def features_of(layout: BlockLayout, x: Inexact[Array, "b m k"]) -> Inexact[Array, "g q f"]:
    """What every row met, as far as it is kept."""
    per_row = take_rows(x.reshape(-1, x.shape[-1]), layout.lanes)
    if layout.columns is None:
        return per_row
    picked = jnp.take_along_axis(per_row, np.maximum(layout.columns, 0), axis=-1)
    return jnp.where(layout.columns >= 0, picked, 0)

"""The Jacobian of one step on blocks of the state, read from one reverse pass per colour.

Scalars of the new state that share no column of the Jacobian's pattern have one colour. A reverse pass with ones on
all scalars of a colour gives their rows of J and of dh/dy together, and the pattern says which entry belongs to which.
"""

from collections.abc import Callable, Mapping, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Inexact, Int

from ..._read import Analysis
from ..._sharding import varying_as
from .._dtype import widest
from ..xla import for_each, take, written_out
from ._layout import BlockLayout

PullNew = Callable[[list[Array]], tuple[list[Array], list[Array], list[Array]]]
"""From cotangents of the new states to those of (effective weights, old states, heads' outputs)."""


class BlockDrive(eqx.Module):
    """What one step does to the influence of one source, or a window of steps together."""

    jacobian: Inexact[Array, "g r r2"]
    """J between the scalars of every group; of a window their product."""
    response: Inexact[Array, "*t g r q"]
    """dh/dy; of a window that of every step, carried to the end, stacked along time."""
    x: Inexact[Array, "*t b m k"] | None
    """What the weight met; None where it is used otherwise than by a head."""


def block_drives(
    analysis: Analysis, layouts: Sequence[BlockLayout], pull: PullNew, values: Mapping[int, Array]
) -> dict[int, BlockDrive]:
    """By the number of a layout. `values` are those of what heads met, by variable."""
    if not layouts:
        return {}
    on_weights, on_old, on_heads = written_out(for_each(pull))(seeds_of(analysis, analysis.structure.colours))
    old = jax.vmap(as_scalars)(on_old)
    heads = {use.output: ct for use, ct in zip(analysis.body.heads, on_heads, strict=True)}
    weights = dict(zip(analysis.body.weights, on_weights, strict=True))
    colours = analysis.structure.colours
    drives = {}
    for layout in layouts:
        use, head = layout.source.use, layout.head
        on_rows = weights[layout.weight] if use is None else heads[use.output]
        rows = jax.vmap(head.to_rows)(on_rows).reshape(on_rows.shape[0], -1)
        x = None if use is None else head.to_features(values[use.data]).astype(layout.dtype)
        jacobian, response = _jacobian(layout, colours, old), _response(layout, colours, rows)
        drives[layout.number] = BlockDrive(jacobian, response, x)
    return drives


def _jacobian(layout: BlockLayout, colours: np.ndarray, old: Inexact[Array, "c n"]) -> Inexact[Array, "g r r2"]:
    """Where blocks overlap, so that together they are larger than J, by way of J: a program holds no index as large."""
    at, count = np.maximum(layout.slots, 0), old.shape[1]
    if at.size * at.shape[1] > count**2:
        whole = jnp.where(layout.structure.jacobian.toarray(), old[np.maximum(colours, 0)], 0)
        rows, columns = jnp.asarray(at)[:, :, None], jnp.asarray(at)[:, None, :]
        valid = jnp.asarray(layout.slots >= 0)
        read = jnp.where(valid[:, :, None] & valid[:, None, :], whole[rows, columns], 0)
        return read.astype(jnp.finfo(layout.dtype).dtype)
    read = take(old, colours[at][:, :, None] * count + at[:, None, :])
    return where_kept(layout.within, read).astype(jnp.finfo(layout.dtype).dtype)


def _response(layout: BlockLayout, colours: np.ndarray, rows: Inexact[Array, "c q"]) -> Inexact[Array, "g r q2"]:
    at = np.maximum(layout.slots, 0)
    read = take(rows, colours[at][:, :, None] * rows.shape[1] + np.maximum(layout.rows, 0)[:, None, :])
    return where_kept(layout.entering, read).astype(layout.dtype)


def where_kept(kept: Bool[np.ndarray, "..."], values: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
    """Zero elsewhere."""
    return values if kept.all() else jnp.where(kept, values, 0)


def as_scalars(leaves: Sequence[Inexact[Array, "..."]]) -> Inexact[Array, " n"]:
    """Cotangents of a state, as those of its scalars."""
    dtype = widest(*(leaf.dtype for leaf in leaves))
    return jnp.concatenate([leaf.reshape(-1).astype(dtype) for leaf in leaves])


def seeds_of(analysis: Analysis, colours: Int[np.ndarray, " n"]) -> list[Array]:
    """For every colour, ones on its scalars of the new state."""
    hot = jnp.asarray(colours)[None] == jnp.arange(int(colours.max(initial=0)) + 1)[:, None]
    seeds, start = [], 0
    for var in analysis.step.new_states:
        shape, dtype = analysis.step.program.shape(var), analysis.step.program.avals[var].dtype
        size = int(np.prod(shape))
        here = hot[:, start : start + size].astype(dtype).reshape(hot.shape[0], *shape)
        seeds.append(varying_as(here, analysis.step.program.avals[var]))
        start += size
    return seeds

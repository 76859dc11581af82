"""Influence on whole blocks over many steps at once.

A block is whole if it holds all that its rows can ever influence. The steps 1 to K then act on it as one: with the
products P_s = J_K ... J_(s+1) of their Jacobians,

    e_K  =  P_0 e_0  +  sum_s (P_s dh_s/dy) (x) x_s .

P_s is what reverse mode makes of ones on the last state, pulled back through the steps K to s + 1. So one pass over
the steps for every colour gives P_0 and P_s dh_s/dy together, and no step's Jacobian is made. Scalars of one block
differ in colour here, for in many steps each may depend on all that the block holds.

Source: Schmidhuber, "A fixed size storage O(n^3) time complexity learning algorithm for fully recurrent continually
running networks", Neural Computation 1992.
"""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Inexact, Int

from ..._read import Analysis
from .._status import finite, Stored, worst
from ..xla import apply_blocks, Pieces, scale_blocks, take, take_rows, through_blocks
from ._jacobian import as_scalars, BlockDrive, seeds_of, where_kept
from ._layout import BlockLayout
from ._numbers import features_of

_STEPS = 32
"""So many steps at least are worth one product of matrices; more, where a block has more scalars."""
_SPARE = 2**26
"""What a window leaves until the end may take so many bytes, or as many as the influence itself if that is more."""


@dataclasses.dataclass(frozen=True, eq=False)
class Span:
    """Influences that are carried through many steps at once, and through how many."""

    analysis: Analysis
    layouts: tuple[BlockLayout, ...]

    @functools.cached_property
    def colours(self) -> Int[np.ndarray, " n"]:
        """By scalar of the state, so that no two scalars of a block have one; -1 for those in no block."""
        blocks = [np.unique(block[block >= 0]) for layout in self.layouts for block in np.unique(layout.slots, axis=0)]
        blocks.sort(key=lambda block: -block.size)
        colours = np.full(self.analysis.structure.size, -1)
        around: dict[int, set[int]] = {}
        for number, block in enumerate(blocks):
            for scalar in block.tolist():
                around.setdefault(scalar, set()).add(number)
        taken: list[set[int]] = [set() for _ in blocks]
        for scalar, mine in sorted(around.items(), key=lambda item: min(item[1])):
            near = set().union(*(taken[number] for number in mine))
            colours[scalar] = next(colour for colour in range(len(near) + 1) if colour not in near)
            for number in mine:
                taken[number].add(int(colours[scalar]))
        return colours

    @property
    def passes(self) -> int:
        """Reverse passes over every step."""
        return 1 + int(self.colours.max(initial=-1))

    def seeds(self) -> list[Array]:
        """For every colour, ones on its scalars of the last state."""
        return seeds_of(self.analysis, self.colours)

    def steps(self, length: int, kept: int = 0) -> int:
        """How many at once, of so many: those that are worth it, and that memory allows.

        `kept`: the bytes that each leaves besides.
        """
        most = max(_SPARE, sum(map(_influence_bytes, self.layouts))) // max(1, self.bytes_per_step + kept)
        wanted = max([_STEPS, *(layout.shape[1] for layout in self.layouts)])
        most = max(1, min(most, wanted, length))
        whole = max(size for size in range(1, most + 1) if length % size == 0)
        return whole if 2 * whole >= most else most

    @functools.cached_property
    def bytes_per_step(self) -> int:
        """What one step leaves until the end: P_s dh_s/dy, as it is read and as it is kept, and the state."""
        left = sum(_rows_bytes(layout, self.passes) for layout in self.layouts)
        return left + self.analysis.structure.size * 8

    @property
    def saves(self) -> bool:
        """Is it less work than step by step? Both read Jacobians by reverse passes, which cost what the heads do."""
        step, colours = sum(map(_step_work, self.layouts)), self.analysis.structure.colours
        once = sum(math.prod(layout.shape) * (layout.shape[1] + 2) for layout in self.layouts)
        steps = self.steps(_STEPS)
        entered = sum(math.prod(layout.shape) for layout in self.layouts)
        one_pass = sum(math.prod(layout.head.shape) for layout in self.layouts)
        together = self.passes * one_pass + once // steps + entered
        return steps > 1 and together < step + (1 + int(colours.max(initial=0))) * one_pass


def _step_work(layout: BlockLayout) -> int:
    return math.prod(layout.shape) * (layout.shape[1] + 2)


def _influence_bytes(layout: BlockLayout) -> int:
    return math.prod(layout.shape) * layout.dtype.itemsize


def _rows_bytes(layout: BlockLayout, passes: int) -> int:
    if layout.source.use is None:
        return 0
    g, r, q = layout.shape[:3]
    return max(passes * layout.source.rows, g * r * q) * layout.dtype.itemsize


def make_span(analysis: Analysis, layouts: Sequence[BlockLayout]) -> Span | None:
    """Of the influences that can be carried so, if that is less work than step by step.

    The steps are run again, which their side effects must not be.
    """
    if any(eqn.has_effects for eqn in analysis.step.program.equations):
        return None
    fit = _that_fit(analysis, layouts)
    span = Span(analysis, tuple(fit))
    return span if fit and span.saves else None


def _that_fit(analysis: Analysis, layouts: Sequence[BlockLayout]) -> list[BlockLayout]:
    """Whole influences in the dtype of the state, to which cotangents are rounded at every step."""
    dtypes = {analysis.step.program.avals[state].dtype for state in analysis.step.states}
    return [one for one in layouts if one.is_whole and dtypes == {np.dtype(jnp.finfo(one.dtype).dtype)}]


def window_drives(
    span: Span,
    on_old: Sequence[Inexact[Array, "c ..."]],
    on_weights: Mapping[int, Inexact[Array, "c ..."]],
    on_heads: Mapping[int, Inexact[Array, "t c ..."]],
    met: Mapping[int, Array],
) -> dict[int, BlockDrive]:
    """What the steps do together, from the cotangents of the first state, of weights, of heads, and what these met."""
    old = jax.vmap(as_scalars)(on_old)
    drives = {}
    for layout in span.layouts:
        use, head = layout.source.use, layout.head
        jacobian = _product(layout, span.colours, old)
        if use is None:
            rows = jax.vmap(head.to_rows)(on_weights[layout.weight]).reshape(old.shape[0], -1)
            drives[layout.number] = BlockDrive(jacobian, _entered(layout, span.colours, rows), None)
            continue
        by_step = on_heads[use.output]
        rows = jax.vmap(jax.vmap(head.to_rows))(by_step).reshape(*by_step.shape[:2], -1)
        response = jax.vmap(lambda rows, layout=layout: _entered(layout, span.colours, rows))(rows)
        x = jax.vmap(head.to_features)(met[use.data]).astype(layout.dtype)
        drives[layout.number] = BlockDrive(jacobian, response, x)
    return drives


def _product(layout: BlockLayout, colours: np.ndarray, old: Inexact[Array, "c n"]) -> Inexact[Array, "g r r2"]:
    at, valid = np.maximum(layout.slots, 0), layout.slots >= 0
    read = take(old, colours[at][:, :, None] * old.shape[1] + at[:, None, :])
    return where_kept(valid[:, :, None] & valid[:, None, :], read).astype(jnp.finfo(layout.dtype).dtype)


def _entered(layout: BlockLayout, colours: np.ndarray, rows: Inexact[Array, "c q"]) -> Inexact[Array, "g r q2"]:
    at = np.maximum(layout.slots, 0)
    read = take(rows, colours[at][:, :, None] * rows.shape[1] + np.maximum(layout.rows, 0)[:, None, :])
    kept = (layout.slots >= 0)[:, :, None] & (layout.rows >= 0)[:, None, :]
    return where_kept(kept, read).astype(layout.dtype)


def is_spoiled(value: Any, drive: BlockDrive) -> Bool[Array, ""]:
    """Is anything that matters infinite or NaN? Then a zero may have met it on the way, which is nothing to a step.

    What an empty influence would have met does not matter: the slope of the first step may be infinite.
    """
    status = value.status if isinstance(value, Stored) else jnp.where(value == 0, 0, 1).max(-1)
    matters = ~jnp.isfinite(drive.jacobian) & (status != 0)[:, None, :]
    met = jnp.zeros(()) if drive.x is None else drive.x
    return matters.any() | ~jnp.isfinite(drive.response).all() | ~jnp.isfinite(met).all()


def through_window(layout: BlockLayout, value: Any, drive: BlockDrive, idle: Bool[Array, ""] | bool) -> Any:
    """After the steps of a window that spoils nothing; where `idle`, as it was."""
    eye = jnp.eye(drive.jacobian.shape[-1], dtype=drive.jacobian.dtype)
    jacobian = jnp.where(idle, eye, finite(drive.jacobian))
    if drive.x is None:
        return apply_blocks(jacobian, value) + jnp.where(idle, 0, drive.response)
    before = through_blocks(jacobian, value.status[..., None])[..., 0]
    entered = jnp.where((drive.response != 0).any((0, -1)) & ~idle, 1.0, 0.0)
    x = _by_group(layout, jnp.where(idle, 0, drive.x))
    e = _fold(value.e, jacobian, drive.response, x, idle)
    return Stored(e, worst([before, entered], value.status.dtype))


def _fold(
    e: Inexact[Array, "g r q k"],
    jacobian: Inexact[Array, "g r r2"],
    response: Inexact[Array, "t g r q"],
    x: Inexact[Array, "t g ..."],
    idle: Bool[Array, ""] | bool,
) -> Inexact[Array, "g r q k"]:
    """P_0 e + sum_s A_s (x) x_s, a few rows of every block at a time: the products are as large as what they read."""
    rows = e.shape[2]
    pieces = Pieces.of(rows, rows // min(rows, _BLOCKS))

    def block(e: Array, start: int | Array, pieces: Pieces = pieces) -> Array:
        old, entering = pieces.take(e, start, 2), jnp.where(idle, 0, pieces.take(response, start, 3))
        if x.ndim == 3:
            new = jnp.einsum("tgrq,tgk->grqk", entering, x)
        else:
            new = jnp.einsum("tgrq,tgqk->grqk", entering, pieces.take(x, start, 2))
        return pieces.put(e, scale_blocks(jacobian, old) + new, start, 2)

    e, rest = pieces.fold(block, e), rows % pieces.size
    return block(e, rows - rest, Pieces(rows, rest)) if rest else e


_BLOCKS = 8


def _by_group(layout: BlockLayout, x: Inexact[Array, "t b m k"]) -> Inexact[Array, "t g ..."]:
    """What the rows of every group met: one vector where all of them share a lane and its features."""
    first = layout.lanes[:, :1]
    if layout.columns is None and (layout.lanes == first).all():
        return jax.vmap(lambda x: take_rows(x.reshape(-1, x.shape[-1]), first[:, 0]))(x)
    return jax.vmap(lambda x: features_of(layout, x))(x)

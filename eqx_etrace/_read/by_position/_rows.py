"""D and dh/dy of a tail, filters included.

The row of a state is what one reverse pass reads. The row of a filter, of the state r that it stands for, is

    dzbar/dzbar'  =  c          dzbar/dh  =  b dz/dh          dzbar/dy  =  b dz/dy ,

with c and b those of r: numbers that r, wherever z reaches it, has in common.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..._times import times
from ..program import at_rows, elements, NONE, pick, Positions, Program
from ..step import Step
from ._filter import Edge, Entrance
from ._passes import Env, passes
from ._tail import Site, Tail


@dataclasses.dataclass
class Rows:
    """Of one tail: states and filters by number; what is zero by structure is absent. Arrays, or labels of them."""

    tail: Tail
    program: Program
    values: Env
    decay: dict[tuple[int, int], Any] = dataclasses.field(default_factory=dict)
    """(s, s') D, in the layout of the old state s'."""
    response: dict[tuple[int, int], Any] = dataclasses.field(default_factory=dict)
    """(s, site) dh_s/dy, in the layout of y; after the sites, of what enters at the entrances."""

    def entered(self, state: int, edge: Edge) -> Array:
        """dh_s/dy at an entrance."""
        at = [entrance.edge for entrance in self.tail.entrances].index(edge)
        return self.response[state, len(self.tail.sites) + at]

    def add(self, number: int, found: Mapping[int, Array], scale: "_Scale | None" = None) -> None:
        """The row of a state or filter, from what a pass found, by the number of what that is made of."""
        leaves, positions = self.tail.group.leaves, self.tail.group.positions
        frames = [*self.tail.sites, *self.tail.entrances]
        for of, d in found.items():
            if of < len(leaves):
                self.decay[number, leaves[of]] = _scaled(scale, positions[of], d)
            else:
                shift = of - len(leaves)
                self.response[number, shift] = self._scaled_at(scale, frames[shift], d)

    def _scaled_at(self, scale: "_Scale | None", at: Site | Entrance, d: Array) -> Array:
        if scale is None or isinstance(at, Entrance) or at.decision is None:
            return _scaled(scale, at.frame, d)
        positions, b = scale
        rows = at.decision.rows(self.program, at.frame, self.values)
        return times(at_rows(pick(b, elements(positions, at.decision.frame)), rows), d)


_Scale = tuple[Positions, Array]
"""Positions of z, and b in their layout."""


def rows_of(step: Step, tails: Sequence[Tail], values: Env) -> list[Rows]:
    """Of these tails, and all that reads them through filters among them."""
    found = [passes(step, tail, values) for tail in tails]
    rows = [Rows(tail, step.program, values) for tail in tails]
    holding = {number: one for one in rows for number in one.tail.numbers}
    for one, ends in zip(rows, found, strict=True):
        for end, leaf in enumerate(one.tail.group.leaves):
            one.add(leaf, _made_of(ends, end))
    # By number: what a filter stands for comes first, be it in the same tail.
    every = [(one, mine, ends) for mine, ends in zip(rows, found, strict=True) for one in mine.tail.filters]
    for one, mine, ends in sorted(every, key=lambda entry: entry[0].number):
        reader, end = holding[one.state], len(mine.tail.group.leaves) + mine.tail.read.index(one.entrance.source)
        if one.is_entered:
            b = _by_lane(reader.entered(one.state, one.entrance.edge), one.lanes)
            mine.add(one.number, _made_of(ends, end), (one.positions, b))
        for other in filter(one.is_fed_by, mine.tail.filters):
            c = reader.decay[one.state, other.state]
            mine.decay[one.number, other.number] = _by_lane(c, _picked(other.reads, one.lanes))
    return rows


def _made_of(found: Mapping[tuple[int, int], Array], end: int) -> dict[int, Array]:
    return {of: d for (at, of), d in found.items() if at == end}


def _scaled(scale: _Scale | None, frame: Positions, d: Array) -> Array:
    """b, in the layout of a variable with this frame, times a derivative by it."""
    if scale is None:
        return d
    positions, b = scale
    is_same = positions.shape == frame.shape and (positions == frame).all()
    return times(b if is_same else pick(b, elements(positions, frame)), d)


def _picked(values: Positions, index: Positions) -> Positions:
    return np.where(index >= 0, values.ravel()[np.maximum(index, 0)], NONE)


def _by_lane(values: Array, index: Positions) -> Array:
    """The elements that `index` names. What is the same along the last axes is read once."""
    lead = index.ndim
    while lead and (index == index[(slice(None),) * (lead - 1) + (slice(0, 1),)]).all():
        lead -= 1
    once = np.asarray(index[(slice(None),) * lead + (slice(0, 1),) * (index.ndim - lead)])
    return jnp.broadcast_to(pick(values, once), index.shape)

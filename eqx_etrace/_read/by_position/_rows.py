"""D and dh/dy of a tail, filters included.

The row of a state is what one reverse pass reads. The row of a filter, of the state r that it stands for, is

    dzbar/dzbar'  =  c          dzbar/dh  =  b dz/dh          dzbar/dy  =  b dz/dy ,

with c and b those of r: numbers that r, wherever z reaches it, has in common.
"""

import dataclasses
from collections.abc import Iterator, Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..._times import times
from ..program import elements, NONE, pick, Positions
from ..step import Step
from ._filter import Edge, Filter
from ._passes import Env, passes
from ._tail import Tail


@dataclasses.dataclass(frozen=True)
class Rows:
    """States and filters by number; what is zero by structure is absent."""

    decay: Mapping[tuple[int, int], Array]
    """(s, s') D, in the layout of the old state s'."""
    response: Mapping[tuple[int, int], Array]
    """(s, site) dh_s/dy, in the layout of y."""
    entered: Mapping[tuple[int, Edge], Array]
    """(s, edge) The same at an entrance."""


def rows_of(step: Step, tail: Tail, values: Env, readers: Mapping[int, Rows]) -> Rows:
    """Of one tail. `readers` are the rows of the tails that read it, by the number of a state or filter of theirs."""
    found, leaves, sites = passes(step, tail, values), tail.group.leaves, len(tail.sites)
    decay, shifted = {}, {}
    for (end, of), d in found.items():
        for number, b in _ends(tail, end, readers):
            if of < len(leaves):
                old = tail.group.positions[of]
                decay[number, leaves[of]] = d if b is None else times(_over(b, old), d)
            else:
                y = _frame(tail, of - len(leaves))
                shifted[number, of - len(leaves)] = d if b is None else times(_over(b, y), d)
    for one in tail.filters:
        decay |= {(one.number, other.number): c for other, c in _beside(tail, one, readers)}
    return Rows(
        decay=decay,
        response={(s, i): d for (s, i), d in shifted.items() if i < sites},
        entered={(s, tail.entrances[i - sites].edge): d for (s, i), d in shifted.items() if i >= sites},
    )


_Scale = tuple[Positions, Array]
"""Positions of z, and b in their layout."""


def _ends(tail: Tail, end: int, readers: Mapping[int, Rows]) -> Iterator[tuple[int, _Scale | None]]:
    """The states and filters that an end of the passes is a row of, by number, and the factor that it gets."""
    if end < len(tail.group.leaves):
        yield tail.group.leaves[end], None
        return
    source = tail.read[end - len(tail.group.leaves)]
    for one in tail.filters:
        if one.entrance.source == source and one.is_entered:
            b = readers[one.state].entered[one.state, one.entrance.edge]
            yield one.number, (one.positions, _by_lane(b, one.lanes))


def _beside(tail: Tail, one: Filter, readers: Mapping[int, Rows]) -> Iterator[tuple[Filter, Array]]:
    """The filters that this one is made of in the next step, and by which factor."""
    for other in tail.filters:
        if one.is_fed_by(other):
            c = readers[one.state].decay[one.state, other.state]
            yield other, _by_lane(c, _picked(other.reads, one.lanes))


def _frame(tail: Tail, shift: int) -> Positions:
    return [*tail.sites, *tail.entrances][shift].frame


def _over(scale: _Scale, frame: Positions) -> Array:
    """b in the layout of a variable with this frame."""
    positions, b = scale
    return b if positions.shape == frame.shape and (positions == frame).all() else pick(b, elements(positions, frame))


def _picked(values: Positions, index: Positions) -> Positions:
    return np.where(index >= 0, values.ravel()[np.maximum(index, 0)], NONE)


def _by_lane(values: Array, index: Positions) -> Array:
    """The elements that `index` names. What is the same along the last axes is read once."""
    lead = index.ndim
    while lead and (index == index[(slice(None),) * (lead - 1) + (slice(0, 1),)]).all():
        lead -= 1
    once = index[(slice(None),) * lead + (slice(0, 1),) * (index.ndim - lead)]
    return jnp.broadcast_to(pick(values, once), index.shape)

"""Short axes that a weight's outputs run along, and that may hold the states of a unit all the same.

Each compartment of a neuron may have synapses of its own. Then a weight's outputs run along both axes of `[n, 3]`, and
nothing tells which are the units': short axes are tried, one after the other. A trained weight that mixes along an axis
makes it the units', and so does one that is shared along it, as by lanes or places of an image. A fixed coupling does
not, if another axis is left for the units.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Int

from ..program import NONE
from ..step import Places, Step
from ._packed import are_by_weights
from ._tail import Site, Tail

_MOST = 8
"""Elements along the axis. Every weight has a number of trace for each of them."""


@dataclasses.dataclass(frozen=True)
class _Axis:
    """One axis of one array of the state."""

    part: int
    number: int
    length: int
    axes: int

    @property
    def keys(self) -> tuple[tuple[int, int], ...]:
        """What it may have in common with those of other arrays: its length and place, from the front or the back."""
        return (self.length, self.number), (self.length, self.number - self.axes)


def places_along_short_axes(
    step: Step, fixed: frozenset[int], bits: Mapping[int, int], tails: Sequence[Tail], found: Sequence[Places]
) -> Iterator[tuple[Places, ...]]:
    """What may be tried beside the places that were found: the same axis of all arrays that are as long along it."""
    mixed = [tail for tail in tails if _is_mixed_by_fixed_maps(step, fixed, bits, tail)]
    axes = [axis for tail in mixed for axis in _axes(step, tail, found)]
    tried: set[tuple[Places, ...]] = set()
    for key in dict.fromkeys(itertools.chain.from_iterable(axis.keys for axis in axes)):
        chosen = {axis.part: axis for axis in axes if key in axis.keys}
        places = tuple(_also(of, chosen.get(part)) for part, of in enumerate(found))
        if places not in tried:
            tried.add(places)
            yield places


def _is_mixed_by_fixed_maps(step: Step, fixed: frozenset[int], bits: Mapping[int, int], tail: Tail) -> bool:
    """Does anything mix in this group, and no trained weight?"""
    by_weights = are_by_weights(step, fixed, bits, tail)
    return bool(by_weights) and not any(by_weights)


def _axes(step: Step, tail: Tail, found: Sequence[Places]) -> Iterator[_Axis]:
    """The axes of a group's arrays that are short and whole, and leave another along which weights are their own."""
    for part, leaves in enumerate(step.state.parts):
        if leaves[0] in tail.group.leaves:
            positions = tail.group.positions[tail.group.leaves.index(leaves[0])]
            taken = {axis for axis, _ in found[part]}
            own = [
                a for a in range(positions.ndim) if a not in taken and _are_their_own(step, tail.sites, positions, a)
            ]
            short = [axis for axis in own if positions.shape[axis] <= _MOST]
            yield from (_Axis(part, a, positions.shape[a], positions.ndim) for a in short if len(own) > 1)


def _are_their_own(step: Step, sites: Sequence[Site], positions: Int[np.ndarray, "..."], axis: int) -> bool:
    """Does every number of a weight that meets data enter at one place along the axis, and not all at the same?"""
    along = np.full(1 + positions.max(initial=0), NONE)
    along[positions] = np.arange(positions.shape[axis]).reshape([-1 if a == axis else 1 for a in range(positions.ndim)])
    places = [_entered(step, site, along) for site in sites if site.output is not None]
    is_wide = np.unique(np.concatenate([here[here >= 0] for here in places] or [[]])).size > 1
    return is_wide and all((here >= NONE).all() for here in places)


def _entered(step: Step, site: Site, along: Int[np.ndarray, "..."]) -> Int[np.ndarray, "..."]:
    """For each element of a weight, the place along an axis that it enters; NONE if none, MANY if several."""
    frame = np.where(site.frame < along.size, site.frame, NONE)
    places = np.where(frame >= 0, along[np.maximum(frame, 0)], NONE)
    link = step.program.links(site.equation, site.equation.inputs.index(site.weight), 0)
    shape = step.program.shape(site.weight)
    return np.full(shape, NONE) if link is None else np.asarray(link.backward(places, shape))


def _also(found: Places, axis: _Axis | None) -> Places:
    return found if axis is None else tuple(sorted((*found, (axis.number, tuple(range(axis.length))))))

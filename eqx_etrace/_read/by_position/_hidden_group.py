"""Stage 2: the hidden groups.

Two hidden states share their positions where one reaches the other's new value element by element:
the labels of the old state, carried forward through every operation that is not mixing, arrive
unique. Groups are the connected components of that relation. Leaves need not have the same size: an
adaptation current that only the excitatory half owns occupies half the positions.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from ..program import by_edge, Equation, indices, merge, Mixing, NONE, Positions, propagate
from ..step import Path, Step


@dataclasses.dataclass(frozen=True)
class HiddenGroup:
    """Hidden states that share their positions."""

    index: int
    """Its number, in data-flow order."""
    paths: tuple[Path, ...]
    """The path of each of its states in the state pytree."""
    shape: tuple[int, ...]
    """The shape of the positions: that of a state which occupies all of them."""
    leaves: tuple[int, ...] = dataclasses.field(repr=False)
    """Which real arrays of the state these are, by number."""
    positions: tuple[Positions, ...] = dataclasses.field(repr=False, compare=False)
    """For each state, the position of each of its elements."""

    @property
    def num_states(self) -> int:
        """How many scalars a position owns."""
        return len(self.paths)

    @property
    def size(self) -> int:
        """How many positions there are."""
        return int(np.prod(self.shape))


Arrivals = Mapping[int, Mapping[int, Positions]]
"""For every variable, the labels of each hidden state that reaches it aligned."""


def find_hidden_groups(step: Step, arrivals: Arrivals) -> tuple[HiddenGroup, ...]:
    """Group the hidden states, in the order in which the step computes them."""
    members = {leaf: {leaf: indices(step.program.shape(var))} for leaf, var in enumerate(step.states)}
    home = list(members)
    for target, new in enumerate(step.new_states):
        for start, labels in arrivals.get(new, {}).items():
            gone, kept = home[start], home[target]
            if gone != kept and _is_unique(labels):
                renamed = _rename(labels, members[kept][target], members[gone], start, _extent(members[kept]))
                members[kept] |= renamed
                home = [kept if h == gone else h for h in home]
    order = {var: i for i, eqn in enumerate(step.program.equations) for var in eqn.outputs}
    by_time = sorted(members, key=lambda leaf: order[step.new_states[leaf]])
    groups = dict.fromkeys(home[leaf] for leaf in by_time)
    return tuple(_as_group(step, index, members[h]) for index, h in enumerate(groups))


def find_arrivals(step: Step) -> Arrivals:
    """Carry the labels of every hidden state forward until they mix."""
    program = step.program

    def along(eqn: Equation, i: int, j: int, labels: Mapping[int, Positions]) -> Mapping[int, Positions] | None:
        link = program.links(eqn, i, j)
        if link is None or isinstance(link, Mixing):
            return None
        moved = {leaf: link.forward(of, program.shape(eqn.outputs[j])) for leaf, of in labels.items()}
        return {leaf: of for leaf, of in moved.items() if (of != NONE).any()}

    own = {var: {leaf: indices(program.shape(var))} for leaf, var in enumerate(step.states)}
    return propagate(program.equations, own, by_edge(along, _merged), _merged)


def _merged(first: Mapping[int, Positions], second: Mapping[int, Positions]) -> Mapping[int, Positions]:
    """By leaf."""
    both = first.keys() & second.keys()
    return {**first, **second, **{leaf: merge(first[leaf], second[leaf]) for leaf in both}}


def _is_unique(labels: Positions) -> bool:
    known = labels[labels >= 0]
    return bool(known.size) and bool((labels >= NONE).all()) and len(np.unique(known)) == known.size


def _extent(group: dict[int, Positions]) -> int:
    return 1 + max(int(p.max(initial=-1)) for p in group.values())


def _rename(
    labels: Positions, target: Positions, group: dict[int, Positions], start: int, free: int
) -> dict[int, Positions]:
    """The positions of `group`, renamed so that `labels` of its state `start` fall on `target`."""
    met = labels >= 0
    rename = np.full(_extent(group), NONE)
    rename[group[start].ravel()[labels[met]]] = target[met]
    unmet = rename == NONE
    rename[unmet] = free + np.arange(unmet.sum())
    return {leaf: np.asarray(rename[positions]) for leaf, positions in group.items()}


def _as_group(step: Step, index: int, members: dict[int, Positions]) -> HiddenGroup:
    leaves = tuple(sorted(members))
    extent = _extent(members)
    full = [p.shape for p in members.values() if p.size == extent]
    return HiddenGroup(
        index=index,
        paths=tuple(step.state.inexact_paths[leaf] for leaf in leaves),
        shape=full[0] if full else (extent,),
        leaves=leaves,
        positions=tuple(members[leaf] for leaf in leaves),
    )

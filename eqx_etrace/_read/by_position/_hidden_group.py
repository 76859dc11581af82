"""Stage 2: the hidden groups.

Two hidden states share their positions where one reaches the other's new value element by element:
the labels of the old state, carried forward through every operation that is not mixing, arrive
unique. Groups are the connected components of that relation. Leaves need not have the same size: an
adaptation current that only the excitatory half owns occupies half the positions.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from ..program import by_edge, Equation, indices, MANY, merge, Mixed, Mixing, NONE, Positions, propagate
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
    order = {var: i for i, eqn in enumerate(step.program.equations) for var in eqn.outputs}

    def made(group: HiddenGroup) -> int:
        return min(order[step.new_states[leaf]] for leaf in group.leaves)

    groups = sorted((group for group, _ in groups_with(step, arrivals, ())), key=made)
    return tuple(dataclasses.replace(group, index=index) for index, group in enumerate(groups))


def groups_with(step: Step, arrivals: Arrivals, read: Sequence[int]) -> list[tuple[HiddenGroup, dict[int, Positions]]]:
    """The groups, where these variables are taken for new values of states, too; each with the positions of its own.

    What no state reaches aligned is a group without states.
    """
    targets = {**dict(enumerate(step.new_states)), **{~i: var for i, var in enumerate(read)}}
    own = {n: indices(step.program.shape(step.states[n] if n >= 0 else var)) for n, var in targets.items()}
    reaching = {n: _reaching(step, arrivals, n, var) for n, var in targets.items()}
    return [(_as_group(step, of), _read_in(of, read)) for of in _connected(own, reaching)]


def _connected(own: Mapping[int, Positions], reaching: Arrivals) -> list[dict[int, Positions]]:
    """The connected components of what reaches what aligned, each with the positions that its members share."""
    members = {n: {n: positions} for n, positions in own.items()}
    home = {n: n for n in own}
    for target, arriving in reaching.items():
        for start, labels in arriving.items():
            gone, kept = home[start], home[target]
            if gone != kept and _is_unique(labels):
                renamed = _rename(labels, members[kept][target], members[gone], start, _extent(members[kept]))
                members[kept] |= renamed
                home = {n: kept if h == gone else h for n, h in home.items()}
    return [members[h] for h in dict.fromkeys(home.values())]


def _read_in(members: Mapping[int, Positions], read: Sequence[int]) -> dict[int, Positions]:
    return {read[~n]: p for n, p in members.items() if n < 0}


def _reaching(step: Step, arrivals: Arrivals, target: int, var: int) -> Mapping[int, Positions]:
    """The states that reach a variable aligned; a new state that is read is that state."""
    if target < 0 and var in step.new_states:
        return {step.new_states.index(var): indices(step.program.shape(var))}
    return arrivals.get(var, {})


def find_arrivals(step: Step) -> Arrivals:
    """Carry the labels of every hidden state forward until they mix."""
    program = step.program

    def along(eqn: Equation, i: int, j: int, labels: Mapping[int, Positions]) -> Mapping[int, Positions] | None:
        link = program.links(eqn, i, j)
        if link is None or isinstance(link, Mixing):
            return None
        moved = {leaf: link.forward(of, program.shape(eqn.outputs[j])) for leaf, of in labels.items()}
        if isinstance(link, Mixed):  # what mixes arrives nowhere
            moved = {leaf: np.asarray(np.where(of == MANY, NONE, of)) for leaf, of in moved.items()}
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


def _shape(members: dict[int, Positions]) -> tuple[int, ...]:
    """That of the first member that has an element at every position; if none has, one axis of them."""
    extent = _extent(members)
    return next((p.shape for p in members.values() if p.size == extent), (extent,))


def _as_group(step: Step, members: dict[int, Positions]) -> HiddenGroup:
    leaves = tuple(sorted(n for n in members if n >= 0))
    return HiddenGroup(
        index=0,
        paths=tuple(step.state.inexact_paths[leaf] for leaf in leaves),
        shape=_shape(members),
        leaves=leaves,
        positions=tuple(members[leaf] for leaf in leaves),
    )

"""Which groups are read through filters, found by structure.

A cut edge into a group is an entrance of filters if its operation is a linear map that does not change with time, and
if all that the edge ever reaches in the group moves at one pace: where one lane of z reaches, c and b are one number
each. Whether they are is read off the equations that compute them: a scalar that is broadcast is one number, a value
for every unit is not. Filters are found from the output backward, because a filter may be read in its turn. What a
state can ever reach must not come back to it over an entrance: between outputs that feed one another nothing commutes.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import jax.numpy as jnp
import numpy as np

from ._dead_ends import live_parts, with_later_states
from .by_position import Cut, Edge, Entrance, Filter, find_tail, groups_with, HiddenGroup, Knowledge, Pace, Tail
from .program import elements, is_fixed_map, Positions, union
from .step import Step


@dataclasses.dataclass(frozen=True)
class Filtered:
    """Every group with its filters."""

    tails: tuple[Tail, ...]
    """The tails that read others through filters, or are read so."""
    every: tuple[Tail, ...]
    """Of all groups, without the cuts at which filters enter."""


_RATES = "no filter follows it: what reads it would have to be linear, and move at one rate for all of its units"
_FACTORS = "no filter follows it: what reads it would have to be linear, and take it by one factor for all of its units"
_LOOP = "no filter follows it: what reads it feeds itself"
_MOST = 8
"""Filters at one entrance. There is one for each way through layers that skip layers, and each takes a trace."""
_MANY = f"no filter follows it: more than {_MOST} states are reached through what reads it"
_Key = tuple[tuple[int, int], int]
"""An edge, and the first state or filter that it enters."""


class _Search:
    """The decisions, one entrance after the other."""

    def __init__(self, step: Step, known: Knowledge, groups: Sequence[HiddenGroup]):
        self.step, self.known, self.groups = step, known, groups
        self.filters: list[Filter] = []
        self.decided: dict[_Key, str | None] = {}
        """Why no filter enters, if there is more to say than the cut itself; None if filters do."""
        self.paces: dict[int, Pace] = {}
        self.known_tails: dict[tuple[object, ...], Tail] = {}
        count = range(len(step.states))
        self.later = [with_later_states(step, known.bits, step.state_bits([leaf])) for leaf in count]
        needed = union(known.bits, step.pulled)
        self.live = set(live_parts(step, known.bits, needed, [[leaf] for leaf in count]))

    def run(self) -> Filtered:
        while True:
            tails = self.tails()
            every = self.undecided(tails)
            ready = [(tail, at) for tail, at in every if not self.waits(tail, at, every)]
            if not ready:
                return self.result(tails)
            for tail, at in ready:
                self.decide(tails, tail, at)

    def undecided(self, tails: Sequence[Tail]) -> list[tuple[Tail, Entrance]]:
        return [(tail, at) for tail in tails for at in tail.entrances if self.key(tail, at) not in self.decided]

    def tails(self) -> list[Tail]:
        """Of all groups with the filters found so far."""
        read = tuple(dict.fromkeys(one.entrance.source for one in self.filters))
        return [self.tail(group, own) for group, own in groups_with(self.step, self.known.arrivals, read)]

    def tail(self, group: HiddenGroup, own: Mapping[int, Positions]) -> Tail:
        mine = [one for one in self.filters if one.entrance.source in own]
        key = (group.leaves, *(one.number for one in mine))
        if key not in self.known_tails:
            mine = [dataclasses.replace(one, positions=own[one.entrance.source]) for one in mine]
            group = dataclasses.replace(group, index=self.shown(group, mine))
            self.known_tails[key] = find_tail(self.step, self.known, group, mine, self.is_entrance)
        return self.known_tails[key]

    def shown(self, group: HiddenGroup, filters: Sequence[Filter]) -> int:
        """The number of the group that a user sees: that of its first state, or of what its filters stand for."""
        leaves = set(group.leaves) or set(self.stands_for(one.number for one in filters))
        return next(g.index for g in self.groups if leaves.intersection(g.leaves))

    def is_entrance(self, edge: tuple[int, int]) -> bool:
        """Is it a linear map of one real variable, fixed, into one other?"""
        program, (first, operand) = self.step.program, edge
        eqn = program.producer[first]
        met = [eqn.inputs[operand], *eqn.outputs]
        is_real = all(jnp.issubdtype(program.avals[v].dtype, jnp.floating) for v in met)
        is_map = is_real and len(eqn.outputs) == 1 and program.links(eqn, operand, 0) is not None
        return is_map and is_fixed_map(eqn, operand, self.known.fixed.__contains__)

    def key(self, tail: Tail, at: Entrance) -> _Key:
        return at.edge, min(self.reached(tail, at), default=-1)

    def reached(self, tail: Tail, at: Entrance) -> list[int]:
        """The states and filters of a group that an entrance ever reaches."""
        enters = tail.entries(self.step, len(tail.sites) + tail.entrances.index(at))
        couplings = np.array(tail.couplings(self.step)).reshape(len(enters), -1)
        here = np.array(enters, bool)
        for _ in enters:
            here = here | (couplings & here).any(1)
        return [number for number, is_here in zip(tail.numbers, here, strict=True) if is_here]

    def stands_for(self, numbers: Iterable[int]) -> list[int]:
        """The states among them, and those that the filters among them stand for."""
        count = len(self.step.states)
        return [n if n < count else self.filters[n - count].leaf for n in numbers]

    def feeds(self, tail: Tail, at: Entrance, other: Entrance) -> bool:
        """Can what enters here ever reach the other entrance?"""
        later = [self.later[leaf] for leaf in self.stands_for(self.reached(tail, at))]
        states = self.step.state_bits(range(len(self.step.states)))
        return any(bits & states & self.known.bits.get(other.source, 0) for bits in later)

    def waits(self, tail: Tail, at: Entrance, every: Sequence[tuple[Tail, Entrance]]) -> bool:
        """Is something still open between here and the output?"""
        if self.feeds(tail, at, at):
            return False
        return any(other is not at and self.feeds(tail, at, other) for _, other in every if not self.is_loop(_, other))

    def is_loop(self, tail: Tail, at: Entrance) -> bool:
        return self.feeds(tail, at, at)

    def is_left_alone(self, tail: Tail, reached: Sequence[int]) -> bool:
        """Does all that enters the group come back to where it enters, or does nobody need what is reached?"""
        is_only_fed_back = all(self.is_loop(tail, at) for at in tail.entrances)
        return is_only_fed_back or self.live.isdisjoint(self.stands_for(reached))

    def pace(self, tails: Sequence[Tail], tail: Tail) -> Pace:
        if id(tail) not in self.paces:
            self.paces[id(tail)] = Pace(self.step, tails, tail)
        return self.paces[id(tail)]

    def decide(self, tails: Sequence[Tail], tail: Tail, at: Entrance) -> None:
        key, reached = self.key(tail, at), self.reached(tail, at)
        self.decided[key] = ""
        if self.is_left_alone(tail, reached):
            return
        pace = self.pace(tails, tail)
        lanes = pace.lanes(at, reached)
        if lanes is None:
            self.decided[key] = _FACTORS if pace.is_one_rate(at, reached) else _RATES
        elif len(reached) > _MOST:
            self.decided[key] = _MANY
        elif self.is_loop(tail, at):
            self.decided[key] = _LOOP
        else:
            self.decided[key] = None
            self.add(tail, at, reached, lanes)

    def add(self, tail: Tail, at: Entrance, reached: Sequence[int], lanes: Positions) -> None:
        start = len(self.step.states) + len(self.filters)
        rows = dict(zip(tail.numbers, tail.couplings(self.step), strict=True))
        enters = dict(
            zip(tail.numbers, tail.entries(self.step, len(tail.sites) + tail.entrances.index(at)), strict=True)
        )
        positions = dict(zip(tail.numbers, tail.positions, strict=True))
        for i, state in enumerate(reached):
            coupled = [n for n, is_coupled in zip(tail.numbers, rows[state], strict=True) if is_coupled]
            self.filters.append(
                Filter(
                    number=start + i,
                    state=state,
                    leaf=self.stands_for([state])[0],
                    entrance=at,
                    positions=lanes,
                    lanes=lanes,
                    reads=elements(positions[state], at.frame),
                    feeds=frozenset(reached).intersection(coupled),
                    is_entered=enters[state],
                )
            )

    def result(self, tails: Sequence[Tail]) -> Filtered:
        every = {id(tail): self.closed(tail) for tail in tails}
        used = filter(self.takes_part, tails)
        return Filtered(tuple(every[id(tail)] for tail in used), tuple(every.values()))

    def takes_part(self, tail: Tail) -> bool:
        """Does it read others through filters, or is it read so?"""
        return bool(tail.filters) or any(self.is_open(tail, at) for at in tail.entrances)

    def is_open(self, tail: Tail, at: Entrance) -> bool:
        return self.decided[self.key(tail, at)] is None

    def closed(self, tail: Tail) -> Tail:
        """Without the cuts at which filters enter, and without the entrances at which none does."""
        why = {at.edge: self.decided[self.key(tail, at)] for at in tail.entrances}
        cuts = [cut for cut in tail.cuts if cut.edge not in why or why[cut.edge] is not None]
        return dataclasses.replace(tail, cuts=tuple(_told(cut, why) for cut in cuts))


def _told(cut: Cut, why: Mapping[Edge, str | None]) -> Cut:
    """With another way to write it, and why no filter enters, by edge."""
    more = None if cut.edge is None else why.get(cut.edge)
    return cut if not more else dataclasses.replace(cut, why="; ".join(filter(None, (cut.why, more))))


def find_filtered(step: Step, known: Knowledge, groups: Sequence[HiddenGroup], tails: Sequence[Tail]) -> Filtered:
    """The groups of a step with their filters."""
    search = _Search(step, known, groups)
    if not any(cut.edge is not None and search.is_entrance(cut.edge) for tail in tails for cut in tail.cuts):
        return Filtered((), tuple(tails))
    return search.run()

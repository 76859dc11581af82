"""What the tail of a hidden group is: its equations, the kept edges, the sites, and the cuts.

A parameter enters at a **site**: an effective weight (a value of the prologue) meets data. Where the
weight is itself laid out by position it is its own output; where a contraction, a convolution or a lookup meets
it, the output is that operation's.
"""

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence

from ..program import Equation, Positions
from ..step import Step
from ._decision import Decision
from ._filter import Edge, Entrance, Filter
from ._hidden_group import HiddenGroup


@dataclasses.dataclass(frozen=True)
class Cut:
    """A mixing edge into the tail of a group: credit that the position-diagonal Jacobian drops."""

    group: int
    operand: int
    what: str
    source: str
    is_followed: bool = False
    """Does credit go on, though not exactly?"""
    why: str = ""
    """Why no filter carries the credit on, and how else the operation could be written."""
    is_random: bool = False
    """Does credit go on in the mean?"""
    edge: Edge | None = dataclasses.field(default=None, repr=False, compare=False)
    """Which edge it is."""

    @property
    def where(self) -> str:
        """What happens, and at which line."""
        return f"{self.what} at {self.source}" if self.source else self.what

    def __str__(self) -> str:
        return f"{self.where} ({self.why})" if self.why else self.where


@dataclasses.dataclass(frozen=True)
class Site:
    """Where one effective weight enters one hidden group: w~ --head--> y --tail--> h."""

    group: int
    weight: int
    equation: Equation
    output: int | None
    """The variable y; None where the weight is its own output."""
    edges: frozenset[Edge]
    frame: Positions
    """For each element of y, its position."""
    features: int | None = None
    """The variable x that the weight meets; None where the weight is its own output."""
    decision: Decision | None = None
    """What decides the positions; None if they are known."""

    @property
    def kind(self) -> str:
        return "elementwise" if self.output is None else self.equation.traits.head


@dataclasses.dataclass(frozen=True, eq=False)
class Tail:
    """The position-preserving remainder of the step, from the sites and old states of a group to its new states."""

    group: HiddenGroup
    equations: tuple[Equation, ...]
    kept: frozenset[Edge]
    sites: tuple[Site, ...]
    cuts: tuple[Cut, ...]
    reach: Mapping[int, int]
    """For each variable, bits: of the group's old states, of its sites, then of its entrances, those it depends on."""
    entrances: tuple[Entrance, ...] = ()
    """Where filters of other groups enter."""
    filters: tuple[Filter, ...] = ()
    """What others make of the group, as more states of it."""

    @property
    def numbers(self) -> tuple[int, ...]:
        """The states of the group and its filters, by number."""
        return (*self.group.leaves, *(one.number for one in self.filters))

    @property
    def positions(self) -> tuple[Positions, ...]:
        """Of each of these, the position of each of its elements."""
        return (*self.group.positions, *(one.positions for one in self.filters))

    @property
    def followed(self) -> tuple[int, ...]:
        """The states that its traces tell of: its own, then those that its filters stand for."""
        return tuple(dict.fromkeys((*self.group.leaves, *(one.leaf for one in self.filters))))

    @functools.cached_property
    def read(self) -> tuple[int, ...]:
        """The variables z of its filters."""
        return tuple(dict.fromkeys(one.entrance.source for one in self.filters))

    def recomputes(self, edge: Edge, var: int) -> bool:
        """Does this use of a variable see the recomputed value, and not the one that the step left behind?"""
        return edge in self.kept and var in self.reach

    def couplings(self, step: Step) -> tuple[tuple[bool, ...], ...]:
        """[s][s']: does the new state s depend on the old state s'? States, then filters."""
        old = range(self.group.num_states)

        def row(bits: int, one: Filter | None) -> tuple[bool, ...]:
            beside = (one is not None and one.is_fed_by(other) for other in self.filters)
            return (*(bool(bits >> s & 1) for s in old), *beside)

        return tuple(row(bits, one) for bits, one in self._rows(step))

    def entries(self, step: Step, shift: int) -> tuple[bool, ...]:
        """[s]: does the new state s depend in the same step on this site, or, after them, this entrance?"""
        bit = self.group.num_states + shift
        return tuple(bool(bits >> bit & 1) for bits, _ in self._rows(step))

    def _rows(self, step: Step) -> list[tuple[int, Filter | None]]:
        """Of every state, then filter, what it is made of in the same step."""
        states = [(self.reach.get(step.new_states[leaf], 0), None) for leaf in self.group.leaves]
        made = [(self.reach.get(one.entrance.source, 0) if one.is_entered else 0, one) for one in self.filters]
        return [*states, *made]


def with_readers(among: Sequence[Tail], tails: Sequence[Tail]) -> list[Tail]:
    """These tails, and all that read them through filters."""
    holding = {number: tail for tail in among for number in tail.numbers}
    found = list(tails)
    for tail in found:
        found += [reader for reader in _readers(tail, holding) if reader not in found]
    return found


def _readers(tail: Tail, holding: Mapping[int, Tail]) -> Iterable[Tail]:
    """What reads a tail through its filters, each once. `holding`: by number of a state, what it belongs to."""
    return dict.fromkeys(holding[one.state] for one in tail.filters)

"""How the variables of a step lie along one axis of an array of its state.

From the new state the step is followed backward. On each way that a variable goes, it is told which place along the
axis each of its elements enters.
"""

import dataclasses
import functools
import itertools
import operator
from collections.abc import Mapping, Set

import numpy as np
from jaxtyping import Int

from ..primitives import Flow
from ..program import by_edge, Equation, Link, MIXING, NONE, Positions, Program, propagate
from ..step import Step

MOST = 64
"""Parts of one array. A trace is kept for each, and a reverse pass made."""
Places = Int[np.ndarray, "..."]
"""For each element, the place that it enters; NONE if none, or several."""
Ways = dict[bytes, Places]
"""The different ways in which one variable enters, by what they say."""
Boundaries = int
"""Bit b stands for the boundary between the places b - 1 and b."""
_MOST_WAYS = 8


@dataclasses.dataclass(frozen=True)
class Axis:
    """One axis of one array of the state."""

    leaf: int
    number: int
    length: int
    runs: Mapping[int, Boundaries]
    """For every variable, the boundaries that it runs across."""
    ways: Mapping[int, Ways]
    """Of the old states."""
    candidates: Boundaries
    """Where the array may be taken apart, as far as its shape and its joints say."""

    def runs_of(self, var: int, cell: Int[np.ndarray, "..."]) -> Boundaries:
        """The boundaries that an old state runs across within one of its cells."""
        ways = self.ways.get(var, {}).values()
        return functools.reduce(operator.or_, [_within(places, cell, self.length) for places in ways], 0)


Filled = Mapping[int, Positions]
"""For every variable: NONE where an element is a constant."""


def find_filled(step: Step) -> Filled:
    """The elements that depend on a parameter, a state or an input: not those that padding fills in."""
    program = step.program

    def along(eqn: Equation, i: int, j: int, filled: Positions) -> Positions | None:
        link = program.links(eqn, i, j)
        shape = program.shape(eqn.outputs[j])
        return None if link is None else np.zeros(shape, int) if link is MIXING else link.forward(filled, shape)

    starts = (*step.states, *step.parameters, *step.inputs_inexact)
    own = {var: np.zeros(program.shape(var), int) for var in starts}
    return propagate(program.equations, own, by_edge(along, _either), _either)


def _either(first: Positions, second: Positions) -> Positions:
    return np.asarray(np.maximum(first, second))  # of no axes NumPy makes a scalar


def lie_along(step: Step, stops: Set[int], filled: Filled, leaf: int, axis: int) -> Axis:
    """Follow the step backward from one new state. What makes these variables is not passed."""
    new = step.new_states[leaf]
    shape = step.program.shape(new)
    length = shape[axis]
    place = np.arange(length).reshape([-1 if a == axis else 1 for a in range(len(shape))])
    ways: dict[int, Ways] = {}
    _add(ways, new, np.broadcast_to(place, shape))
    runs, joints = _follow(step.program, stops, filled, ways, length)
    given = {v: ways[v] for v in step.inputs_inexact if v in ways}
    runs |= {v: _run_across(of, filled[v]) for v, of in given.items()}
    candidates = (1 << length) - 2 if length <= MOST else joints
    old = {v: ways[v] for v in step.states if v in ways}
    return Axis(leaf, axis, length, runs, old, candidates if candidates.bit_count() < MOST else 0)


def _follow(
    program: Program, stops: Set[int], filled: Filled, ways: dict[int, Ways], length: int
) -> tuple[dict[int, Boundaries], Boundaries]:
    """The boundaries that what is made runs across, and the joints. In `ways` is left what is not made."""
    runs: dict[int, Boundaries] = {}
    joints: Boundaries = 0
    for eqn in reversed(program.equations):
        made = {v: ways.pop(v) for v in eqn.outputs if v in ways}
        runs |= {v: _run_across(of, filled[v]) for v, of in made.items() if v in filled}
        fallen = _through(program, eqn, made) if stops.isdisjoint(eqn.outputs) else []
        for v, places in fallen:
            _add(ways, v, places)
        joints |= _joints(eqn, [places for _, places in fallen], length)
    return runs, joints


def _add(ways: dict[int, Ways], var: int, places: Places) -> None:
    mine = ways.setdefault(var, {})
    if len(mine) < _MOST_WAYS:
        mine[places.tobytes()] = places


def _through(program: Program, eqn: Equation, made: Mapping[int, Ways]) -> list[tuple[int, Places]]:
    """The operands of an equation, and where they enter by way of its outputs."""
    edges = [(i, j) for i in range(len(eqn.inputs)) for j, v in enumerate(eqn.outputs) if v in made]
    links = [(eqn.inputs[i], program.links(eqn, i, j), made[eqn.outputs[j]]) for i, j in edges]
    known = [(v, link, ways) for v, link, ways in links if link is not None]
    return [(v, _fallen(link, places, program.shape(v))) for v, link, ways in known for places in ways.values()]


def _fallen(link: Link, places: Places, shape: tuple[int, ...]) -> Places:
    """As they fall on an operand of this shape."""
    fallen = link.backward(places, shape)
    return np.where(fallen < 0, NONE, fallen)


def _run_across(ways: Ways, filled: Positions) -> Boundaries:
    """With elements on either side, on any way."""
    return functools.reduce(operator.or_, [_between(places[filled != NONE]) for places in ways.values()], 0)


def _between(places: Places) -> Boundaries:
    here = places[places >= 0]
    return (1 << int(here.max()) + 1) - (1 << int(here.min()) + 1) if here.size else 0


def _within(places: Places, cell: Int[np.ndarray, "..."], length: int) -> Boundaries:
    """With elements on either side that belong to one cell."""
    here = places >= 0
    count = int(cell.max(initial=-1)) + 1
    first, last = np.full(count, length), np.full(count, -1)
    np.minimum.at(first, cell[here], places[here])
    np.maximum.at(last, cell[here], places[here])
    change = np.zeros(length + 2, int)
    is_wide = first < last
    np.add.at(change, first[is_wide] + 1, 1)
    np.add.at(change, last[is_wide] + 1, -1)
    return sum(1 << int(place) for place in np.flatnonzero(np.cumsum(change) > 0))


def _joints(eqn: Equation, fallen: list[Places], length: int) -> Boundaries:
    """Where the operands of a concatenation begin and end."""
    if eqn.traits.flow is not Flow.JOINED:
        return 0
    ends = set(itertools.chain.from_iterable(map(_ends, fallen)))
    return sum(1 << place for place in ends if 0 < place < length)


def _ends(places: Places) -> tuple[int, ...]:
    """The first of them, and the one behind the last; none of what enters nowhere."""
    here = places[places >= 0]
    return (int(here.min()), int(here.max()) + 1) if here.size else ()

"""How the variables of a step lie along one axis of an array of its state.

From the new state the step is followed backward. For each element of a variable that says which places along the axis it
enters: the first one, and the first one counted from the end.
"""

import dataclasses
import functools
import operator
from collections.abc import Mapping, Set

import numpy as np
from jaxtyping import Int

from ..primitives import Flow
from ..program import Aligned, by_edge, Equation, Link, Merged, Mixed, MIXING, Moved, NONE, Positions, Program, propagate
from ..step import Step

MOST = 64
"""Parts of one array. A trace is kept for each, and a reverse pass made."""
Ends = Int[np.ndarray, "2 ..."]
"""The first place that each element enters, and the first counted from the end."""
Boundaries = int
"""Bit b stands for the boundary between the places b - 1 and b."""
_NOWHERE = np.iinfo(np.int64).max


@dataclasses.dataclass(frozen=True)
class Axis:
    """One axis of one array of the state."""

    leaf: int
    number: int
    length: int
    runs: Mapping[int, Boundaries]
    """For every variable, the boundaries that it runs across."""
    ends: Mapping[int, Ends]
    """Of the old states."""
    candidates: Boundaries
    """Where the array may be taken apart, as far as its shape and its joints say."""

    def runs_of(self, var: int, cell: Int[np.ndarray, "..."]) -> Boundaries:
        """The boundaries that an old state runs across within one of its cells."""
        if var not in self.ends:
            return 0
        count = int(cell.max(initial=-1)) + 1
        within = (self.ends[var][:, cell == c] for c in range(count))
        return functools.reduce(operator.or_, [_run_across(of, self.length) for of in within], 0)


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
    return propagate(program.equations, own, by_edge(along, np.maximum), np.maximum)


def lie_along(step: Step, stops: Set[int], filled: Filled, leaf: int, axis: int) -> Axis:
    """Follow the step backward from one new state. What makes these variables is not passed."""
    program, new = step.program, step.new_states[leaf]
    shape = program.shape(new)
    length = shape[axis]
    place = np.arange(length).reshape([-1 if a == axis else 1 for a in range(len(shape))])
    ends = {new: np.stack([np.broadcast_to(at, shape) for at in (place, length - 1 - place)])}
    runs: dict[int, Boundaries] = {}
    joints: Boundaries = 0
    for eqn in reversed(program.equations):
        made = {v: ends.pop(v) for v in eqn.outputs if v in ends}
        inner = {v: of[:, filled[v] != NONE] for v, of in made.items() if v in filled}
        runs |= {v: _run_across(of, length) for v, of in inner.items()}
        if made and stops.isdisjoint(eqn.outputs):
            fallen = _through(program, eqn, made)
            for v, of in fallen:
                ends[v] = np.minimum(ends[v], of) if v in ends else of
            joints |= _joints(eqn, [of for _, of in fallen], length)
    given = {v: ends[v] for v in step.inputs_inexact if v in ends}
    runs |= {v: _run_across(of, length) for v, of in given.items()}
    candidates = (1 << length) - 2 if length <= MOST else joints
    old = {v: ends[v] for v in step.states if v in ends}
    return Axis(leaf, axis, length, runs, old, candidates if candidates.bit_count() < MOST else 0)


def _through(program: Program, eqn: Equation, made: Mapping[int, Ends]) -> list[tuple[int, Ends]]:
    """The operands of an equation, and where they enter by way of its outputs."""
    ways = [(i, j) for i in range(len(eqn.inputs)) for j, v in enumerate(eqn.outputs) if v in made]
    links = [(eqn.inputs[i], program.links(eqn, i, j), made[eqn.outputs[j]]) for i, j in ways]
    return [(v, _fallen(link, of, program.shape(v))) for v, link, of in links if link is not None]


def _fallen(link: Link, ends: Ends, shape: tuple[int, ...]) -> Ends:
    """As they fall on an operand of this shape. What spreads over several places of the axis lies nowhere along it."""
    if isinstance(link, Aligned):
        return ends.reshape(2, *shape)
    if isinstance(link, Moved):
        return _copied(link, ends, shape)
    if isinstance(link, Merged):
        return _taken(link, ends).reshape(2, *shape)
    if isinstance(link, Mixed):
        return _taken(link.into, _copied(link.out_of, ends, link.blocks)).reshape(2, *shape)
    return np.full((2, *shape), _NOWHERE)


def _copied(link: Moved, ends: Ends, shape: tuple[int, ...]) -> Ends:
    """Of all elements of the output that are copies of one of the operand."""
    flat, taken = ends.reshape(2, -1), link.taken.ravel()
    here = (taken >= 0) & (flat[0] != _NOWHERE)
    out = np.full((2, int(np.prod(shape))), _NOWHERE)
    out[:, taken[here]] = flat[:, here]
    spread = (out[:, taken[here]] != flat[:, here]).any(0)
    out[:, taken[here][spread]] = _NOWHERE
    return out.reshape(2, *shape)


def _taken(link: Merged, ends: Ends) -> Ends:
    flat, target = ends.reshape(2, -1), link.target.ravel()
    if flat.size == 0:
        return np.full((2, target.size), _NOWHERE)
    return np.where(target >= 0, flat[:, target], _NOWHERE)


def _run_across(ends: Ends, length: int) -> Boundaries:
    """With elements on either side, by the first places or by the last ones."""
    flat = ends.reshape(2, -1)
    first, last = flat[:, flat[0] != _NOWHERE]
    return _between(first) | _between(length - 1 - last)


def _between(places: Int[np.ndarray, "..."]) -> Boundaries:
    if places.size == 0:
        return 0
    return (1 << int(places.max()) + 1) - (1 << int(places.min()) + 1)


def _joints(eqn: Equation, fallen: list[Ends], length: int) -> Boundaries:
    """Where the operands of a concatenation begin and end."""
    if eqn.traits.flow is not Flow.JOINED:
        return 0
    ends = [_outer(of) for of in fallen]
    joints = {first for first, _ in ends} | {length - last for _, last in ends}
    return sum(1 << place for place in joints if 0 < place < length)


def _outer(ends: Ends) -> tuple[int, int]:
    first, last = ends.reshape(2, -1).min(1, initial=_NOWHERE)
    return int(first), int(last)

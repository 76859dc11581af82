"""States of a unit that lie in one array, and where the array is to be taken apart.

Along an axis of an array of the state lie either the units or the states of a unit: `[2, n]`, compartments, the slots
of a buffer. What enters the new state says which. An axis is the units' where something **runs along** it all the way:
some of its elements enter on one side of a boundary and others on the other side, and so it is for every variable up
to the new state. What counts is what comes from parameters and inputs, what a weight makes, what mixes other states,
and the units of the other states. A boundary that nothing runs across is **open**: there the array may be taken apart,
as if the parts were arrays of their own.
"""

import functools
import itertools
import operator
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Int

from ..primitives import Flow
from ..program import Aligned, by_edge, Equation, find_lookup, Link, meets_data, Merged, Mixed, Moved, propagate, union
from ..step import Places, Step
from ._along import Axis, Boundaries, find_filled, lie_along, MOST
from ._tail import Tail


def find_places(
    step: Step, fixed: frozenset[int], bits: Mapping[int, int], tails: Sequence[Tail]
) -> tuple[Places, ...]:
    """For every inexact array of the state, where it is to be taken apart."""
    whole: tuple[Places, ...] = ((),) * len(step.state.parts)
    if not _may_be_packed(step, fixed, bits, tails):
        return whole
    search = _Search(step, fixed)
    search.run()
    return tuple(search.places(part) for part in step.state.parts)


def _may_be_packed(step: Step, fixed: frozenset[int], bits: Mapping[int, int], tails: Sequence[Tail]) -> bool:
    """Is anything cut but what weights mix, or are states joined? And has any array an axis that could be theirs?"""
    if not _has_axis_of_states(step):
        return False
    by_weights = itertools.chain.from_iterable(are_by_weights(step, fixed, bits, tail) for tail in tails)
    return not all(by_weights) or _is_any_joined([_before_moves(step, var) for var in step.new_states])


def _has_axis_of_states(step: Step) -> bool:
    """Has any array an axis that is short, or may have been joined?"""
    lengths = [n for var in step.states for n in step.program.shape(var)]
    is_short = any(n != 1 and n <= MOST for n in lengths)
    return is_short or _is_any_joined(step.program.equations)


def _is_any_joined(equations: Sequence[Equation]) -> bool:
    """Is any of them a concatenation?"""
    return any(eqn.traits.flow is Flow.JOINED for eqn in equations)


def are_by_weights(step: Step, fixed: frozenset[int], bits: Mapping[int, int], tail: Tail) -> list[bool]:
    """Of every cut of a tail that is at an equation: is it a trained weight that mixes there?"""
    edges = [cut.edge for cut in tail.cuts if cut.edge is not None]
    return [_is_weighing(step.program.producer[first], fixed, bits) for first, _ in edges]


def _is_weighing(eqn: Equation, fixed: frozenset[int], bits: Mapping[int, int]) -> bool:
    """Is it a product with a weight that is trained?"""
    return any(meets_data(eqn, i) and v in fixed and bits.get(v, 0) for i, v in enumerate(eqn.inputs))


def _before_moves(step: Step, var: int) -> Equation:
    """What a new state is computed by, but for movements of it as a whole."""
    eqn = step.program.producer[var]
    while eqn.traits.flow in (Flow.REARRANGED, Flow.PAIRED) and eqn.inputs[0] in step.program.producer:
        eqn = step.program.producer[eqn.inputs[0]]
    return eqn


class _Search:
    """Boundaries are open until something is found to run across them."""

    def __init__(self, step: Step, fixed: frozenset[int]):
        self.step, self.fixed = step, fixed
        self.bits = _dependence(step)
        self.from_states = (1 << len(step.states)) - 1
        self.heads = frozenset(eqn.outputs[0] for eqn in step.program.equations if self._is_head(eqn))
        self.filled = find_filled(step)
        self.axes = [axis for leaf in range(len(step.states)) for axis in self._axes(leaf)]
        self.open: dict[tuple[int, int], Boundaries] = {(a.leaf, a.number): a.candidates for a in self.axes}

    def run(self) -> None:
        """Close boundaries until no more is found: the parts of one state run along another, as far as it has parts."""
        is_changed = True
        while is_changed:
            cells = [self._cells(leaf) for leaf in range(len(self.step.states))]
            closed = [self._run_across(axis, cells) & self.open[axis.leaf, axis.number] for axis in self.axes]
            for axis, boundaries in zip(self.axes, closed, strict=True):
                self.open[axis.leaf, axis.number] &= ~boundaries
            is_changed = any(closed)

    def places(self, part: Sequence[int]) -> Places:
        """Of one array, which a complex one is in two halves."""
        shape = self.step.program.shape(self.step.states[part[0]])
        starts = [self._starts(part, axis, n) for axis, n in enumerate(shape)]
        places = tuple((axis, at) for axis, at in enumerate(starts) if len(at) > 1)
        return places if np.prod([len(at) for _, at in places]) <= MOST else ()

    def _starts(self, part: Sequence[int], axis: int, length: int) -> tuple[int, ...]:
        everywhere = functools.reduce(operator.and_, [self.open.get((leaf, axis), 0) for leaf in part])
        return (0, *(b for b in range(1, length) if everywhere >> b & 1))

    def _is_head(self, eqn: Equation) -> bool:
        """Does an effective weight meet data here?"""
        if self.fixed.issuperset(eqn.inputs):
            return False
        weights = [i for i, v in enumerate(eqn.inputs) if self._is_weight(v)]
        return any(meets_data(eqn, i) or find_lookup(self.step.program, eqn, i) for i in weights)

    def _is_weight(self, var: int) -> bool:
        """Is it made of parameters alone?"""
        return var in self.fixed and self.bits.get(var, 0) != 0

    def _axes(self, leaf: int) -> list[Axis]:
        """The axes of one array that may be taken apart somewhere."""
        shape = self.step.program.shape(self.step.states[leaf])
        found = [lie_along(self.step, self.heads, self.filled, leaf, axis) for axis, n in enumerate(shape) if n > 1]
        return [axis for axis in found if axis.candidates and self._is_entered(axis)]

    def _is_entered(self, axis: Axis) -> bool:
        """Does anything but the state itself say what its axes are?"""
        others = {*self.step.states, *self.step.inputs_inexact} - {self.step.states[axis.leaf]}
        made = [eqn for eqn in self.step.program.equations if not axis.runs.keys().isdisjoint(eqn.outputs)]
        return not others.isdisjoint((*axis.ways, *axis.runs)) or any(self._begins(eqn, axis.leaf) for eqn in made)

    def _cells(self, leaf: int) -> Int[np.ndarray, "..."]:
        """By element of a state, the part of it, as far as it is taken apart now."""
        shape = self.step.program.shape(self.step.states[leaf])
        cell = np.zeros(shape, int)
        for axis, n in enumerate(shape):
            starts = self._starts([leaf], axis, n)
            along = np.searchsorted(starts, np.arange(n), side="right") - 1
            cell = cell * len(starts) + along.reshape([-1 if a == axis else 1 for a in range(len(shape))])
        return cell

    def _run_across(self, axis: Axis, cells: Sequence[Int[np.ndarray, "..."]]) -> Boundaries:
        """The boundaries that something runs across all the way to the new state."""
        program = self.step.program
        running = {var: axis.runs_of(var, cell) for var, cell in zip(self.step.states, cells, strict=True)}
        running |= {var: axis.runs.get(var, 0) for var in self.step.inputs_inexact}
        for eqn in program.equations:
            runs = [axis.runs.get(v, 0) for v in eqn.outputs]
            if any(runs):
                moving = [v for i, v in enumerate(eqn.inputs) if program.links(eqn, i, 0) is not None]
                through = -1 if self._begins(eqn, axis.leaf) else union(running, moving)
                running |= {v: mine & through for v, mine in zip(eqn.outputs, runs, strict=True)}
        return running.get(self.step.new_states[axis.leaf], 0)

    def _begins(self, eqn: Equation, leaf: int) -> bool:
        """Does what it makes run along units, whatever its operands do?"""
        bits = union(self.bits, eqn.outputs)
        if not bits & self.from_states:
            return bool(bits) and self.fixed.isdisjoint(eqn.outputs)
        return eqn.outputs[0] in self.heads or self._is_mixing(eqn, leaf)

    def _is_mixing(self, eqn: Equation, leaf: int) -> bool:
        """Does it mix what comes from anywhere but the state itself?"""
        links = [(self.bits.get(v, 0), self.step.program.links(eqn, i, 0)) for i, v in enumerate(eqn.inputs)]
        return any(_mixes_others(link, of, leaf) for of, link in links if of and link is not None)


def _mixes_others(link: Link, bits: int, leaf: int) -> bool:
    """What mixes the state itself says nothing: its own units would be told by what else enters."""
    return not bits >> leaf & 1 if isinstance(link, Mixed) else not isinstance(link, Aligned | Moved | Merged)


def _dependence(step: Step) -> dict[int, int]:
    """What comes from where: a bit for every state, then for every parameter, then for every inexact input."""
    links = step.program.links
    starts = (*step.states, *step.parameters, *step.inputs_inexact)
    along = by_edge(lambda eqn, i, j, bits: None if links(eqn, i, j) is None else bits, operator.or_)
    return propagate(step.program.equations, {var: 1 << i for i, var in enumerate(starts)}, along, operator.or_)

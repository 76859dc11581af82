"""What the old states of a group and its sites reach over kept edges: what a tail recomputes, and what is made of
what.

A set is bits: the old states of the group, then its sites, then its entrances. Of a variable it is told for all
elements together; where parts of one array pass through one variable, for each element by itself.
"""

import functools
from collections.abc import Collection, Mapping, Sequence
from typing import TypeVar

import numpy as np
from jaxtyping import UInt

from ..program import Aligned, either, Equation, Link, Merged, Mixed, Moved, propagate, union
from ..step import Step
from ._filter import Edge, Entrance
from ._hidden_group import HiddenGroup
from ._tail import Site

_WORD = 64
_Shift = tuple[int | None, frozenset[Edge]]
"""Where something enters: at a variable, or over edges."""
_Sets = UInt[np.ndarray, "..."]
_At = TypeVar("_At", int, Edge)


def find_reach(
    step: Step,
    group: HiddenGroup,
    visited: Sequence[Equation],
    kept: Collection[Edge],
    entering: Sequence[Site | Entrance],
) -> tuple[tuple[Equation, ...], dict[int, int]]:
    """The equations that the old states, or what enters, reach over kept edges, and by variable what reaches it."""
    shifts = [_shift(at) for at in entering]
    reach = _starts(step, group, shifts)
    over = _over(group, shifts)
    equations = []
    for eqn in visited:
        edges = [(eqn.outputs[0], i) for i in range(len(eqn.inputs))]
        moving = [v for edge, v in zip(edges, eqn.inputs, strict=True) if edge in kept]
        bits = union(over, edges) | union(reach, moving)
        if bits:
            equations.append(eqn)
            for output in eqn.outputs:
                reach[output] = reach.get(output, 0) | bits
    if any(len(part) > 1 for part in step.state.parts):
        reach |= _by_element(step, group, equations, kept, shifts)
    return tuple(equations), reach


def _shift(at: Site | Entrance) -> _Shift:
    return at.output, at.edges if isinstance(at, Site) else frozenset()


def _starts(step: Step, group: HiddenGroup, shifts: Sequence[_Shift]) -> dict[int, int]:
    reach = {step.states[leaf]: 1 << s for s, leaf in enumerate(group.leaves)}
    for number, (output, _) in enumerate(shifts):
        if output is not None:
            reach[output] = reach.get(output, 0) | 1 << (group.num_states + number)
    return reach


def _over(group: HiddenGroup, shifts: Sequence[_Shift]) -> dict[Edge, int]:
    over: dict[Edge, int] = {}
    for number, (_, edges) in enumerate(shifts):
        over |= {edge: over.get(edge, 0) | 1 << (group.num_states + number) for edge in edges}
    return over


def _by_element(
    step: Step, group: HiddenGroup, equations: Sequence[Equation], kept: Collection[Edge], shifts: Sequence[_Shift]
) -> dict[int, int]:
    """Of the new states: what reaches any element."""
    new = [step.new_states[leaf] for leaf in group.leaves]
    found = dict.fromkeys(new, 0)
    for first in range(0, group.num_states + len(shifts), _WORD):
        start = _from(first, _starts(step, group, shifts))
        over = _from(first, _over(group, shifts))
        sets = _propagated(step, equations, kept, start, over)
        found |= {
            var: found[var] | int(np.bitwise_or.reduce(sets[var], axis=None)) << first for var in new if var in sets
        }
    return found


def _from(first: int, bits: Mapping[_At, int]) -> dict[_At, int]:
    """Without those before the first of a word."""
    return {at: here >> first for at, here in bits.items()}


def _propagated(
    step: Step,
    equations: Sequence[Equation],
    kept: Collection[Edge],
    start: Mapping[int, int],
    over: Mapping[Edge, int],
) -> dict[int, _Sets]:
    """By variable and element, the first bits."""
    program = step.program

    def full(var: int, bits: int) -> _Sets:
        return np.full(program.shape(var), bits & (1 << _WORD) - 1, np.uint64)

    def along(eqn: Equation, i: int, j: int, sets: _Sets | None) -> _Sets | None:
        link, edge = program.links(eqn, i, j), (eqn.outputs[0], i)
        sets = sets if edge in kept else None
        entering = full(eqn.inputs[i], over[edge]) if edge in over else None
        sets = either(sets, entering, _joined)
        return None if link is None or sets is None else _forward(link, sets, program.shape(eqn.outputs[j]))

    def transfer(eqn: Equation, operands: Sequence[_Sets | None]) -> list[_Sets | None]:
        made: list[_Sets | None] = []
        for j in range(len(eqn.outputs)):
            each = [along(eqn, i, j, sets) for i, sets in enumerate(operands)]
            made.append(functools.reduce(lambda first, second: either(first, second, _joined), each))
        return made

    own = {var: full(var, bits) for var, bits in start.items()}
    return propagate(equations, own, transfer, _joined)


def _joined(first: _Sets, second: _Sets) -> _Sets:
    return np.asarray(np.bitwise_or(first, second))  # of no axes NumPy makes a scalar


def _forward(link: Link, sets: _Sets, shape: tuple[int, ...]) -> _Sets:
    """As they are seen in an output of this shape."""
    if isinstance(link, Aligned):
        return sets.reshape(shape)
    if isinstance(link, Moved):
        flat, taken = np.append(sets.ravel(), np.uint64(0)), link.taken.ravel()
        return flat[np.where(taken >= 0, taken, flat.size - 1)].reshape(shape)
    if isinstance(link, Merged):
        out = np.zeros(int(np.prod(shape)), np.uint64)
        here = link.target.ravel() >= 0
        np.bitwise_or.at(out, link.target.ravel()[here], sets.ravel()[here])
        return out.reshape(shape)
    if isinstance(link, Mixed):
        return _forward(link.out_of, _forward(link.into, sets, link.blocks), shape)
    return np.full(shape, np.bitwise_or.reduce(sets, axis=None))

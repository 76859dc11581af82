"""Does all that an entrance ever reaches move at one pace?

c and b are one number for all of a state, whatever the numbers, if the equations that compute them say so. The rows of
the tail are staged for that, and never run.
"""

from collections.abc import Sequence

import jax
import numpy as np

from ..program import classes, elements, flatten, indices, MANY, Mixing, NONE, Positions, Program, sameness
from ..step import Step
from ._filter import Entrance
from ._passes import read_by
from ._rows import Rows, rows_of
from ._tail import Tail, with_readers


class Pace:
    """What is one number in the rows of a tail: labels, equal where the numbers are."""

    def __init__(self, step: Step, tails: Sequence[Tail], tail: Tail):
        self.step, self.tail = step, tail
        self.rows = _labelled_rows(step, with_readers(tails, [tail]))

    def lanes(self, at: Entrance, reached: Sequence[int]) -> Positions | None:
        """For each element of z an element of y that it reaches, if these move at one pace; None if they do not."""
        entrance = len(self.tail.sites) + self.tail.entrances.index(at)
        entering = [self.rows.response[s, entrance] for s in reached if (s, entrance) in self.rows.response]
        return self._lanes(at, [*self._rates(at, reached), *entering])

    def is_one_rate(self, at: Entrance, reached: Sequence[int]) -> bool:
        """Is c one number, whatever b is?"""
        rates = self._rates(at, reached)
        return not rates or self._lanes(at, rates) is not None

    def _rates(self, at: Entrance, reached: Sequence[int]) -> list[Positions]:
        where = dict(zip(self.tail.numbers, self.tail.positions, strict=True))
        return [
            _at(self.rows.decay[s, r], elements(where[r], at.frame))
            for s in reached
            for r in reached
            if (s, r) in self.rows.decay
        ]

    def _lanes(self, at: Entrance, parts: Sequence[Positions]) -> Positions | None:
        one_pace = np.where(at.frame == NONE, NONE, classes(parts).reshape(at.frame.shape))
        fallen = _fallen(self.step.program, at, one_pace)
        if (fallen == MANY).any():
            return None
        first = np.full(1 + int(one_pace.max(initial=-1)), NONE)
        enters = np.flatnonzero(one_pace >= 0)[::-1]
        first[one_pace.ravel()[enters]] = enters
        first = np.append(first, NONE)  # of elements that reach nothing
        return np.asarray(first[fallen])  # of no axes NumPy makes a scalar


def _labelled_rows(step: Step, tails: Sequence[Tail]) -> Rows:
    """The rows of the first of these tails, which all that reads it follows: labels, and no numbers."""
    program = step.program
    read = sorted({v for tail in tails for v in read_by(step, tail)} - set(program.constants))
    found: list[Rows] = []

    def run(values: list[jax.Array]) -> list[jax.Array]:
        env = {**program.constants, **dict(zip(read, values, strict=True))}
        found.append(rows_of(step, tails, env)[0])
        return [*found[0].decay.values(), *found[0].response.values()]

    staged = flatten(jax.make_jaxpr(run)([program.avals[v] for v in read]), None, by_value=True)
    known = sameness(program, read, {})
    labels = {i: known[v] for i, v in zip(staged.inputs, read, strict=True) if v in known}
    same = sameness(staged, staged.outputs, labels)
    own = iter([same.get(v, indices(staged.shape(v))) for v in staged.outputs])
    (rows,) = found
    decay = {key: next(own) for key in rows.decay}
    return Rows(tails[0], program, {}, decay, {key: next(own) for key in rows.response})


def _at(labels: Positions, index: Positions) -> Positions:
    return np.asarray(np.where(index >= 0, labels.ravel()[np.maximum(index, 0)], NONE))


def _fallen(program: Program, at: Entrance, labels: Positions) -> Positions:
    """Labels of y as they fall on z."""
    link = program.links(at.equation, at.operand, 0)
    shape = program.shape(at.source)
    if link is not None and not isinstance(link, Mixing):
        return link.backward(labels, shape)
    named = np.unique(labels[labels != NONE])
    return np.full(shape, named[0] if named.size == 1 else MANY if named.size else NONE)

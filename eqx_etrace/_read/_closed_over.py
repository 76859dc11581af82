"""Arrays that a step closes over: are they data of one step, or a part of what weights are at every step?

What depends on the model alone is computed once, and a trace is kept of what comes out. A constant may be of that part:
a mask, a frozen matrix. But in `lambda m, h: step(m, h, x)` it is the input of one step, and in the next call another.
What comes out tells them apart. A weight that still meets data is made of a mask; one that is its own output has met
its data. Such a constant is read as data, and so is a number that is an index, where no more credit is dropped then.
All others are watched: a trace holds a fingerprint of them.
"""

import functools
import operator
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from ._analysis import Analysis
from .by_position import Tail
from .primitives import Flow
from .program import Equation, propagate, union
from .step import Step


class ClosedOver(NamedTuple):
    """Constant arrays on which it depends what an effective weight or a filter is, or where something enters."""

    every: tuple[int, ...]
    may_be_data: tuple[int, ...]
    """Those of which no weight is made that still meets data, and no map into a filter. Of indices, single numbers: an
    array of them is the wiring of a network."""


def closed_over(analysis: Analysis) -> ClosedOver:
    """Those of one step."""
    step = analysis.step
    arrays = [var for var, value in step.program.constants.items() if _is_array(value)]
    if not arrays:
        return ClosedOver((), ())
    alone = _made_of(step, arrays)
    where = union(alone, [var for eqn in step.program.equations for var in _indices(step, eqn)])
    within, decisive = _in_weights(analysis, alone)
    met = union(within, _meeting_data((*analysis.tails, *analysis.filtered.tails)))
    may_be_data = (decisive | where & _numbers(step, arrays)) & ~met
    return ClosedOver(_those(arrays, decisive | where | met), _those(arrays, may_be_data))


def _numbers(step: Step, arrays: Sequence[int]) -> int:
    """Which of them are single numbers."""
    return sum(1 << i for i, var in enumerate(arrays) if np.size(step.program.constants[var]) == 1)


def _those(arrays: Sequence[int], bits: int) -> tuple[int, ...]:
    return tuple(var for i, var in enumerate(arrays) if bits >> i & 1)


def _in_weights(analysis: Analysis, alone: Mapping[int, int]) -> tuple[dict[int, int], int]:
    """Of what depends on the model alone, the arrays within it; and those that are within what parameters make."""
    within, decisive = dict(alone), 0
    for eqn in analysis.step.program.equations:
        if analysis.fixed.issuperset(eqn.outputs):
            within |= dict.fromkeys(eqn.outputs, union(within, eqn.inputs))
            decisive |= union(within, eqn.outputs) if union(analysis.bits, eqn.outputs) else 0
    return within, decisive


def _meeting_data(tails: Sequence[Tail]) -> list[int]:
    """The weights that still meet data, and what the maps into filters are made of."""
    weights = [site.weight for tail in tails for site in tail.sites if site.output is not None]
    return [*weights, *_entering_filters(tails)]


def _entering_filters(tails: Sequence[Tail]) -> list[int]:
    """What the maps into filters are made of, and what they map."""
    return [var for tail in tails for one in tail.filters for var in one.entrance.equation.inputs]


def _is_array(value: Any) -> bool:
    """And not a number that stands in the program."""
    return isinstance(value, jax.Array) or (isinstance(value, np.ndarray) and value.ndim > 0)


def _made_of(step: Step, arrays: Sequence[int]) -> Mapping[int, int]:
    """Of what is made of constants alone, the arrays among them."""

    def transfer(eqn: Equation, operands: Sequence[int | None]) -> list[int] | None:
        known = [of for of in operands if of is not None]
        return [functools.reduce(operator.or_, known, 0)] * len(eqn.outputs) if len(known) == len(operands) else None

    start = {**dict.fromkeys(step.program.constants, 0), **{var: 1 << i for i, var in enumerate(arrays)}}
    return propagate(step.program.equations, start, transfer, operator.or_)


def _indices(step: Step, eqn: Equation) -> list[int]:
    """The operands that say where something is read or written."""
    is_at_an_index = eqn.traits.flow in (Flow.INDEXED, Flow.SCATTERED)
    return [v for v in eqn.inputs if not step.program.is_inexact(v)] if is_at_an_index else []

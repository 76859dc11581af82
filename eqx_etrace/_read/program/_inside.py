"""How operands reach an output through the programs that an operation runs: a conditional, a loop.

The elements of the output are followed backward through every branch, and through the rounds of a loop until they
enter as in the round after. An operand whose elements enter one element each is merged, one that is copied is followed
forward.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ... import _jax
from ..primitives import Runs
from ._inline import flatten
from ._link import indices, Link, MANY, merge, merged, MIXING, Mixing, Moved, NONE, Positions
from ._program import Equation, MakeTable, Program
from ._propagate import by_edge, either, propagate

_MOST_ROUNDS = 8
"""Of a loop, until what its rounds do is the same."""
_Labels = list[Positions | None]


def links_through(program: Program, eqn: Equation, output: int, table: MakeTable) -> list[Link | None]:
    """By operand; `MIXING` where the elements mix, None where no derivative flows."""
    ways = _BACKWARD[eqn.traits.runs](program, eqn, output, table)
    if ways is None:
        return [MIXING for _ in eqn.inputs]
    shape = program.shape(eqn.outputs[output])
    return [_as_link(program, eqn, (i, output), labels, shape, table) for i, labels in enumerate(ways)]


def _as_link(
    program: Program,
    eqn: Equation,
    edge: tuple[int, int],
    labels: Positions | None,
    shape: tuple[int, ...],
    table: MakeTable,
) -> Link | None:
    if labels is None or (labels == NONE).all():
        return None
    return _moved(program, eqn, edge, table) if (labels == MANY).any() else merged(labels, shape)


def _moved(program: Program, eqn: Equation, edge: tuple[int, int], table: MakeTable) -> Link:
    """Of an operand whose elements enter several elements each: a conditional may copy them."""
    copied = _copied(program, eqn, edge, table) if eqn.traits.runs is Runs.COND else None
    return MIXING if copied is None or (copied == MANY).any() else Moved(copied)


def _back(inner: Program, ends: Mapping[int, Positions]) -> _Labels:
    """Which elements of the ends those of the inputs enter."""
    has = dict(ends)
    for eqn in reversed(inner.equations):
        for i, j in _edges_into(has, eqn):
            link, var = inner.links(eqn, i, j), eqn.inputs[i]
            if link is not None:
                _fall(has, var, link.backward(has[eqn.outputs[j]], inner.shape(var)))
    return [has.get(var) for var in inner.inputs]


def _edges_into(has: Mapping[int, Positions], eqn: Equation) -> list[tuple[int, int]]:
    """From every operand to every output that has labels."""
    return [(i, j) for i in range(len(eqn.inputs)) for j, v in enumerate(eqn.outputs) if v in has]


def _fall(has: dict[int, Positions], var: int, labels: Positions) -> None:
    """On a variable, beside what it has."""
    has[var] = merge(has[var], labels) if var in has else labels


def _through_cond(program: Program, eqn: Equation, output: int, table: MakeTable) -> _Labels:
    """Through any branch; the first operand says which."""
    every = indices(program.shape(eqn.outputs[output]))
    reached: _Labels = [None for _ in eqn.inputs]
    for branch in eqn.params["branches"]:
        inner = flatten(branch, table)
        reached = _each(reached, [None, *_back(inner, {inner.outputs[output]: every})])
    return reached


def _through_scan(program: Program, eqn: Equation, output: int, table: MakeTable) -> _Labels | None:
    """Into a carried value, back through the rounds; None if it does not settle. What is stacked is not followed."""
    held, carried = _jax.scan_sizes(eqn.params)
    if output >= carried:
        return None
    inner = flatten(eqn.params["jaxpr"], table)
    carry: _Labels = [None] * carried
    carry[output] = indices(program.shape(eqn.outputs[output]))
    constants: _Labels = [None] * held
    rows: _Labels = [None] * (len(eqn.inputs) - held - carried)
    for _ in range(_MOST_ROUNDS):
        before = [*carry, *constants, *rows]
        reached = _back(inner, _ends(inner.outputs[:carried], carry))
        constants, rows = _each(constants, reached[:held]), _each(rows, reached[held + carried :])
        carry = _each(carry, reached[held : held + carried])
        if all(map(_is_same, before, [*carry, *constants, *rows])):
            return [*constants, *carry, *_in_every_round(rows, eqn.params["length"])]
    return None


def _ends(outputs: Sequence[int], carry: _Labels) -> dict[int, Positions]:
    """The labels of what a round hands on; one variable may be handed on twice."""
    ends: dict[int, Positions] = {}
    for var, labels in zip(outputs, carry, strict=True):
        if labels is not None:
            _fall(ends, var, labels)
    return ends


def _in_every_round(rows: _Labels, length: int) -> _Labels:
    return [None if row is None else np.broadcast_to(row, (length, *row.shape)) for row in rows]


def _each(first: Sequence[Positions | None], second: Sequence[Positions | None]) -> _Labels:
    return [either(a, b, merge) for a, b in zip(first, second, strict=True)]


def _is_same(first: Positions | None, second: Positions | None) -> bool:
    return first is second or (first is not None and second is not None and np.array_equal(first, second))


def _copied(program: Program, eqn: Equation, edge: tuple[int, int], table: MakeTable) -> Positions | None:
    """Which element of an operand each element of the output of a conditional depends on."""
    operand, output = edge
    copied = None
    for branch in eqn.params["branches"]:
        inner = flatten(branch, table)
        along = by_edge(_forward(inner), merge)
        start = {inner.inputs[operand - 1]: indices(program.shape(eqn.inputs[operand]))}
        copied = either(copied, propagate(inner.equations, start, along, merge).get(inner.outputs[output]), merge)
    return copied


def _forward(inner: Program) -> Callable[[Equation, int, int, Positions], Positions | None]:
    def along(eqn: Equation, i: int, j: int, labels: Positions) -> Positions | None:
        link, shape = inner.links(eqn, i, j), inner.shape(eqn.outputs[j])
        if link is None:
            return None
        return np.full(shape, MANY) if isinstance(link, Mixing) else link.forward(labels, shape)

    return along


_BACKWARD: Mapping[Runs | None, Callable[[Program, Equation, int, MakeTable], _Labels | None]] = {
    Runs.COND: _through_cond,
    Runs.SCAN: _through_scan,
}
FOLLOWED = frozenset(_BACKWARD)

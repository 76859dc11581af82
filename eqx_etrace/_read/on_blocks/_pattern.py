"""Which scalar of the new state can depend on which scalar of the old one, in one step.

A **pattern** is a sparse boolean matrix: row i says which starts element i of a variable depends on. Starts are the
elements of chosen variables. Every equation multiplies the patterns of its operands by its own: the identity for
elementwise operations, a selection for movements, a union for contractions, and all-to-all where nothing is known.
Zeros of constant factors (masked weights) are seen; calls and loops are followed inside.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import numpy as np

from ... import _jax
from ..primitives import Runs
from ..program import by_edge, either, Equation, flatten, indices, Links, Program, propagate
from ._operation_pattern import carry
from ._sparse import merge, Pattern, stack, TooManyEntriesError, union
from ._zero_elements import Zeros


class PatternTooLargeError(ValueError):
    """A pattern has too many entries to be written down."""


def find_patterns(
    program: Program,
    equations: Iterable[Equation],
    starts: Mapping[int, Pattern],
    cut: Collection[tuple[int, int]] = (),
) -> dict[int, Pattern]:
    """The pattern of every variable that depends on the starts, by these equations of a program.

    A start that is computed on the way adds its own. `cut` are (first output, operand) that are not followed.
    """
    zeros = Zeros(program)

    def along(eqn: Equation, i: int, j: int, pattern: Pattern) -> Pattern | None:
        return None if program.links(eqn, i, j) is None else carry(program, eqn, i, j, pattern, zeros)

    by_operation = by_edge(along, union)

    def transfer(eqn: Equation, operands: Sequence[Pattern | None]) -> Sequence[Pattern | None] | None:
        followed = [None if (eqn.outputs[0], i) in cut else p for i, p in enumerate(operands) if eqn.outputs]
        if all(pattern is None for pattern in followed):
            return None
        try:
            return _inside(program, eqn, followed) if eqn.traits.runs in _INSIDE else by_operation(eqn, followed)
        except TooManyEntriesError as error:
            raise PatternTooLargeError(
                "The Jacobian of the step is too large to keep influence on blocks of the state: the pattern of "
                f"what can be anything but zero in it {error.args[0]} at `{eqn.name}`, {eqn.source}. Use "
                "`DRTRL()` or `PPProp(decay)`, which keep the part that stays in its position. If an index or a mask "
                "makes the step sparse, close over it: a pattern is known of constants, not of arrays of the model."
            ) from None

    return propagate(equations, starts, transfer, union)


def _inside(program: Program, eqn: Equation, operands: Sequence[Pattern | None]) -> Sequence[Pattern | None]:
    """Of the outputs of a loop or a branch."""
    patterns = _INSIDE[eqn.traits.runs](program, eqn, operands)
    return [p if program.is_inexact(v) else None for v, p in zip(eqn.outputs, patterns, strict=True)]


def _run(program: Program, operands: Sequence[Pattern | None]) -> list[Pattern | None]:
    starts = {v: p for v, p in zip(program.inputs, operands, strict=True) if p is not None and program.is_inexact(v)}
    patterns = find_patterns(program, program.equations, starts)
    return [patterns.get(v) for v in program.outputs]


def _cond(program: Program, eqn: Equation, operands: Sequence[Pattern | None]) -> list[Pattern | None]:
    del program
    result: list[Pattern | None] = [None] * len(eqn.outputs)
    for branch in eqn.params["branches"]:
        result = _each(result, _run(flatten(branch, Links), operands[1:]))
    return result


def _each(first: Sequence[Pattern | None], second: Sequence[Pattern | None]) -> list[Pattern | None]:
    return [either(a, b, union) for a, b in zip(first, second, strict=True)]


def _scan(program: Program, eqn: Equation, operands: Sequence[Pattern | None]) -> list[Pattern | None]:
    """Every slice of an input may meet every step: the carry grows until it grows no more."""
    constants, carried = _jax.scan_sizes(eqn.params)
    inner = flatten(eqn.params["jaxpr"], Links)
    length = eqn.params["length"]
    over = [
        None if p is None else _fold(p, length, program.shape(v))
        for v, p in zip(eqn.inputs[constants + carried :], operands[constants + carried :], strict=True)
    ]
    carry = list(operands[constants : constants + carried])
    out: list[Pattern | None] = [None] * len(eqn.outputs)
    for _ in range(length):
        out = _run(inner, [*operands[:constants], *carry, *over])
        grown = _each(carry, out[:carried])
        if list(map(_entries, carry)) == list(map(_entries, grown)):
            break
        carry = grown
    return [*carry, *(_stacked(p, length) for p in out[carried:])]


def _stacked(pattern: Pattern | None, length: int) -> Pattern | None:
    """Of what every step makes, one slice below the other."""
    return None if pattern is None or not length else stack([pattern] * length)


def _entries(pattern: Pattern | None) -> int:
    return 0 if pattern is None else pattern.nnz


def _fold(pattern: Pattern, length: int, shape: tuple[int, ...]) -> Pattern:
    """What any slice along the leading axis depends on."""
    return merge(pattern, np.broadcast_to(indices(shape[1:]), shape), int(np.prod(shape[1:])))


_INSIDE: Mapping[Runs | None, Callable[..., list[Pattern | None]]] = {Runs.SCAN: _scan, Runs.COND: _cond}

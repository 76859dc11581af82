"""Which scalar of the new state can depend on which scalar of the old one, in one step.

A **pattern** is a sparse boolean matrix: row i says which sources element i of a variable depends on. Sources are the
elements of chosen variables. Every equation multiplies the patterns of its operands by its own: the identity for
elementwise operations, a selection for movements, a union for contractions, and all-to-all where nothing is known.
Zeros of constant factors (masked weights) are seen; calls and loops are followed inside.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from ... import _jax
from ..primitives import Runs
from ..program import Equation, flatten, indices, Links, Program
from ._operation_pattern import carry
from ._sparse import merge, Pattern, stack, TooManyEntriesError, union
from ._zero_elements import Zeros


class PatternTooLargeError(ValueError):
    """A pattern has too many entries to be written down."""


def find_patterns(
    program: Program,
    equations: Iterable[Equation],
    sources: Mapping[int, Pattern],
    cut: Collection[tuple[int, int]] = (),
) -> dict[int, Pattern]:
    """The pattern of every variable that depends on the sources, by these equations of a program.

    A source that is computed on the way adds its own. `cut` are (first output, operand) that are not followed.
    """
    found: dict[int, Pattern] = dict(sources)
    zeros = Zeros(program)
    for eqn in equations:
        followed = [v in found and (eqn.outputs[0], i) not in cut for i, v in enumerate(eqn.inputs) if eqn.outputs]
        if any(followed):
            inputs = [found[v] if here else None for v, here in zip(eqn.inputs, followed, strict=True)]
            try:
                through = _through(program, eqn, inputs, zeros)
            except TooManyEntriesError as error:
                raise PatternTooLargeError(
                    "The Jacobian of the step is too large to keep influence on blocks of the state: the pattern of "
                    f"what can be anything but zero in it {error.args[0]} at `{eqn.name}`, {eqn.source}. Use "
                    "`DRTRL()` or `PPProp(decay)`, which keep the part that stays in its position."
                ) from None
            for output, pattern in through.items():
                found[output] = union(found[output], pattern) if output in found else pattern
    return found


def _through(program: Program, eqn: Equation, inputs: Sequence[Pattern | None], zeros: Zeros) -> dict[int, Pattern]:
    if eqn.traits.runs in (Runs.SCAN, Runs.COND):
        inside = _scan(program, eqn, inputs) if eqn.traits.runs is Runs.SCAN else _cond(eqn, inputs)
        return {v: p for v, p in zip(eqn.outputs, inside, strict=True) if p is not None and program.is_inexact(v)}
    result: dict[int, Pattern] = {}
    for i, before in enumerate(inputs):
        for j, output in enumerate(eqn.outputs):
            if before is None or program.links(eqn, i, j) is None:
                continue
            pattern = carry(program, eqn, i, j, before, zeros)
            result[output] = union(result[output], pattern) if output in result else pattern
    return result


def _run(program: Program, operands: Sequence[Pattern | None]) -> list[Pattern | None]:
    sources = {v: p for v, p in zip(program.inputs, operands, strict=True) if p is not None and program.is_inexact(v)}
    found = find_patterns(program, program.equations, sources)
    return [found.get(v) for v in program.outputs]


def _cond(eqn: Equation, operands: Sequence[Pattern | None]) -> list[Pattern | None]:
    result: list[Pattern | None] = [None] * len(eqn.outputs)
    for branch in eqn.params["branches"]:
        result = [_either(a, b) for a, b in zip(result, _run(flatten(branch, Links), operands[1:]), strict=True)]
    return result


def _either(first: Pattern | None, second: Pattern | None) -> Pattern | None:
    return second if first is None else (first if second is None else union(first, second))


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
        grown = [_either(a, b) for a, b in zip(carry, out[:carried], strict=True)]
        if list(map(_entries, carry)) == list(map(_entries, grown)):
            break
        carry = grown
    stacked = [None if p is None or not length else stack([p] * length) for p in out[carried:]]
    return [*carry, *stacked]


def _entries(pattern: Pattern | None) -> int:
    return 0 if pattern is None else pattern.nnz


def _fold(pattern: Pattern, length: int, shape: tuple[int, ...]) -> Pattern:
    """What any slice along the leading axis depends on."""
    return merge(pattern, np.broadcast_to(indices(shape[1:]), shape), int(np.prod(shape[1:])))

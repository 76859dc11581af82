"""What depends on what, as far as derivatives are concerned: one set of bits per variable."""

import functools
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import Any

from ._program import Equation, Program
from ._propagate import by_edge, propagate


def dependence(program: Program, starts: Sequence[int], held: Set[int] = frozenset()) -> Mapping[int, int]:
    """Bit i of a variable is set if it depends, differentiably, on `starts[i]`. Absent means 0.

    What goes through a variable that is `held` does not count, nor what comes from an input that is not moved.
    """

    def along(eqn: Equation, i: int, j: int, bits: int) -> int | None:
        return None if eqn.outputs[j] in held or program.links(eqn, i, j) is None else bits

    own = {var: 1 << i for i, var in enumerate(starts) if program.is_moved(var)}
    return propagate(program.equations, own, by_edge(along, operator.or_), operator.or_)


def fixed_by(program: Program, inputs: Iterable[int], allowed: Callable[[Equation], bool]) -> frozenset[int]:
    """The variables that are known once these inputs are, by allowed equations: constants included."""

    def transfer(eqn: Equation, operands: Sequence[bool | None]) -> list[bool] | None:
        return [True] * len(eqn.outputs) if all(operands) and not eqn.has_effects and allowed(eqn) else None

    return frozenset(propagate(program.equations, dict.fromkeys((*program.constants, *inputs), True), transfer, max))


def leading_to(program: Program, targets: Iterable[int]) -> frozenset[int]:
    """The variables with a differentiable path to one of these, these included."""
    leading = set(targets)
    for eqn in reversed(program.equations):
        leading.update([v for i, v in enumerate(eqn.inputs) if carries_into(program, eqn, i, leading)])
    return frozenset(leading)


def carries_into(program: Program, eqn: Equation, operand: int, variables: Set[int]) -> bool:
    """Does this operand reach, differentiably, an output of its equation that is among these variables?"""
    return any(v in variables and program.links(eqn, operand, j) is not None for j, v in enumerate(eqn.outputs))


def union(bits: Mapping[Any, int], keys: Iterable[Any]) -> int:
    """The bits of several variables, or of whatever has bits, together."""
    return functools.reduce(operator.or_, [bits.get(key, 0) for key in keys], 0)

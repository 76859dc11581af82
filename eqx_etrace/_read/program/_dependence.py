"""What depends on what, as far as derivatives are concerned: one set of bits per variable."""

from collections.abc import Iterable, Mapping, Sequence, Set

from ._program import Equation, Program


def dependence(program: Program, sources: Sequence[int], held: Set[int] = frozenset()) -> Mapping[int, int]:
    """Bit i of a variable is set if it depends, differentiably, on `sources[i]`. Absent means 0.

    What goes through a variable that is `held` does not count, nor what comes from an input that is not moved.
    """
    bits = {var: 1 << i for i, var in enumerate(sources) if program.is_moved(var)}
    for eqn in program.equations:
        for i, operand in enumerate(eqn.inputs):
            if operand not in bits:
                continue
            for j, output in enumerate(eqn.outputs):
                if output not in held and program.links(eqn, i, j) is not None:
                    bits[output] = bits.get(output, 0) | bits[operand]
    return bits


def leading_to(program: Program, targets: Iterable[int]) -> frozenset[int]:
    """The variables with a differentiable path to one of these, these included."""
    found = set(targets)
    for eqn in reversed(program.equations):
        found.update([operand for i, operand in enumerate(eqn.inputs) if carries_into(program, eqn, i, found)])
    return frozenset(found)


def carries_into(program: Program, eqn: Equation, operand: int, variables: Set[int]) -> bool:
    """Does this operand reach, differentiably, an output of its equation that is among these variables?"""
    return any(v in variables and program.links(eqn, operand, j) is not None for j, v in enumerate(eqn.outputs))


def union(bits: Mapping[int, int], variables: Iterable[int]) -> int:
    found = 0
    for var in variables:
        found |= bits.get(var, 0)
    return found

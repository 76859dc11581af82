"""What depends on what, as far as derivatives are concerned: one set of bits per variable."""

from collections.abc import Iterable, Mapping, Sequence, Set

from ._program import Program


def dependence(program: Program, sources: Sequence[int], held: Set[int] = frozenset()) -> Mapping[int, int]:
    """Bit i of a variable is set if it depends, differentiably, on `sources[i]`. Absent means 0.

    What goes through a variable that is `held` does not count.
    """
    bits = {var: 1 << i for i, var in enumerate(sources)}
    for eqn in program.equations:
        for i, operand in enumerate(eqn.inputs):
            if operand not in bits:
                continue
            for j, output in enumerate(eqn.outputs):
                if output not in held and program.links(eqn, i, j) is not None:
                    bits[output] = bits.get(output, 0) | bits[operand]
    return bits


def union(bits: Mapping[int, int], variables: Iterable[int]) -> int:
    found = 0
    for var in variables:
        found |= bits.get(var, 0)
    return found

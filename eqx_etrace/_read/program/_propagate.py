"""One walk forward through the equations, whatever is carried along.

Some variables have something to begin with. Each equation hands on to its outputs what comes of what its operands have,
and what reaches a variable on several ways is joined. With sets of bits that is dependence, with labels it is where
elements go, with sparse matrices the pattern of a Jacobian.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from ._program import Equation

T = TypeVar("T")
Join = Callable[[T, T], T]
Transfer = Callable[[Equation, Sequence[T | None]], Sequence[T | None] | None]
"""From what the operands of an equation have to what its outputs get; None for nothing."""


def propagate(
    equations: Iterable[Equation], start: Mapping[int, T], transfer: Transfer[T], join: Join[T]
) -> dict[int, T]:
    """What every variable has in the end, if it has something."""
    has = dict(start)
    for eqn in equations:
        through = transfer(eqn, [has.get(v) for v in eqn.inputs])
        for output, value in zip(eqn.outputs, through or (), strict=through is not None):
            if value is not None:
                has[output] = join(has[output], value) if output in has else value
    return has


def by_edge(along: Callable[[Equation, int, int, T], T | None], join: Join[T]) -> Transfer[T]:
    """The transfer of what goes from each operand to each output by itself: `along(eqn, operand, output, value)`."""

    def transfer(eqn: Equation, operands: Sequence[T | None]) -> Sequence[T | None] | None:
        present = [(i, value) for i, value in enumerate(operands) if value is not None]
        return [_joined(eqn, j, present) for j in range(len(eqn.outputs))] if present else None

    def _joined(eqn: Equation, output: int, present: Sequence[tuple[int, T]]) -> T | None:
        total = None
        for i, value in present:
            total = either(total, along(eqn, i, output, value), join)
        return total

    return transfer


def either(first: T | None, second: T | None, join: Join[T]) -> T | None:
    """What there is of two; both joined."""
    if first is None or second is None:
        return second if first is None else first
    return join(first, second)

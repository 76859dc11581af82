"""The axes of a contraction, `dot_general`.

    y[b, l, r] = sum_k  left[b, l, k] right[b, r, k]

Of each operand, b are the batch axes together, l and r the free ones, k the contracted ones. The output has them in
this order.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Factor:
    """One operand of a contraction."""

    shape: Shape
    batch: tuple[int, ...]
    """Its batch axes."""
    contracted: tuple[int, ...]
    """The axes that are summed over."""

    @property
    def free(self) -> tuple[int, ...]:
        """The other axes."""
        return tuple(d for d in range(len(self.shape)) if d not in (*self.batch, *self.contracted))

    @property
    def order(self) -> tuple[int, ...]:
        """The batch axes, the free ones, the contracted ones."""
        return (*self.batch, *self.free, *self.contracted)

    def along(self, axes: Sequence[int]) -> Shape:
        """The lengths of these axes."""
        return tuple(self.shape[d] for d in axes)

    @property
    def sizes(self) -> tuple[int, int, int]:
        """How many elements the batch axes have, the free ones, the contracted ones."""
        return (
            math.prod(self.along(self.batch)),
            math.prod(self.along(self.free)),
            math.prod(self.along(self.contracted)),
        )

    def apart(self, array: Any) -> Any:
        """From the layout of the operand to [batch, free, contracted]; for arrays of JAX and of NumPy alike."""
        return array.transpose(self.order).reshape(self.sizes)

    def together(self, array: Any) -> Any:
        """And back."""
        return array.reshape(self.along(self.order)).transpose(np.argsort(self.order))


@dataclasses.dataclass(frozen=True)
class Contraction:
    """Both operands of a contraction."""

    factors: tuple[Factor, Factor]

    @classmethod
    def of(cls, shapes: Sequence[Shape], dimension_numbers: Any) -> "Contraction":
        """From the shapes of the operands, and what `dot_general` says of their axes."""
        left, right = map(Factor, shapes, dimension_numbers[1], dimension_numbers[0])
        return cls((left, right))

    @property
    def output(self) -> Shape:
        """The shape of the output."""
        left, right = self.factors
        return (*left.along(left.batch), *left.along(left.free), *right.along(right.free))

    def apart(self, y: Any, operand: int) -> Any:
        """From the layout of the output to [batch, free of this operand, free of the other]."""
        (b, m, _), (_, n, _) = (factor.sizes for factor in self.factors)
        parted = y.reshape(b, m, n)
        return parted if operand == 0 else parted.swapaxes(1, 2)

    def together(self, y: Any, operand: int) -> Any:
        """And back."""
        return (y if operand == 0 else y.swapaxes(1, 2)).reshape(self.output)

    def met_by(self, operand: int, axis: int) -> int | None:
        """The axis of the other operand that this axis is contracted with; None if it is not contracted."""
        mine, other = self.factors[operand].contracted, self.factors[1 - operand].contracted
        return other[mine.index(axis)] if axis in mine else None

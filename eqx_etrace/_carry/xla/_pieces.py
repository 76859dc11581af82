"""A large array, a piece of one axis at a time.

Where XLA lays arrays out over devices, the only piece is the whole: a slice of the axis that is cut would first be
gathered on every device, and which axis that is a program does not say.
"""

import dataclasses
from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..._sharding import is_laid_out_by_xla, scan

Tree = TypeVar("Tree")


@dataclasses.dataclass(frozen=True)
class Pieces:
    """Equal pieces of an axis of this length."""

    length: int
    size: int

    @classmethod
    def of(cls, length: int, size: int) -> "Pieces":
        """Of this size, where the axis may be cut at all."""
        return cls(length, length if is_laid_out_by_xla() else size)

    def take(self, array: Array, start: int | Array, axis: int) -> Array:
        """The piece that starts there."""
        if self.size == self.length:
            return array
        return jax.lax.dynamic_slice_in_dim(array, start, self.size, axis)

    def put(self, array: Array, piece: Array, start: int | Array, axis: int) -> Array:
        """The array with this piece in its place."""
        if self.size == self.length:
            return piece
        return jax.lax.dynamic_update_slice_in_dim(array, piece, start, axis)

    def fold(self, function: Callable[[Tree, int | Array], Tree], value: Tree) -> Tree:
        """`function(value, start)`, for one piece after the other; those behind the last whole piece are left out."""
        if self.size == self.length:
            return function(value, 0)
        starts = jnp.arange(0, self.length - self.size + 1, self.size)
        return scan(lambda value, start: (function(value, start), None), value, starts)[0]

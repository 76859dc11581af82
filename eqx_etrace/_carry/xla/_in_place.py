"""Order, forced by the data.

XLA updates an array in place only where nothing may still read it. That a read comes first in the program is not
enough: the update must depend on it, or the array is copied. (`optimization_barrier` does not survive long enough on
the CPU.)
"""

from collections.abc import Sequence
from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Inexact

from ..._sharding import is_laid_out_by_xla, varying_as

Tree = TypeVar("Tree")


def after(first: Sequence[Inexact[Array, "..."]], then: Tree) -> Tree:
    """The arrays of `then`, known only once all of `first` is.

    No number is both positive and negative, so nothing is changed. What asks is a loop, as a loop is nothing that XLA
    would merge with the computation of what it reads.
    """
    if is_laid_out_by_xla():  # an array in pieces would be gathered to be read
        return then
    read = [jax.lax.stop_gradient(array).reshape(-1) for array in first if array.size]
    if not read or not jax.tree.leaves(then):
        return then

    def look(i: int | Array, never: Bool[Array, ""]) -> Bool[Array, ""]:
        for array in read:
            one = jax.lax.dynamic_index_in_dim(array, jnp.minimum(i, array.size - 1), keepdims=False).real
            never = never | ((one > 0) & (one < 0))
        return never

    never = jax.lax.fori_loop(0, 2, look, varying_as(jnp.asarray(False), *read))
    return jax.tree.map(lambda d: jnp.where(never, jnp.zeros_like(d), d), then)

"""What is done on rare occasions, and costs nothing on all others."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jax.core import eval_jaxpr
from jaxtyping import Array, Bool

from ..._jax import is_key, opened

Tree = TypeVar("Tree")


def rarely(condition: Bool[Array, ""], value: Tree, function: Callable[[Tree], Tree]) -> Tree:
    """`function(value)` where the condition holds, else `value`.

    A loop of at most one round: `jax.vmap` would run both sides of a condition for every lane. A loop has no reverse
    mode, so that the derivative is that of the condition; made once more from what it starts with, so that nothing is
    kept of the side that is not taken.
    """
    leaves, structure = jtu.tree_flatten(value)
    staged = jax.make_jaxpr(lambda *leaves: jtu.tree_leaves(function(jtu.tree_unflatten(structure, leaves))))(*leaves)
    jaxpr, known = opened(staged)

    numbers, known_of = _without_keys(known)

    def apply(leaves: list[Array], numbers: list[Array]) -> list[Array]:
        return list(eval_jaxpr(jaxpr, known_of(numbers), *leaves))

    @jax.custom_jvp
    def run(condition: Array, leaves: list[Array], numbers: list[Array]) -> list[Array]:
        return jax.lax.while_loop(lambda c: c[0], lambda c: (c[0] & False, apply(c[1], numbers)), (condition, leaves))[
            1
        ]

    @run.defjvp
    def _(primals, tangents):
        def either(leaves: list[Array], numbers: list[Array]) -> list[Array]:
            return jax.lax.cond(primals[0], jax.checkpoint(apply), lambda leaves, _: leaves, leaves, numbers)

        return run(*primals), jax.jvp(either, primals[1:], tangents[1:])[1]

    return jtu.tree_unflatten(structure, run(condition, leaves, numbers))


def _without_keys(arrays: Sequence[Any]) -> tuple[list[Array], Callable[[list[Array]], list[Array]]]:
    """Random keys as numbers, and the way back: JAX cannot differentiate a condition that is given a key."""
    arrays = [jnp.asarray(array) for array in arrays]
    kinds = [jax.random.key_impl(a) if is_key(a) else None for a in arrays]

    def back(numbers: list[Array]) -> list[Array]:
        pairs = zip(numbers, kinds, strict=True)
        return [a if kind is None else jax.random.wrap_key_data(a, impl=kind) for a, kind in pairs]

    return [a if kind is None else jax.random.key_data(a) for a, kind in zip(arrays, kinds, strict=True)], back

"""What is done on rare occasions, and costs nothing on all others."""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jax.core import eval_jaxpr
from jaxtyping import Array, Bool

from ..._jax import opened

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

    def apply(leaves: list[Array], known: list[Array]) -> list[Array]:
        return list(eval_jaxpr(jaxpr, known, *leaves))

    @jax.custom_jvp
    def run(condition: Array, leaves: list[Array], known: list[Array]) -> list[Array]:
        return jax.lax.while_loop(lambda c: c[0], lambda c: (c[0] & False, apply(c[1], known)), (condition, leaves))[1]

    @run.defjvp
    def _(primals, tangents):
        def either(leaves: list[Array], known: list[Array]) -> list[Array]:
            return jax.lax.cond(primals[0], jax.checkpoint(apply), lambda leaves, _: leaves, leaves, known)

        return run(*primals), jax.jvp(either, primals[1:], tangents[1:])[1]

    return jtu.tree_unflatten(structure, run(condition, leaves, [jnp.asarray(k) for k in known]))

"""The product of a trace and what it meets: zero times anything is nothing.

A trace that holds nothing yet has nothing to hand over, though the slope of the step may be infinite there (a norm, a
root of a state that starts at zero). And where a reset cuts the past off, what the trace held is gone, though it was
NaN. In floating-point arithmetic both are 0 times infinity, which is NaN, for ever. BPTT, which pulls nothing back
through the first state, and nothing through a select that chose the other side, never meets them.
"""

import jax.numpy as jnp
from jaxtyping import Array, Inexact


def times(first: Inexact[Array, "..."], second: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
    """first * second, zero where one of them is zero and the other is not finite.

    Elsewhere it is the product, derivatives included. Of both factors the other's zero is taken: a derivative, too, is
    then no NaN.
    """
    void = ((first == 0) & ~jnp.isfinite(second)) | ((second == 0) & ~jnp.isfinite(first))
    return jnp.where(void, 0, first) * jnp.where(void, 0, second)


def without_idle_lanes(
    x: Inexact[Array, "*t b m k"], entry: tuple[Inexact[Array, "*t b m n"] | None, ...]
) -> Inexact[Array, "*t b m k"]:
    """What a weight met, but for infinity and NaN in lanes where nothing of it enters: a held step, a padded one."""
    found = [(rows != 0).any(-1, keepdims=True) for rows in entry if rows is not None]
    is_met = sum(found[1:], found[0])
    return jnp.where(is_met | jnp.isfinite(x), x, 0)

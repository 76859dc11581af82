"""The product of a trace and what it meets: zero times anything is nothing.

A trace that holds nothing yet has nothing to hand over, though the slope of the step may be infinite there (a norm, a
root of a state that starts at zero). And where a reset cuts the past off, what the trace held is gone, though it was
NaN. In floating-point arithmetic both are 0 times infinity, which is NaN, for ever. BPTT, which pulls nothing back
through the first state, and nothing through a select that chose the other side, never meets them.

A trace is large, and the rows that it meets (D, a learning signal) are smaller by the number of features. So the rows
are looked at. Where they are zero, nothing is taken of the trace. Where they are not finite, a number takes their
place, and the NaN that belongs there is put in afterwards, by a pass over the trace that is made only then.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Inexact

Tree = TypeVar("Tree")


@jax.custom_jvp
def times(rows: Inexact[Array, "..."], trace: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
    """rows * trace, and nothing where `rows` is zero, whatever the trace is."""
    return jnp.where(rows == 0, 0, rows * trace)


@times.defjvp
def _(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    """That of the product: where `rows` is zero, too, it depends on them."""
    (rows, trace), (d_rows, d_trace) = primals, tangents
    return times(rows, trace), d_rows * trace + rows * d_trace


def are_finite(rows: Sequence[Inexact[Array, "..."]]) -> Bool[Array, ""]:
    return functools.reduce(jnp.logical_and, [jnp.isfinite(array).all() for array in rows], jnp.asarray(True))


def finite(rows: Inexact[Array, "..."], instead: float) -> Inexact[Array, "..."]:
    """The rows, a number in place of infinity and NaN."""
    return jnp.where(jnp.isfinite(rows), rows, instead)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def mended(mend: Callable[..., Tree], needed: Bool[Array, ""], value: Tree, *known: Any) -> Tree:
    """`mend(value, *known)` if needed, else the value; in place, and derivatives are those of the value.

    It is a loop of at most one round, because `jax.vmap` would run both sides of a condition.
    """
    return jax.lax.while_loop(
        lambda carry: carry[0], lambda carry: (jnp.asarray(False), mend(carry[1], *known)), (needed, value)
    )[1]


@mended.defjvp
def _(mend: Callable[..., Any], primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
    return mended(mend, *primals), tangents[1]


def spoiled(trace: Inexact[Array, "..."], rows: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
    """A trace, NaN where it is not zero and meets rows that are not finite."""
    is_bad = ~jnp.isfinite(rows).reshape(*rows.shape, *(1,) * (trace.ndim - rows.ndim))
    return jnp.where(is_bad & (trace != 0), jnp.nan, trace)


def without_idle_lanes(
    x: Inexact[Array, "*t b m k"], entry: Sequence[Inexact[Array, "*t b m n"] | None]
) -> Inexact[Array, "*t b m k"]:
    """What a weight met, but for infinity and NaN in lanes where nothing of it enters: a held step, a padded one."""
    found = [(rows != 0).any(-1, keepdims=True) for rows in entry if rows is not None]
    is_met = sum(found[1:], found[0])
    return jnp.where(is_met | jnp.isfinite(x), x, 0)

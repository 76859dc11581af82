"""The status of every row of a trace: empty, or holding numbers, or spoiled.

A trace that holds nothing yet has nothing to hand over, though the slope of the step may be infinite there (a norm, a
root of a state that starts at zero). And where a reset cuts the past off, what the trace held is gone, though it was
NaN. In floating-point arithmetic both are 0 times infinity, which is NaN, for ever. BPTT, which pulls nothing back
through the first state, and nothing through a select that chose the other side, never meets them.

A trace with features is large, and the rows that it meets (D, dh/dy, a learning signal) are smaller by the number of
features. So the large array holds finite numbers alone, and one number per row of it says what else there is to know:

    a product is   0      if a factor is zero, or empty,
                   NaN    if not, and a factor is infinite or NaN, or spoiled,
                   1      else: it holds numbers;
    a sum is       the worst of its terms.

What was spoiled is passed on as NaN, to all features of its row. (A trace whose own numbers overflow is not seen here.)
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Inexact


class Stored(NamedTuple):
    """A trace with features."""

    e: Any
    """Finite numbers."""
    status: Any
    """By row; of an influence, by scalar of the state. Real."""


def finite(array: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
    """Zero in place of infinity and NaN, which the status tells."""
    return jnp.where(jnp.isfinite(array), array, 0)


def lane_status(x: Inexact[Array, "*t b m k"]) -> Inexact[Array, "*t b m"]:
    """1 where all features are finite, else NaN."""
    return 1 + _nothing(x) @ jnp.ones(x.shape[-1], x.dtype)


@jax.custom_jvp
def kept_finite(x: Inexact[Array, "b m k"], lanes: Inexact[Array, "b m"]) -> Inexact[Array, "b m k"]:
    """`finite`, of what has this status by lane, and almost always is finite.

    A loop of at most one round, so that XLA makes x once and does not look at it for every element of the trace; and
    because `jax.vmap` would run both sides of a condition.
    """
    return jax.lax.while_loop(
        lambda carry: carry[0], lambda carry: (carry[0] & False, finite(carry[1])), (jnp.isnan(lanes).any(), x)
    )[1]


@kept_finite.defjvp
def _(primals: tuple[Array, Array], tangents: tuple[Array, Any]) -> tuple[Array, Array]:
    return kept_finite(*primals), tangents[0]


def entering(rows: Inexact[Array, "..."], lanes: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
    """Of rows (x) features of this status."""
    return jnp.where(rows == 0, 0, _nothing(rows) + lanes)


def entering_any(rows: Inexact[Array, "g r q"], lanes: Inexact[Array, "g 1 _"]) -> Inexact[Array, "g r"]:
    """Of all rows (x) features of this status: the worst over q, as products, which are faster on the CPU."""
    spoiled = jnp.where(rows == 0, 0, _nothing(rows) + _nothing(lanes)) @ jnp.ones(rows.shape[-1], rows.dtype)
    return jnp.where(any_unit(rows != 0), 1 + spoiled, 0)


def through(rows: Inexact[Array, "..."], status: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
    """Of rows times a trace."""
    return jnp.where((rows == 0) | (status == 0), 0, _nothing(rows) + status.astype(rows.dtype))


@jax.custom_jvp
def met(rows: Inexact[Array, "..."], status: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
    """Rows that are multiplied with the finite numbers of a trace and summed: NaN where the trace is spoiled.

    Where it is empty its numbers are zero, and finite rows may stay: the derivative of these numbers meets them.
    """
    known = jnp.where(rows == 0, 0, rows + _nothing(status).astype(rows.dtype))
    return jnp.where(status == 0, finite(rows), known)


@met.defjvp
def _(primals: tuple[Array, Array], tangents: tuple[Array, Any]) -> tuple[Array, Array]:
    """That of the rows: where they are zero, too, the product with the trace depends on them."""
    (rows, status), (d_rows, _) = primals, tangents
    return met(rows, status), jnp.where((status == 0) & ~jnp.isfinite(rows), 0, d_rows)


def _nothing(array: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
    """Zero where it is finite, else NaN."""
    return jax.lax.stop_gradient(array) * 0


def worst(terms: Sequence[Inexact[Array, "..."]], dtype: np.dtype) -> Inexact[Array, "..."]:
    """Of a sum."""
    return functools.reduce(jnp.maximum, [term.real for term in terms]).astype(dtype)


def not_a_number(status: Inexact[Array, "..."], dtype: np.dtype) -> Inexact[Array, "..."]:
    """NaN where it is spoiled, else zero."""
    return jnp.where(jnp.isfinite(status), 0, jnp.nan).astype(dtype)


@jax.custom_jvp
def scaled(rows: Inexact[Array, "..."], e: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
    """Finite rows times a trace, and nothing where the rows are zero, though the trace has overflowed.

    The trace is what is cleared, and not the product, so that XLA still fuses a product and a sum.
    """
    return rows * jnp.where(rows == 0, 0, e)


@scaled.defjvp
def _(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    (rows, e), (d_rows, d_e) = primals, tangents
    return scaled(rows, e), d_rows * e + rows * d_e


def without_idle_lanes(
    x: Inexact[Array, "*t b m k"], entry: Sequence[Inexact[Array, "*t b m n"] | None]
) -> Inexact[Array, "*t b m k"]:
    """What a weight met, but for infinity and NaN in lanes where nothing of it enters: a held step, a padded one."""
    found = [any_unit(rows != 0)[..., None] for rows in entry if rows is not None]
    return jnp.where(functools.reduce(jnp.logical_or, found) | jnp.isfinite(x), x, 0)


def any_unit(flags: Bool[Array, "*t n"]) -> Bool[Array, "*t"]:
    """`flags.any(-1)`, as a product, which is faster on the CPU."""
    return flags.astype(jnp.float32) @ jnp.ones(flags.shape[-1], jnp.float32) > 0

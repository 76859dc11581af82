"""Decompositions of a few rows, in operations that every device has and XLA may run as it likes.

LAPACK's calls on a batch wait for threads of XLA's pool, in which they run themselves. In jaxlib 0.10 two of them at
once may wait for each other for ever, on a machine of two cores.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact, Int

from ..._sharding import varying_as

_SWEEPS = 10
"""Jacobi's rotations converge quadratically: double precision takes five to seven, more for rows far apart in size."""


def orthogonal(rows: Inexact[Array, "i k"]) -> tuple[Inexact[Array, "i k"], Inexact[Array, "i i"]]:
    """Orthonormal rows Q, and R, upper triangular, with rows = R^T Q; zeros in Q where a row adds nothing.

    Gram-Schmidt, each row taken twice, which leaves it orthogonal to rounding.

    Source: Giraud et al., "Rounding error analysis of the classical Gram-Schmidt orthogonalization process", Numerische
    Mathematik 2005.
    """
    count, eps = len(rows), jnp.finfo(rows.dtype).eps
    scale = _or_one(jnp.abs(rows).max(1)).astype(rows.dtype)  # each by itself: the other factor may make up for it
    rows = rows / scale[:, None]

    def add(j: Int[Array, ""], q: Array) -> Array:
        row = jax.lax.dynamic_index_in_dim(rows, j, keepdims=False)
        once = row - (q.conj() @ row) @ q
        twice = once - (q.conj() @ once) @ q
        norm = jnp.linalg.norm(twice)
        # What the second time takes away was rounding of the first.
        adds = norm > jnp.maximum(jnp.linalg.norm(once) / 2, eps * jnp.linalg.norm(row))
        new = jnp.where(adds, twice / _or_one(norm).astype(rows.dtype), 0)
        return jax.lax.dynamic_update_index_in_dim(q, new, j, 0)

    q = jax.lax.fori_loop(0, count, add, varying_as(jnp.zeros_like(rows), rows))
    return q, q.conj() @ rows.T * scale


def svd(
    matrix: Inexact[Array, "i i"],
) -> tuple[Inexact[Array, "i i"], Float[Array, " i"], Inexact[Array, "i i"]]:
    """Left vectors as columns, values in descending order, right vectors as rows; zeros on the left for values of zero.

    One-sided Jacobi: rotations of pairs of columns, as many at once as have none in common, until all are orthogonal.

    Source: Golub and Van Loan, "Matrix Computations", 4th edition 2013, section 8.6.3.
    """
    count, scale = matrix.shape[0], _or_one(jnp.abs(matrix).max())
    pairs = jnp.asarray(_tournament(count + count % 2))
    even = ((0, count % 2), (0, 0))
    columns = jnp.pad(matrix.T / scale.astype(matrix.dtype), even)
    right = varying_as(jnp.pad(jnp.eye(count, dtype=matrix.dtype), even), columns)

    def turn(i: Int[Array, ""], carry: tuple[Array, Array]) -> tuple[Array, Array]:
        first, second = jnp.moveaxis(pairs[i % len(pairs)], -1, 0)
        rotation = _rotation(carry[0][first], carry[0][second])
        return _turned(carry[0], first, second, *rotation), _turned(carry[1], first, second, *rotation)

    columns, right = jax.lax.fori_loop(0, _SWEEPS * len(pairs), turn, (columns, right))
    columns, right = columns[:count], right[:count]
    values = jnp.linalg.norm(columns, axis=1)
    order = jnp.argsort(-values)
    columns, right, values = columns[order], right[order], values[order]
    return (columns / _or_one(values)[:, None].astype(columns.dtype)).T, values * scale, right.conj()


def _or_one(x: Float[Array, "*n"]) -> Float[Array, "*n"]:
    return jnp.where(x > 0, x, 1)


def _rotation(p: Inexact[Array, "h n"], q: Inexact[Array, "h n"]) -> tuple[Array, Array, Array]:
    """Cosine and sine, `[h, 1]`, of the smaller angle that makes each pair orthogonal, and the phase between them."""
    product = (p.conj() * q).sum(1, keepdims=True)
    length = jnp.abs(product)
    phase = jnp.where(length > 0, product / _or_one(length).astype(p.dtype), 1)
    difference = ((jnp.abs(q) - jnp.abs(p)) * (jnp.abs(q) + jnp.abs(p))).sum(1, keepdims=True)
    root = jnp.sqrt(difference**2 + 4 * length**2)
    tangent = 2 * length * jnp.where(difference < 0, -1, 1) / _or_one(jnp.abs(difference) + root)
    cos = 1 / jnp.sqrt(1 + tangent**2)
    return cos.astype(p.dtype), (cos * tangent).astype(p.dtype), phase


def _turned(
    rows: Inexact[Array, "n k"], first: Int[Array, " h"], second: Int[Array, " h"], cos: Array, sin: Array, phase: Array
) -> Inexact[Array, "n k"]:
    p, q = rows[first], rows[second] * phase.conj()
    return rows.at[first].set(cos * p - sin * q).at[second].set(sin * p + cos * q)


def _tournament(count: int) -> Int[np.ndarray, "rounds h 2"]:
    """Rounds in which each of an even number meets another, until all have met."""
    players = np.arange(count)
    rounds = []
    for _ in range(count - 1):
        rounds.append(np.stack([players[: count // 2], players[: count // 2 - 1 : -1]], 1))
        players = np.concatenate([players[:1], players[-1:], players[1:-1]])
    return np.asarray(rounds, np.int32)

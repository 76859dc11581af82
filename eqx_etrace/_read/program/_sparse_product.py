"""A product with a sparse matrix of `jax.experimental.sparse`, written out.

    out[r, q]  =  sum over the stored s with row_s = r of   data_s  dense[col_s, q]

Said so, it is a gather, a product and a sum at an index, and each stored number enters one element. Entries whose index
lies outside are padding: they are left out, as JAX leaves them out.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import sparse
from jaxtyping import Array

from ... import _jax


def written_out(eqn: Any) -> _jax.Staged | None:
    """What computes the same; None if it is no such product, or one with dense blocks in place of numbers."""
    if eqn.primitive.name not in _PRODUCTS:
        return None
    index_of, rank = _PRODUCTS[eqn.primitive.name]
    operands = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in eqn.invars]
    stored, *at, _ = operands
    (contracted, batch), shape = eqn.params["dimension_numbers"], eqn.params["lhs_spinfo"].shape
    count = stored.ndim - 1
    lead = tuple(range(count))
    if (*map(tuple, batch),) != (lead, lead) or any(one.ndim != count + rank for one in at):
        return None
    mine, theirs = [d - count for d in contracted[0]], [d - count for d in contracted[1]]
    dtype = eqn.outvars[0].aval.dtype

    def product(stored: Array, *rest: Array) -> Array:
        *at, dense = rest
        return _product(stored, index_of(stored, at, shape[count:]), dense, shape[count:], mine, theirs, dtype)

    for level in reversed(lead):
        product = _mapped(product, [one.shape[level] == 1 != shape[level] for one in (stored, *at)])
    return jax.make_jaxpr(product)(*operands)


def _mapped(product: Callable[..., Array], is_shared: Sequence[bool]) -> Callable[..., Array]:
    """Over the first axis of all operands; what is shared has one element along it."""

    def mapped(*operands: Array) -> Array:
        *sparse_part, dense = operands
        parts = [part[0] if shared else part for part, shared in zip(sparse_part, is_shared, strict=True)]
        return jax.vmap(product, [None if shared else 0 for shared in is_shared] + [0])(*parts, dense)

    return mapped


def _product(
    stored: Array,
    index: Array,
    dense: Array,
    shape: Sequence[int],
    mine: Sequence[int],
    theirs: Sequence[int],
    dtype: Any,
) -> Array:
    """Contracted over these axes of the sparse and of the dense operand."""
    free = _others(mine, len(shape))
    axes = (*theirs, *_others(theirs, dense.ndim))
    met = dense.transpose(axes).at[tuple(index[:, d] for d in mine)].get(mode="fill", fill_value=0)
    terms = stored.reshape(-1, *(1,) * (met.ndim - 1)) * met
    out = jnp.zeros([*(shape[d] for d in free), *met.shape[1:]], dtype)
    return out.at[tuple(index[:, d] for d in free)].add(terms.astype(dtype), mode="drop")


def _others(axes: Sequence[int], rank: int) -> list[int]:
    """Than these, of so many."""
    return [d for d in range(rank) if d not in axes]


def _of_bcoo(stored: Array, at: Sequence[Array], shape: tuple[int, ...]) -> Array:
    del stored, shape
    (index,) = at
    return index


def _of_bcsr(stored: Array, at: Sequence[Array], shape: tuple[int, ...]) -> Array:
    index, start = at
    return sparse.BCSR((stored, index, start), shape=shape).to_bcoo().indices


_PRODUCTS = {"bcoo_dot_general": (_of_bcoo, 2), "bcsr_dot_general": (_of_bcsr, 1)}
"""By name: how the index of every stored number is found, and how many axes the arrays have that say it."""

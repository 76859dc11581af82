"""Many small dots, written out as sums of products: XLA's compiler for CPUs is slow at them.

A product of 64 pairs of 4 by 4 matrices takes it 50 to 80 us as one `dot_general`, and 1 to 4 us as four elementwise
products and their sum. Such are the Jacobians of a state in small blocks.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jaxtyping import Array, Inexact

from ..._read import Contraction, DOT, Equation, evaluate, flatten
from ..._sharding import is_laid_out_by_xla, scan
from ..._times import times
from .._dtype import widest
from .._status import any_unit, finite, not_a_number, scaled, through, worst

_FEW = 8
"""From so many terms on a `dot_general` is as fast."""


def apply_blocks(jacobian: Inexact[Array, "g i j"], value: Inexact[Array, "g j q"]) -> Inexact[Array, "g i q"]:
    """J e, by group, of a trace without features; zero times anything is nothing."""
    count, jacobian = value.shape[1], jacobian.astype(value.dtype)
    if 0 < count <= _FEW:
        terms = [times(jacobian[:, :, j, None], value[:, j, None]) for j in range(count)]
        return sum(terms[1:], terms[0])
    spoiled = not_a_number(through_blocks(jacobian, value), value.dtype)
    return jnp.einsum("gij,gjq->giq", finite(jacobian), finite(value)) + spoiled


def scale_blocks(jacobian: Inexact[Array, "g i j"], e: Inexact[Array, "g j q k"]) -> Inexact[Array, "g i q k"]:
    """J e, by group, of a trace with features and a finite J.

    What has overflowed is gone where nothing old is read; not in blocks of 3 to 8, which would take 1.4 times as long.
    """
    count, jacobian = e.shape[1], jacobian.astype(e.dtype)
    if not 0 < count <= _FEW:
        return _where_read(jacobian, e)
    product = scaled if count <= 2 else jnp.multiply
    terms = [product(jacobian[:, :, j, None, None], e[:, j, None]) for j in range(count)]
    return sum(terms[1:], terms[0])


@jax.custom_jvp
def _where_read(jacobian: Inexact[Array, "g i j"], e: Inexact[Array, "g j q k"]) -> Inexact[Array, "g i q k"]:
    """J e, and nothing where a row of J is zero."""
    return jnp.where(any_unit(jacobian != 0)[..., None, None], jnp.einsum("gij,gjqk->giqk", jacobian, e), 0)


@_where_read.defjvp
def _(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    """That of the product: a row that is zero has its derivative, too."""
    (jacobian, e), (d_jacobian, d_e) = primals, tangents
    return _where_read(jacobian, e), jnp.einsum("gij,gjqk->giqk", d_jacobian, e) + _where_read(jacobian, d_e)


def contract_blocks(signal: Inexact[Array, "g j"], e: Inexact[Array, "g j q k"]) -> Inexact[Array, "g q k"]:
    """g . e, by group, of a trace with features.

    A few scalars at a time: one product of a vector and so large a matrix takes XLA 30 times as long.
    """
    count = e.shape[1]
    if count <= _FEW or is_laid_out_by_xla():
        return jnp.einsum("gj,gjqk->gqk", signal, e)
    size = next(size for size in (4, 3, 2, 1) if count % size == 0)

    def some(total: Array, start: Array) -> tuple[Array, None]:
        for j in range(size):
            one, row = (jax.lax.dynamic_index_in_dim(a, start + j, 1, keepdims=False) for a in (signal, e))
            total = total + one[:, None, None] * row
        return total, None

    nothing = jnp.zeros((e.shape[0], *e.shape[2:]), jnp.result_type(signal, e))
    return scan(some, nothing, jnp.arange(0, count, size))[0]


def through_blocks(jacobian: Inexact[Array, "g i j"], status: Inexact[Array, "g j q"]) -> Inexact[Array, "g i q"]:
    """The status of J e, by group; if many, it is a sum over j of (none, one or many) times (none, one or many)."""
    count = status.shape[1]
    if 0 < count <= _FEW:
        return worst([through(jacobian[:, :, j, None], status[:, j, None]) for j in range(count)], jacobian.dtype)
    many = 2.0**20
    first, second = (
        jnp.where(factor == 0, 0, jnp.where(jnp.isfinite(factor), 1, many)).astype(jnp.float32)
        for factor in (jacobian, status)
    )
    total = jnp.einsum("gij,gjq->giq", first, second)
    return jnp.where(total == 0, 0, jnp.where(total < many, 1.0, jnp.nan))


def written_out(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function of arrays, with its small dots written out."""

    def run(*arguments: Any) -> Any:
        closed, shapes = jax.make_jaxpr(function, return_shape=True)(*arguments)
        program = flatten(closed)
        values = dict(program.constants)
        values.update(zip(program.inputs, jtu.tree_leaves(arguments), strict=True))
        for eqn in program.equations:
            operands = [values[v] for v in eqn.inputs]
            if _is_small(eqn, operands):
                left, right = operands
                values[eqn.outputs[0]] = _sum_of_products(left, right, eqn, program.avals[eqn.outputs[0]].dtype)
            else:
                evaluate([eqn], values)
        return jtu.tree_unflatten(jtu.tree_structure(shapes), [values[v] for v in program.outputs])

    return run


def _is_small(eqn: Equation, operands: list[Any]) -> bool:
    """Is it a product of many pairs of matrices, each entry a sum of few terms?"""
    if eqn.primitive is not DOT or eqn.params.get("out_sharding") is not None:
        return False
    left, _ = _contraction(eqn, operands).factors
    return bool(left.batch) and 0 < math.prod(left.along(left.contracted)) < _FEW


def _contraction(eqn: Equation, operands: Sequence[Any]) -> Contraction:
    return Contraction.of([x.shape for x in operands], eqn.params["dimension_numbers"])


def _sum_of_products(left: Array, right: Array, eqn: Equation, dtype: Any) -> Array:
    contraction = _contraction(eqn, (left, right))
    parted = [factor.apart(x) for factor, x in zip(contraction.factors, (left, right), strict=True)]
    # What is summed over comes first: each term is then read in one piece.
    a, b = (jnp.moveaxis(x, -1, 0) for x in parted)
    wide = widest(left.dtype, right.dtype, dtype)
    terms = [p[:, :, None].astype(wide) * q[:, None].astype(wide) for p, q in zip(a, b, strict=True)]
    return jnp.asarray(sum(terms[1:], terms[0])).astype(dtype).reshape(contraction.output)

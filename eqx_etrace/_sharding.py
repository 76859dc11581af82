"""Which axes of a mesh an array varies over.

Inside `jax.shard_map` the type of an array says so, and an array of zeros is of another type than what is added to it.
A loop asks that what it carries keeps its type, so what it begins with is given the type that it comes to.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import AxisType


def scan(body: Callable[..., Any], init: Any, xs: Any = None, length: int | None = None, reverse: bool = False) -> Any:
    """`jax.lax.scan`, whose first carry is given the type that it has after a round."""
    if AxisType.Manual in jax.sharding.get_abstract_mesh().axis_types:
        init = _settled(body, init, jax.tree.map(lambda x: jax.eval_shape(lambda x: x[0], x), xs))
    return jax.lax.scan(body, init, xs, length, reverse)


def _settled(body: Callable[..., Any], init: Any, first: Any) -> Any:
    for _ in range(len(jax.tree.leaves(init)) + 1):
        after = jax.eval_shape(lambda carry, x: body(carry, x)[0], init, first)
        given = jax.tree.map(varying_as, init, after)
        if jax.tree.map(jax.typeof, given) == jax.tree.map(jax.typeof, init):
            return given
        init = given
    return init


def varying_as(x: Any, *like: Any) -> Any:
    """`x`, varying over all axes of a mesh that one of these arrays, or types, varies over."""
    axes = jax.sharding.get_abstract_mesh().axis_names
    wanted = frozenset().union(*map(_varying, like)) - _varying(x)
    missing = tuple(axis for axis in axes if axis in wanted)
    return jax.lax.pcast(x, missing, to="varying") if missing else x


class Varying(NamedTuple):
    """What varies over these axes of a mesh."""

    varying: frozenset[str]


def is_laid_out_by_xla() -> bool:
    """May XLA lay the arrays of this program out over several devices, by itself?

    Not inside `jax.shard_map` over all axes of a mesh, where arrays are those of one device.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return jax.device_count() > 1
    kinds = zip(mesh.axis_sizes, mesh.axis_types, strict=True)
    return any(size > 1 and kind is not AxisType.Manual for size, kind in kinds)


def varying_type(tree: Any) -> Varying:
    """What varies over all axes of a mesh that an array in a tree varies over."""
    return Varying(frozenset().union(*map(_varying, jax.tree.leaves(tree))))


def zeros(like: Any, *lead: int) -> Any:
    """Zeros of this type, with these axes in front."""
    return varying_as(jnp.zeros((*lead, *like.shape), like.dtype), like)


def _varying(x: Any) -> frozenset[str]:
    """The axes of a mesh that an array, or a value of this type, varies over."""
    if isinstance(x, Varying):
        return x.varying
    aval = jax.typeof(x) if isinstance(x, jax.Array) else x
    return frozenset(getattr(getattr(aval, "manual_axis_type", None), "varying", ()))

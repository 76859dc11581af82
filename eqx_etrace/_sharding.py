"""Types that say where an array is: axes of a mesh that it varies over, or along which it is sharded.

Inside `jax.shard_map`, and in a mesh of explicit axes, an array of zeros is of another type than what is added to it. A
loop asks that what it carries keeps its type, so what it begins with is given the type that it comes to.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P


def scan(body: Callable[..., Any], init: Any, xs: Any = None, length: int | None = None, reverse: bool = False) -> Any:
    """`jax.lax.scan`, whose first carry is given the type that it has after a round."""
    if any(kind is not AxisType.Auto for kind in jax.sharding.get_abstract_mesh().axis_types):
        init = _settled(body, init, jax.tree.map(lambda x: jax.eval_shape(lambda x: x[0], x), xs))
    return jax.lax.scan(body, init, xs, length, reverse)


def _settled(body: Callable[..., Any], init: Any, first: Any) -> Any:
    for _ in range(len(jax.tree.leaves(init)) + 1):
        after = jax.eval_shape(lambda carry, x: body(carry, x)[0], init, first)
        given = jax.tree.map(typed_as, init, after)
        if jax.tree.map(jax.typeof, given) == jax.tree.map(jax.typeof, init):
            return given
        init = given
    return init


def typed_as(x: Any, like: Any, lead: int = 0) -> Any:
    """`x`, varying over all axes that `like` varies over, and sharded as it is; `x` may have axes in front."""
    x = varying_as(x, like)
    spec = P(*(None for _ in range(lead)), *_spec(like))
    return jax.sharding.reshard(x, spec) if any(spec) and _spec(jax.typeof(x)) != spec else x


def varying_as(x: Any, *like: Any) -> Any:
    """`x`, varying over all axes of a mesh that one of these arrays, or types, varies over."""
    axes = jax.sharding.get_abstract_mesh().axis_names
    wanted = frozenset().union(*map(_varying, like)) - _varying(x)
    missing = tuple(axis for axis in axes if axis in wanted)
    return jax.lax.pcast(x, missing, to="varying") if missing else x


class Varying(NamedTuple):
    """What varies over these axes of a mesh."""

    varying: frozenset[str]


def varying_type(tree: Any) -> Varying:
    """What varies over all axes of a mesh that an array in a tree varies over."""
    return Varying(frozenset().union(*map(_varying, jax.tree.leaves(tree))))


def zeros(like: Any, *lead: int) -> Any:
    """Zeros of this type, with these axes in front."""
    return typed_as(jnp.zeros((*lead, *like.shape), like.dtype), like, len(lead))


def _varying(x: Any) -> frozenset[str]:
    """The axes of a mesh that an array, or a value of this type, varies over."""
    if isinstance(x, Varying):
        return x.varying
    aval = jax.typeof(x) if isinstance(x, jax.Array) else x
    return frozenset(getattr(getattr(aval, "manual_axis_type", None), "varying", ()))


def _spec(aval: Any) -> P:
    """Along which axes of a mesh it is sharded, if the axes are explicit."""
    mesh = jax.sharding.get_abstract_mesh()
    if AxisType.Explicit not in mesh.axis_types:
        return P()
    return getattr(getattr(aval, "sharding", None), "spec", P())

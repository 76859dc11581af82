"""How arrays lie on a mesh whose axes have names.

Axes are automatic where XLA cuts the arrays by itself. They are explicit where types say along which axes an array is
cut, and every operation must say what becomes of that. For what is computed here they are made automatic; what comes
out is given its type again.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.core import Tracer
from jax.sharding import AxisType, NamedSharding, reshard
from jax.sharding import PartitionSpec as P


class Placed(NamedTuple):
    """How an array lies on a mesh."""

    mesh: Any
    axes: tuple[tuple[str, ...], ...]
    """By axis of the array, the axes of the mesh that cut it."""

    @property
    def spec(self) -> P:
        """The same, as JAX has it."""
        return P(*(axes or None for axes in self.axes))

    def count(self, axes: tuple[str, ...]) -> int:
        """Into how many shards these axes cut."""
        return math.prod(self.mesh.shape[axis] for axis in axes)


def placed(x: Any) -> Placed | None:
    """How an array, or a `ShapeDtypeStruct`, lies on a mesh; None if on none, or if XLA is to say."""
    traced = isinstance(x, Tracer)
    sharding = getattr(jax.typeof(x) if traced else x, "sharding", None)
    if not isinstance(sharding, NamedSharding) or sharding.mesh.empty:
        return None
    entries = [*sharding.spec, *[None] * (x.ndim - len(sharding.spec))]
    if traced and not any(entries):
        return None
    return Placed(sharding.mesh, tuple(_as_axes(entry) for entry in entries))


def _as_axes(entry: Any) -> tuple[str, ...]:
    if entry is None or entry is P.UNCONSTRAINED:
        return ()
    return (entry,) if isinstance(entry, str) else tuple(entry)


def with_automatic_axes(function: Callable[..., Any], arguments: Any, types: Callable[[], Any] | None = None) -> Any:
    """`function(*arguments)`, in which all axes of the mesh are automatic that are explicit outside.

    `types()`, a tree or a prefix of one, says how the arrays of the result are cut: as those that stand there, or by
    nothing where None does. Without it the result is no tree of arrays.
    """
    mesh = jax.sharding.get_abstract_mesh()
    kinds = zip(mesh.axis_names, mesh.axis_types, strict=True)
    explicit = {axis: AxisType.Auto for axis, kind in kinds if kind is AxisType.Explicit}
    if not explicit:
        return function(*arguments)
    with jax.sharding.use_abstract_mesh(mesh.update_axis_types(explicit)):
        result = function(*_cut(arguments, P()))
    if types is None:
        return result

    def typed(like: Any, part: Any) -> Any:
        where = placed(like)
        return _cut(part, P() if where is None else where.spec)

    return jax.tree.map(typed, types(), result, is_leaf=lambda x: x is None)


def _cut(tree: Any, spec: P) -> Any:
    return jax.tree.map(lambda x: reshard(x, spec) if isinstance(x, jax.Array) else x, tree)

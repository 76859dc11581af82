"""Where the numbers of a trace lie, on several devices: those of a lane, or a unit, beside its states.

An array of the state is cut along an axis into equal shards. Every scalar of it has the number of its shard, and every
row of a trace that of the scalar that it is about. A trace is cut along the axis along which these numbers grow in
equal steps; if there is none, every device holds all of it.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Int, PyTree

from .._carry import AbstractKeeper, BlockLayout, ProductLayout, TraceLayout
from .._explicit import Placed, placed
from .._read import Layout
from ._etrace import ETrace
from ._plan import Plan

Axes = tuple[str, ...]
"""Axes of a mesh that cut one axis of an array together."""
Numbers = Int[np.ndarray, "..."]
"""Of shards; -1 for none."""
AnyLayout = TraceLayout | BlockLayout | ProductLayout


@dataclasses.dataclass(frozen=True)
class Cut:
    """How the state is cut by some axes of a mesh."""

    axes: Axes
    count: int
    """Into how many shards."""
    shards: Sequence[Numbers]
    """The shard of every scalar, by array of the state."""

    def along(self, rows: Numbers) -> int | None:
        """The axis along which these numbers grow in equal steps."""
        for axis, length in enumerate(rows.shape):
            if length % self.count == 0 and (rows >= 0).any():
                grown = (np.arange(length) * self.count // length).reshape(-1, *(1,) * (rows.ndim - axis - 1))
                if ((rows < 0) | (rows == grown)).all():
                    return axis
        return None


def init_beside(plan: Plan, model: PyTree, state: PyTree) -> ETrace:
    """The traces before the first step, each on the devices that hold the states that it is about."""
    mesh = _mesh_of((model, state))
    if mesh is None or mesh.size == 1:
        return plan.init()
    specs = _specs(plan, model, state)
    if isinstance(mesh, jax.sharding.AbstractMesh):
        return jax.tree.map(jax.sharding.reshard, plan.init(), specs)
    where = jax.tree.map(lambda spec: NamedSharding(mesh, spec), specs, is_leaf=_is_spec)
    return jax.jit(plan.init, out_shardings=where)()


def trace_sharding(plan: Plan, model: PyTree, state: PyTree) -> ETrace:
    """The same, without the numbers: a `NamedSharding` for every array.

    **Raises** `ValueError` if no array of model and state lies on a mesh.
    """
    mesh = _mesh_of((model, state))
    if mesh is None:
        raise ValueError(
            "No array of the model or the state lies on a mesh of devices, so that nothing says where a trace is to "
            "lie. Put the state there first, `jax.device_put(state, NamedSharding(mesh, P('lanes')))`, or pass "
            "`jax.ShapeDtypeStruct`s with a `sharding`."
        )
    specs = _specs(plan, model, state)
    return jax.tree.map(lambda spec: NamedSharding(mesh, spec), specs, is_leaf=_is_spec)


def _is_spec(leaf: Any) -> bool:
    return isinstance(leaf, P)


def _mesh_of(tree: PyTree) -> Any:
    return next((one.mesh for one in map(placed, jtu.tree_leaves(tree)) if one is not None), None)


def _specs(plan: Plan, model: PyTree, state: PyTree) -> ETrace:
    """A `PartitionSpec` for every array of the traces."""
    like, step = jax.eval_shape(plan.init), plan.analysis.step
    cuts = _cuts(step.state, state)
    by_weight = dict(zip(step.parameters, _inexact_leaves(model), strict=True))

    def specs(keeper: AbstractKeeper, arrays: PyTree) -> PyTree:
        weight = placed(by_weight.get(keeper.layout.weight))
        return jax.tree.map(lambda array: _spec(array.shape, keeper.layout, cuts, weight), arrays)

    values = tuple(specs(keeper, arrays) for keeper, arrays in zip(plan.keepers, like.values, strict=True))
    leaves, structure = jtu.tree_flatten(like)  # the values come first
    of_values = jtu.tree_leaves(values, is_leaf=_is_spec)
    return jtu.tree_unflatten(structure, [*of_values, *[P()] * (len(leaves) - len(of_values))])


def _inexact_leaves(tree: PyTree) -> list[Any]:
    return [x for x in jtu.tree_leaves(tree) if hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jnp.inexact)]


def _cuts(layout: Layout, state: PyTree) -> list[Cut]:
    """By axes of the mesh, with the state in the parts that the step has it in."""
    leaves = _inexact_leaves(state)
    where = list(map(placed, leaves))
    counts = {axes: one.count(axes) for one in where if one is not None for axes in one.axes if axes}

    def shards(axes: Axes) -> list[Numbers]:
        parts: dict[int, Numbers] = {}
        for leaf, one, numbers in zip(leaves, where, layout.parts, strict=True):
            of_leaf = _shards(leaf.shape, one, axes)
            parts.update({number: of_leaf.ravel()[layout.order_of(number)] for number in numbers})
        return [parts[number] for number in range(len(parts))]

    return [Cut(axes, count, shards(axes)) for axes, count in counts.items()]


def _shards(shape: tuple[int, ...], where: Placed | None, axes: Axes) -> Numbers:
    """Of every element of an array."""
    if where is None or axes not in where.axes:
        return np.full(shape, -1)
    axis = where.axes.index(axes)
    grown = np.arange(shape[axis]) * where.count(axes) // shape[axis]
    return np.broadcast_to(grown.reshape(-1, *(1,) * (len(shape) - axis - 1)), shape)


def _spec(shape: tuple[int, ...], layout: AnyLayout, cuts: Sequence[Cut], weight: Placed | None) -> P:
    """Of one array of a trace. As far as its axes are as long as those of the rows, they are these."""
    found: dict[int, Axes] = {}
    for cut in cuts:
        axis = next((axis for rows in _rows(layout, cut) if (axis := _shared(shape, rows, cut)) is not None), None)
        if axis is not None:
            found.setdefault(axis, cut.axes)
    if not found and weight is not None and isinstance(layout, TraceLayout) and shape == layout.shape:
        return weight.spec  # number by number as the weight is, such as that of a list of synapses
    return P(*(found.get(axis) for axis in range(1 + max(found, default=-1))))


def _shared(shape: tuple[int, ...], rows: Numbers, cut: Cut) -> int | None:
    """The axis along which an array with the first axes of these rows is cut."""
    axis = cut.along(rows)
    return axis if axis is not None and shape[: axis + 1] == rows.shape[: axis + 1] else None


def _entered(layout: BlockLayout, of_slots: Numbers) -> Numbers:
    """Of every row, the shard of the scalars that it enters in the same step: by group, scalar and row.

    Rows of a block need nothing of one another, e <- J e, where scalars need all others.
    """
    shards = np.where(layout.entering, of_slots[:, :, None], -1)
    least = np.where(shards < 0, np.iinfo(int).max, shards).min(1)
    return np.broadcast_to(np.where(shards.max(1) == least, least, -1)[:, None], layout.entering.shape)


def _rows(layout: AnyLayout, cut: Cut) -> Iterator[Numbers]:
    """The shards of what the axes of a trace run over; of rows once for each state that they are about."""
    scalars = np.concatenate([shards.ravel() for shards in cut.shards])
    if isinstance(layout, BlockLayout):
        of_slots = np.where(layout.slots < 0, -1, scalars[layout.slots])
        yield from (of_slots, _entered(layout, of_slots))
    elif isinstance(layout, ProductLayout):
        of_part = np.full(layout.parts, -1)
        of_part[layout.scalars] = scalars
        yield from (of_part[layout.rows], scalars)
    elif layout.find_rows is None:
        here = [(layout.leaves[s], of) for s, of in zip(layout.states, layout.elements, strict=True)]
        for number, elements in here:
            if number < len(cut.shards):
                yield np.where(elements < 0, -1, cut.shards[number].ravel()[elements])
    else:
        yield from _leading_lanes(layout, cut)


def _leading_lanes(layout: TraceLayout, cut: Cut) -> Iterator[Numbers]:
    """Where an index says which unit each row is about: lanes lead the states, and so the rows."""
    numbers = [layout.leaves[s] for s in layout.states]
    for of_state in (cut.shards[number] for number in numbers if number < len(cut.shards)):
        if of_state.ndim > 1 and cut.along(of_state) == 0:
            yield of_state.reshape(len(of_state), -1)[:, 0]

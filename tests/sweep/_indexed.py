"""Slices, gathers and scatters, at indices that are constant and at such that are not, in every mode."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ._table import constant, on

SOME, TWICE, FAR = np.array([2, 0, 3]), np.array([1, 1, 4]), np.array([0, 7, -9])


def traced(v, n=4):
    """An index that the analysis cannot know."""
    return (jnp.abs(v).sum() * 7).astype(int) % n


on(
    (5,),
    index=lambda v: v[2],
    index_negative=lambda v: v[-2],
    index_array=lambda v: v[SOME],
    index_twice=lambda v: v[TWICE],
    index_mask=lambda v: v[np.array([True, False, True, True, False])],
    index_traced=lambda v: v[traced(v)],
    index_traced_array=lambda v: v[(traced(v) + jnp.arange(5)) % 5],
    take=lambda v: jnp.take(v, SOME),
    take_clip=lambda v: jnp.take(v, FAR, mode="clip"),
    take_wrap=lambda v: jnp.take(v, FAR, mode="wrap"),
    take_fill=lambda v: jnp.take(v, FAR, mode="fill", fill_value=0.25),
    get_fill=lambda v: v.at[FAR].get(mode="fill", fill_value=0.0),
    get_clip=lambda v: v.at[FAR].get(mode="clip"),
    get_promise=lambda v: v.at[SOME].get(mode="promise_in_bounds"),
    get_unique_sorted=lambda v: v.at[np.array([0, 2, 3])].get(unique_indices=True, indices_are_sorted=True),
    get_traced_fill=lambda v: v.at[traced(v) * 2].get(mode="fill", fill_value=0.0),
    choose=lambda v: jnp.choose(jnp.asarray([0, 1, 0, 1, 0]), [v, v**2], mode="clip"),
    compress=lambda v: jnp.compress(np.array([True, False, True, False, True]), v, size=3),
    extract=lambda v: jnp.extract(np.array([True, False, True, False, True]), v, size=4, fill_value=0),
    put=lambda v: jnp.put(v, SOME, constant(3), inplace=False),
    place=lambda v: jnp.place(v, np.array([True, False, True, False, True]), constant(3), inplace=False),
    nonzero=lambda v: v[jnp.nonzero(v > 0, size=5, fill_value=0)],
    argsorted=lambda v: v[jnp.argsort(v)],
    argmax_taken=lambda v: v[jnp.argmax(v)],
    searchsorted=lambda v: v[jnp.searchsorted(jnp.linspace(-1, 1, 4), v) % 5],
    dynamic_slice=lambda v: lax.dynamic_slice(v, (1,), (3,)),
    dynamic_slice_beyond=lambda v: lax.dynamic_slice(v, (4,), (3,)),
    dynamic_slice_negative=lambda v: lax.dynamic_slice(v, (-2,), (2,)),
    dynamic_slice_traced=lambda v: lax.dynamic_slice(v, (traced(v),), (3,)),
    dynamic_index=lambda v: lax.dynamic_index_in_dim(v, 2, keepdims=False),
    dynamic_update=lambda v: lax.dynamic_update_slice(v, constant(2), (1,)),
    dynamic_update_by=lambda v: lax.dynamic_update_slice(constant(5), v[:2], (2,)),
    dynamic_update_beyond=lambda v: lax.dynamic_update_slice(constant(5), v[:2], (9,)),
    dynamic_update_both=lambda v: lax.dynamic_update_slice(v**2, v[3:], (0,)),
    dynamic_update_traced=lambda v: lax.dynamic_update_slice(v, v[:2] ** 2, (traced(v),)),
    dynamic_update_index=lambda v: lax.dynamic_update_index_in_dim(v, 0.5, 2, 0),
    set_constant=lambda v: v.at[SOME].set(0.5),
    set_by=lambda v: jnp.zeros(5).at[SOME].set(v[:3]),
    set_both=lambda v: v.at[SOME].set(v[2:] ** 2),
    set_twice=lambda v: jnp.zeros(5).at[TWICE].set(v[:3]),
    set_drop=lambda v: v.at[FAR].set(v[:3] ** 2, mode="drop"),
    set_clip=lambda v: v.at[FAR].set(v[:3] ** 2, mode="clip"),
    set_promise=lambda v: v.at[SOME].set(v[:3] ** 2, mode="promise_in_bounds"),
    set_traced=lambda v: v.at[traced(v)].set(v[0] ** 2),
    set_traced_array=lambda v: v.at[(traced(v) + jnp.arange(3)) % 5].set(v[:3] ** 2),
    set_slice=lambda v: v.at[1:4].set(constant(3)),
    set_stride=lambda v: v.at[::2].set(v[:3] ** 2),
    add_at=lambda v: v.at[SOME].add(v[:3] ** 2),
    add_at_twice=lambda v: jnp.zeros(5).at[TWICE].add(v[:3]),
    add_at_drop=lambda v: jnp.zeros(5).at[FAR].add(v[:3], mode="drop"),
    add_at_clip=lambda v: jnp.zeros(5).at[FAR].add(v[:3], mode="clip"),
    add_at_traced=lambda v: v.at[traced(v)].add(v[0] ** 2),
    add_at_unique=lambda v: v.at[SOME].add(v[:3], unique_indices=True),
    subtract_at=lambda v: v.at[SOME].subtract(v[:3] ** 2),
    multiply_at=lambda v: v.at[SOME].multiply(v[:3], unique_indices=True),
    multiply_at_constant=lambda v: v.at[SOME].multiply(constant(3), unique_indices=True),
    divide_at=lambda v: v.at[SOME].divide(constant(3)),
    power_at=lambda v: (v + 2).at[SOME].power(1.5),
    min_at=lambda v: v.at[SOME].min(constant(3)),
    max_at=lambda v: v.at[SOME].max(v[2:] ** 2),
    max_at_twice=lambda v: jnp.full(5, -2.0).at[TWICE].max(v[:3]),
    min_at_drop=lambda v: v.at[FAR].min(v[:3], mode="drop"),
    segment_sum=lambda v: jax.ops.segment_sum(v, np.array([0, 2, 0, 1, 2]), 3),
    segment_max=lambda v: jax.ops.segment_max(v, np.array([0, 2, 0, 1, 2]), 3),
    segment_min=lambda v: jax.ops.segment_min(v, np.array([0, 2, 0, 1, 2]), 3),
    segment_prod=lambda v: jax.ops.segment_prod(v, np.array([0, 2, 1, 4, 3]), 5, unique_indices=True),
    segment_sum_traced=lambda v: jax.ops.segment_sum(v, (traced(v) + jnp.arange(5)) % 3, 3),
    bincount_weights=lambda v: jnp.bincount(np.array([0, 2, 0, 1, 2]), v, length=4),
    histogram_weights=lambda v: jnp.histogram(constant(5), 3, weights=v)[0],
)
on(
    (2, 4),
    index_row=lambda v: v[1],
    index_column=lambda v: v[:, 2],
    index_pairs=lambda v: v[np.array([0, 1, 1]), np.array([3, 0, 2])],
    index_grid=lambda v: v[np.ix_([1, 0], [0, 3])],
    index_mixed=lambda v: v[1, None, SOME],
    index_split=lambda v: v[None, np.array([0, 1]), :, None][..., 0],
    index_one_traced=lambda v: v[:, traced(v)],
    take_axis=lambda v: jnp.take(v, SOME, axis=1),
    take_axis_rows=lambda v: jnp.take(v, np.array([1, 1]), axis=0),
    take_along_axis=lambda v: jnp.take_along_axis(v, np.array([[3, 0], [1, 1]]), axis=1),
    take_along_axis_0=lambda v: jnp.take_along_axis(v, np.array([[1, 0, 0, 1]]), axis=0),
    take_along_axis_fill=lambda v: jnp.take_along_axis(v, np.array([[3, 9], [1, -9]]), 1, mode="fill", fill_value=0),
    take_along_traced=lambda v: jnp.take_along_axis(v, jnp.argsort(v, 1)[:, :2], axis=1),
    put_along_axis=lambda v: jnp.put_along_axis(v, np.array([[3], [1]]), 0.5, 1, inplace=False),
    set_row=lambda v: v.at[0].set(v[1] ** 2),
    set_column=lambda v: v.at[:, 1].set(v[:, 2] ** 2),
    set_pairs=lambda v: v.at[np.array([0, 1]), np.array([3, 0])].set(v[:, 1] ** 2),
    add_rows=lambda v: v.at[np.array([1, 1])].add(v**2),
    add_columns=lambda v: jnp.zeros((2, 3)).at[:, np.array([0, 2, 2, 1])].add(v),
    dynamic_slice_2d=lambda v: lax.dynamic_slice(v, (0, 1), (2, 2)),
    dynamic_slice_one_traced=lambda v: lax.dynamic_slice(v, (0, traced(v)), (2, 2)),
    dynamic_slice_rows=lambda v: lax.dynamic_slice_in_dim(v, traced(v, 2), 1, 0),
    dynamic_update_2d=lambda v: lax.dynamic_update_slice(v, v[:1, :2] ** 2, (1, 1)),
    dynamic_update_row_traced=lambda v: lax.dynamic_update_slice_in_dim(v, v[:1] ** 2, traced(v, 2), 0),
    index_under_vmap=lambda v: jax.vmap(lambda row, i: row[i])(v, jnp.asarray([3, 1])),
    index_traced_under_vmap=lambda v: jax.vmap(lambda row: row[traced(row)])(v),
    slice_under_vmap=lambda v: jax.vmap(lambda r, i: lax.dynamic_slice(r, (i,), (2,)))(v, jnp.asarray([2, 0])),
    slice_under_vmap_traced=lambda v: jax.vmap(lambda r: lax.dynamic_slice(r, (traced(r, 3),), (2,)))(v),
    update_under_vmap=lambda v: jax.vmap(lambda r, i: r.at[i].set(r[0] ** 2))(v, jnp.asarray([2, 1])),
    add_under_vmap=lambda v: jax.vmap(lambda r, i: r.at[i].add(r[0] ** 2))(v, jnp.asarray([2, 1])),
    update_under_vmap_traced=lambda v: jax.vmap(lambda r: r.at[traced(r)].set(0.5))(v),
    segment_sum_2d=lambda v: jax.ops.segment_sum(v, np.array([1, 1]), 2),
    segment_mean_of_rows=lambda v: jax.ops.segment_sum(v.T, np.array([0, 1, 0, 1]), 2) / 2,
)

OFFSETS = lax.GatherDimensionNumbers(offset_dims=(1,), collapsed_slice_dims=(0,), start_index_map=(0, 1))
BATCHED = lax.GatherDimensionNumbers(
    offset_dims=(),
    collapsed_slice_dims=(1,),
    start_index_map=(1,),
    operand_batching_dims=(0,),
    start_indices_batching_dims=(0,),
)
STARTS = np.array([[0, 1], [1, 0], [1, 3]])
WINDOWS = lax.ScatterDimensionNumbers(
    update_window_dims=(1,), inserted_window_dims=(0,), scatter_dims_to_operand_dims=(0, 1)
)
ROWS = lax.ScatterDimensionNumbers((), (1,), (1,), operand_batching_dims=(0,), scatter_indices_batching_dims=(0,))


def gather(v, mode, **options):
    return lax.gather(v, STARTS, OFFSETS, (1, 2), mode=mode, **options)


on(
    (2, 4),
    gather_clip=lambda v: gather(v, lax.GatherScatterMode.CLIP),
    gather_fill=lambda v: gather(v, lax.GatherScatterMode.FILL_OR_DROP, fill_value=0.5),
    gather_promise=lambda v: gather(v[:, [0, 1, 2, 3, 0]], lax.GatherScatterMode.PROMISE_IN_BOUNDS),
    gather_batched=lambda v: lax.gather(v, np.array([[[1], [3]], [[0], [0]]]), BATCHED, (1, 1)),
    gather_traced=lambda v: lax.gather(v, STARTS + traced(v, 2), OFFSETS, (1, 2), mode="clip"),
    scatter_windows=lambda v: lax.scatter(v, STARTS[:2], v[:, :2] ** 2, WINDOWS),
    scatter_windows_clip=lambda v: lax.scatter(v, STARTS[1:], v[:, :2] ** 2, WINDOWS, mode="clip"),
    scatter_windows_drop=lambda v: lax.scatter(v, STARTS[1:], v[:, :2] ** 2, WINDOWS, mode="drop"),
    scatter_add_windows=lambda v: lax.scatter_add(v, STARTS[:2], v[:, :2] ** 2, WINDOWS),
    scatter_sub_windows=lambda v: lax.scatter_sub(v, STARTS[:2], v[:, :2] ** 2, WINDOWS),
    scatter_mul_windows=lambda v: lax.scatter_mul(v, STARTS[:2], v[:, :2], WINDOWS, unique_indices=True),
    scatter_max_windows=lambda v: lax.scatter_max(v, STARTS[:2], v[:, :2] ** 2, WINDOWS),
    scatter_batched=lambda v: lax.scatter(v, np.array([[[1]], [[3]]]), v[:, :1] ** 2, ROWS),
    scatter_add_batched=lambda v: lax.scatter_add(v, np.array([[[1]], [[3]]]), v[:, :1] ** 2, ROWS),
    scatter_traced=lambda v: lax.scatter(v, STARTS[:2] * traced(v, 2), v[:, :2] ** 2, WINDOWS, mode="clip"),
)
on((5,), refused=True, apply_at=lambda v: v.at[SOME].apply(jnp.sin))

"""Everyday forms: sparse sums, lookups, pools. Exact where no true mixing stands between, at the size of need."""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import sparse
from oracle import bptt, relative

import eqx_etrace as etr

T, N, F, B = 7, 6, 4, 3
RNG = np.random.default_rng(0)
ROW, COL = RNG.integers(0, N, 2 * N), RNG.integers(0, F, 2 * N)
SOME = np.array([4, 0, 3])


def normal(*shape, seed=0):
    return jax.random.normal(jax.random.key(seed), shape)


def loss(h):
    return jnp.sum(jnp.sin(h) ** 2)


def sparse_sum(m, h, x):
    h = 0.8 * h + jnp.tanh(jax.ops.segment_sum(m * x[COL], ROW, N))
    return loss(h), h


def sparse_sums_of_a_batch(m, h, x):
    h = 0.8 * h + jax.vmap(lambda x: jax.ops.segment_sum(m * x[COL], ROW, N))(x)
    return loss(h), h


class Sparse(eqx.Module):
    """Which input goes where is held in the model."""

    weight: jax.Array
    row: jax.Array
    col: jax.Array

    def __call__(self, x):
        return jax.ops.segment_sum(self.weight * x[self.col], self.row, N)


def sparse_module(m, h, x):
    h = 0.8 * h + jnp.tanh(m(x))
    return loss(h), h


def sparse_module_in_a_batch(m, h, x):
    h = 0.8 * h + jax.vmap(m)(x)
    return loss(h), h


def sparse_module_and_leaky_readout(m, s, x):
    h, r = s
    h = 0.8 * h + jnp.tanh(m(x))
    r = 0.5 * r + jnp.ones((2, N)) @ jnp.sin(h)
    return loss(r), (h, r)


def twice_through_one_index(m, h, x):
    h = 0.8 * h + jnp.tanh(m(x)) * m(jnp.sin(x))
    return loss(h), h


def out_of_bounds_and_backward(m, h, x):
    """Indices of the model that are dropped, or count from the end."""
    h = (0.8 * h).at[m.row - 3].add(m.weight * x[m.col], mode="drop")
    return loss(h), h


def into_a_row_that_the_model_names(m, h, x):
    h = (0.8 * h).at[m.row[0]].add(m.weight[:N] * x[0])
    return loss(h), h


def partly_at_an_index(m, h, x):
    """Half of a layer enters where the model says, the other half where it stands."""
    y = m.weight.reshape(3, F) @ x
    h = (0.8 * h).at[m.row[:2]].add(y[:2]) + jnp.zeros(N).at[5].set(y[2])
    return loss(h), h


def as_many_tokens_as_rows(m, h, x):
    """What is read has the shape of the table."""
    h = 0.8 * h + m[jnp.concatenate([x, x])[:V]]
    return loss(h), h


def through_a_dense_layer(m, h, x):
    h = (0.8 * h).at[m.row[:3]].add(m.weight[:12].reshape(3, 4) @ x)
    return loss(h), h


def sparse_module_of_gated_units(m, h, x):
    h = jax.nn.sigmoid(m(x)) * h + m(x + 1)
    return loss(h), h


def sparse_matrix(m, h, x):
    h = 0.8 * h + jnp.tanh(m @ x)
    return loss(h), h


def sparse_matrix_in_a_batch(m, h, x):
    h = 0.8 * h + jnp.tanh(jax.vmap(lambda x: m @ x)(x))
    return loss(h), h


def dense_matrix_in_a_batch(m, h, x):
    h = 0.8 * h + jnp.tanh(x @ m.todense().T)
    return loss(h), h


def sparse_matrix_by_a_matrix(m, h, x):
    h = 0.8 * h + jnp.tanh(m @ x.T)
    return loss(h), h


def matrix_by_a_sparse_one(m, h, x):
    h = 0.8 * h + jnp.tanh(x @ m)
    return loss(h), h


def into_some_units(m, h, x):
    h = (0.8 * h).at[SOME].add(m @ x)
    return loss(h), h


def into_every_second_unit(m, h, x):
    h = (0.8 * h).at[::2].add(m @ x)
    return loss(h), h


def times_some_units(m, h, x):
    h = (0.8 * h + jnp.sin(x[0])).at[SOME].multiply(jax.nn.sigmoid(m @ x), unique_indices=True)
    return loss(h), h


def gates_by_duplicates(m, h, x):
    """An index out of bounds is dropped."""
    h = (0.8 * h).at[np.array([1, 1, N + 3, 5])].add(m * x)
    return loss(h), h


def row_of_a_table(m, h, x):
    h = 0.8 * h + jnp.tanh(m[x])
    return loss(h), h


def rows_of_a_table_in_a_batch(m, h, x):
    h = 0.8 * h + jax.vmap(lambda token: m[token])(x)
    return loss(h), h


def an_embedding(m, h, x):
    h = 0.8 * h + jax.nn.sigmoid(jax.vmap(m)(x))
    return loss(h), h


def columns_taken(m, h, x):
    h = 0.8 * h + jnp.take(m, x, axis=1).T
    return loss(h), h


def rows_filled(m, h, x):
    """Tokens beyond the table give the fill value."""
    h = 0.8 * h + m.at[x + 2].get(mode="fill", fill_value=0.3)
    return loss(h), h


def a_gate_by_two_numbers(m, h, x):
    h = jax.nn.sigmoid(m[x[0], x[1]]) * h + 0.3
    return loss(h), h


def several_words_at_once(m, h, x):
    h = 0.8 * h + m[x].sum(0)
    return loss(h), h


def decays_by_token(m, h, x):
    h = jax.nn.sigmoid(jax.lax.dynamic_index_in_dim(m, x, keepdims=False)) * h + 1
    return loss(h), h


def a_loop_of_one_step(m, h, x):
    """As wrappers of other libraries run a layer over one frame."""

    def layer(h, frame):
        h = 0.8 * h + jnp.tanh(m @ frame)
        return h, jnp.sin(h)

    h, outs = jax.lax.scan(layer, h, x[None], reverse=True)
    return loss(outs), h


def pooled(pool):
    def step(m, h, x):
        z = jax.lax.conv_general_dilated(x[None, None], m, (1,), "SAME")
        h = 0.8 * h + pool(z[0])
        return loss(h), h

    step.__name__ = f"pooled_by_{type(pool).__name__}"
    return step


SAME: Mapping[Any, Any] = {sparse_matrix_in_a_batch: dense_matrix_in_a_batch}
"""Reverse mode of JAX 0.10 fails on a sparse product that is mapped over its dense operand."""
V = 5
SPARSE = Sparse(normal(2 * N), jnp.asarray(ROW), jnp.asarray(COL))
DENSE = jnp.where(normal(N, F, seed=4) > 0, normal(N, F, seed=5), 0)
BCOO, BCSR = sparse.BCOO.fromdense(DENSE, nse=N * F - 2), sparse.BCSR.fromdense(DENSE)
TOKENS, MANY_TOKENS = jnp.array([0, 3, 3, 1, 4, 0, 2]), jax.random.randint(jax.random.key(3), (T, B), 0, V)
CASES = {
    sparse_sum: (normal(2 * N), (N,), normal(T, F, seed=1), 2 * N),
    sparse_sums_of_a_batch: (normal(2 * N), (B, N), normal(T, B, F, seed=1), 2 * N * B),
    sparse_module: (SPARSE, (N,), normal(T, F, seed=1), 2 * N),
    sparse_module_in_a_batch: (
        SPARSE,
        (B, N),
        normal(T, B, F, seed=1),
        2 * N * B,
    ),
    sparse_module_of_gated_units: (
        SPARSE,
        (N,),
        normal(T, F, seed=1),
        2 * N,
    ),
    sparse_matrix: (BCOO, (N,), normal(T, F, seed=1), BCOO.nse),
    sparse_matrix_in_a_batch: (BCSR, (B, N), normal(T, B, F, seed=1), BCOO.nse * B),
    sparse_matrix_by_a_matrix: (BCSR, (N, B), normal(T, B, F, seed=1), BCOO.nse * B),
    matrix_by_a_sparse_one: (BCOO.T, (B, N), normal(T, B, F, seed=1), BCOO.nse * B),
    twice_through_one_index: (
        SPARSE,
        (N,),
        normal(T, F, seed=1),
        4 * N,
    ),
    out_of_bounds_and_backward: (
        SPARSE,
        (N,),
        normal(T, F, seed=1),
        2 * N,
    ),
    into_a_row_that_the_model_names: (SPARSE, (2 * N, N), normal(T, F, seed=1), 2 * N),
    as_many_tokens_as_rows: (normal(V, N), (V, N), MANY_TOKENS, V * N * V),
    through_a_dense_layer: (
        SPARSE,
        (N,),
        normal(T, F, seed=1),
        2 * N,
    ),
    into_some_units: (normal(3, F), (N,), normal(T, F, seed=1), 3 * F),
    into_every_second_unit: (normal(3, F), (N,), normal(T, F, seed=1), 3 * F),
    times_some_units: (normal(3, F), (N,), normal(T, F, seed=1), 3 * F),
    gates_by_duplicates: (normal(4), (N,), normal(T, 4, seed=1), 4),
    row_of_a_table: (normal(V, N), (N,), TOKENS, V * N),
    rows_of_a_table_in_a_batch: (normal(V, N), (B, N), MANY_TOKENS, V * N * B),
    an_embedding: (eqx.nn.Embedding(weight=normal(V, N)), (B, N), MANY_TOKENS, V * N * B),
    columns_taken: (normal(N, V), (B, N), MANY_TOKENS, V * N * B),
    rows_filled: (normal(V, N), (B, N), MANY_TOKENS, V * N * B),
    a_gate_by_two_numbers: (normal(V, 3, N), (N,), jnp.stack([TOKENS, TOKENS % 3], 1), V * 3 * N),
    several_words_at_once: (normal(V, N), (N,), MANY_TOKENS, V * N * B),
    a_loop_of_one_step: (normal(N, F), (N,), normal(T, F, seed=1), N * F),
    decays_by_token: (normal(V, N), (N,), TOKENS, V * N),
    pooled(eqx.nn.MaxPool1d(2, 2)): (normal(2, 1, 3), (2, N), normal(T, 2 * N, seed=1), 2 * 2 * N * 3),
    pooled(eqx.nn.AvgPool1d(2, 2)): (normal(2, 1, 3), (2, N), normal(T, 2 * N, seed=1), 2 * 2 * N * 3),
    pooled(eqx.nn.AvgPool1d(2, 3)): (normal(2, 1, 3), (2, 4), normal(T, 12, seed=1), 2 * 12 * 3),
}


@pytest.mark.sweep(3)
@pytest.mark.parametrize("rule", [etr.DRTRL(), etr.RTRL()], ids=["DRTRL", "RTRL"])
@pytest.mark.parametrize("step", CASES, ids=lambda step: step.__name__)
def test_exact_at_the_size_of_need(step, rule):
    m, shape, xs, numbers = CASES[step]
    state = normal(*shape, seed=2)
    report = etr.compile_graph(step, m, state, xs[0]).report(rule)
    assert all(row.exact for row in report.rows), str(report)
    assert report.trace_bytes <= 2 * m_bytes(numbers, m)
    expected = bptt(SAME.get(step, step), m, state, xs)
    for window in (0, 1, 3, T):
        online = etr.etrace_grad(step, rule)
        found, *_ = online.scan(m, state, online.init(m, state, xs[0]), xs, window=window)
        for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            assert relative(one, other) < 1e-9, window


def m_bytes(numbers, m):
    return numbers * jax.tree.leaves(m)[0].dtype.itemsize


def test_filters_read_units_whose_weights_an_index_decides():
    m, xs = SPARSE, normal(T, F, seed=1)
    state = (normal(N, seed=2), normal(2, seed=3))
    step = sparse_module_and_leaky_readout
    assert all(row.exact for row in etr.compile_graph(step, m, state, xs[0]).report(etr.DRTRL()).rows)
    expected = bptt(step, m, state, xs)
    for window in (1, 3, T):
        online = etr.etrace_grad(step, etr.DRTRL())
        found, *_ = online.scan(m, state, online.init(m, state, xs[0]), xs, window=window)
        assert relative(found.weight, expected.weight) < 1e-9


def recurrent(m, h, x):
    h = 0.8 * h + jnp.tanh(jax.ops.segment_sum(m.weight * h[m.col], m.row, N) + x.sum())
    return loss(h), h


def index_of_the_input(m, h, x):
    """It may be another at every step."""
    h = 0.8 * h + jax.ops.segment_sum(m.weight * x.sum(), (m.row + x.astype(int).sum()) % N, N)
    return loss(h), h


def two_indices(m, h, x):
    """One weight, at two places."""
    y = m.weight * x[m.col]
    h = 0.8 * h + jax.ops.segment_sum(y, m.row, N) + jax.ops.segment_sum(jnp.sin(y), m.col, N)
    return loss(h), h


def read_back_at_another_index(m, h, x):
    h = 0.8 * h + jax.ops.segment_sum(m.weight * jnp.tanh(x[m.col] * h[m.row]), m.row, N)
    return loss(h), h


def rows_of_all(m, h, x):
    """A table of the units of one lane, looked up for every unit: what is read is another unit's."""
    h = 0.8 * h + m.weight[:N] * h[(jnp.arange(N) + x.astype(int).sum()) % N]
    return loss(h), h


APPROXIMATE = [partly_at_an_index, recurrent, index_of_the_input, two_indices, read_back_at_another_index, rows_of_all]


@pytest.mark.sweep(3)
@pytest.mark.parametrize("step", APPROXIMATE, ids=lambda step: step.__name__)
@pytest.mark.parametrize("rule", [etr.DRTRL(), etr.RTRL()], ids=["DRTRL", "RTRL"])
def test_what_is_called_exact_is_that_of_bptt(step, rule):
    m, xs, state = (
        SPARSE,
        2 * normal(T, F, seed=1),
        normal(N, seed=2),
    )
    (row,) = etr.compile_graph(step, m, state, xs[0]).report(rule).rows
    expected = bptt(step, m, state, xs).weight
    for window in (1, 3, T):
        online = etr.etrace_grad(step, rule)
        found, *_ = online.scan(m, state, online.init(m, state, xs[0]), xs, window=window)
        assert (relative(found.weight, expected) < 1e-9) >= (row.exact or window == T)
    assert row.exact or isinstance(rule, etr.DRTRL)


def test_why_an_index_of_the_input_leaves_no_trace():
    step, x, state = index_of_the_input, normal(F, seed=1), normal(N, seed=2)
    assert "hold it in the model" in str(etr.compile_graph(step, SPARSE, state, x).report(etr.DRTRL()))


def test_a_step_may_write_into_the_dict_that_it_is_given():
    def step(m, state, x):
        state["h"] = jnp.tanh(m * state["h"] + x)
        return loss(state["h"]), state

    m, state, xs = normal(F), {"h": normal(F, seed=2)}, normal(T, F, seed=1)
    online = etr.etrace_grad(step, etr.DRTRL())
    found, *_ = online.scan(m, state, online.init(m, state, xs[0]), xs)
    assert relative(found, bptt(lambda m, s, x: step(m, dict(s), x), m, state, xs)) < 1e-12

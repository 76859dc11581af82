"""Numbers that D-RTRL itself must give, from dense Jacobians and hand-written equations."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import CASES
from cases.table import T
from oracle import (
    assert_close,
    bptt,
    by_path,
    dense_drtrl,
    estimate,
    estimate_from_new_state,
    finite_difference,
    gru,
    influence,
    lstm,
    relative,
)

import eqx_etrace as etr

CELLS = {"gru": gru, "lstm": lstm}


def first(inputs):
    return tuple(x[0] for x in inputs)


def online(loss_step, model, state, inputs, window, rule=None):
    transform = etr.etrace_value_and_grad(loss_step, rule or etr.DRTRL())
    trace = transform.init(model, state, *first(inputs))
    (_, gradients), _, trace = eqx.filter_jit(transform.scan)(model, state, trace, *inputs, window=window)
    return gradients, trace


@pytest.mark.parametrize("name", ["gru", "lstm", "adaptive_lif_with_synapse", "two_groups_in_a_loop"])
def test_oracle_bptt_equals_finite_differences(name):
    loss_step, model, state, inputs = CASES["vanilla_rnn" if name.startswith("adaptive") else name].build()
    rng = np.random.default_rng(0)
    direction = jax.tree.map(
        lambda p: jnp.asarray(rng.standard_normal(p.shape)), eqx.filter(model, eqx.is_inexact_array)
    )
    gradient = bptt(loss_step, model, state, *inputs)
    along = sum(jnp.vdot(g, d) for g, d in zip(jax.tree.leaves(gradient), jax.tree.leaves(direction), strict=True))
    assert relative(finite_difference(loss_step, model, direction, state, *inputs), along) < 1e-7


@pytest.mark.parametrize("name", ["gru", "lstm", "named_tuple_state"])
def test_oracle_full_influence_equals_bptt(name):
    loss_step, model, state, inputs = CASES[name].build()
    found, _ = estimate(loss_step, influence(loss_step), 2, model, state, *inputs)
    assert_close(found, bptt(loss_step, model, state, *inputs))


@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_oracle_writes_the_cells_of_equinox(name):
    _, model, state, inputs = CASES[name].build()
    hidden = jax.tree.leaves(state)[0]
    found = CELLS[name](model.cell, state, model.cell.weight_hh @ hidden, inputs[0][0])
    assert_close(found, model.cell(inputs[0][0], state), 1e-12)


@pytest.mark.parametrize("window", [1, 2, T])
@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_gated_cells_equal_dense_drtrl(name, window):
    loss_step, model, state, inputs = CASES[name].build()
    wanted, _ = estimate(loss_step, dense_drtrl(CELLS[name]), window, model, state, *inputs)
    found, _ = online(loss_step, model, state, inputs, window)
    assert_close(found, wanted)
    if window < T:
        exact = bptt(loss_step, model, state, *inputs)
        assert relative(wanted.cell.weight_hh, exact.cell.weight_hh) > 1e-4


@pytest.mark.parametrize("name", ["gru", "lstm", "recurrent_lif", "conv2d_batched", "adaptive_lif_with_synapse"])
def test_trace_and_gradient_of_single_steps_equal_the_scan(name):
    loss_step, model, state, inputs = CASES[name].build()
    transform = etr.etrace_value_and_grad(loss_step, etr.DRTRL())
    trace = transform.init(model, state, *first(inputs))
    one = eqx.filter_jit(transform)
    total, now = None, state
    for t in range(T):
        (_, gradients), now, trace = one(model, now, trace, *(x[t] for x in inputs))
        total = gradients if total is None else jax.tree.map(jnp.add, total, gradients)
    for window in (1, 3):
        scanned, last = online(loss_step, model, state, inputs, window)
        assert_close(last, trace)
        if window == 1:
            assert_close(scanned, total)


@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_window_zero_equals_the_dense_estimator(name):
    loss_step, model, state, inputs = CASES[name].build()

    def readout_loss(model, state, x, y):
        return jnp.mean((model.readout(jax.tree.leaves(state)[0]) - y) ** 2)

    wanted = estimate_from_new_state(readout_loss, loss_step, dense_drtrl(CELLS[name]), model, state, *inputs)
    found, _ = online(loss_step, model, state, inputs, 0)
    assert_close(found, wanted)


READS_NEW_STATES = [
    "leaky_integrator",
    "gates_read_only_the_input",
    "indrnn",
    "fused_gates_split",
    "adaptive_lif_with_synapse",
    "named_tuple_state",
    "spiking_readout",
    "parallel_groups_meet_in_the_readout",
    "tied_weight_in_two_groups",
    "delayed_states",
    "conv1d_stride_padding_groups",
    "batch_by_vmap_inside",
]


@pytest.mark.parametrize("name", READS_NEW_STATES)
def test_window_zero_is_exact_where_the_loss_reads_new_states(name):
    """Feed-forward nets: nothing is dropped, and no credit through the synapse is counted twice."""
    loss_step, model, state, inputs = CASES[name].build()
    found, _ = online(loss_step, model, state, inputs, 0)
    assert_close(found, bptt(loss_step, model, state, *inputs))


def test_window_zero_differs_from_window_one_through_recurrent_weights():
    loss_step, model, state, inputs = CASES["vanilla_rnn"].build()
    zero, one = (online(loss_step, model, state, inputs, window)[0] for window in (0, 1))
    assert relative(zero["R"], one["R"]) > 1e-3


def reads_the_old_state(m, s, x):
    new = m["a"] * s["h"] + x
    return jnp.sum(jnp.sin(new + m["c"] * s["h"])), {**s, "h": new}


def reads_the_new_state(m, s, x):
    new = m["a"] * s["h"] + x
    return jnp.sum(jnp.sin(new)), {**s, "h": new}


def records_a_mix_of_the_old_state(m, s, x):
    """The record is a new state, and the loss reads it; but no later step does."""
    record = jnp.tanh(m["c"][:, None] * s["h"]).sum(1)
    return jnp.sum(jnp.sin(record)), {"h": m["a"] * s["h"] + x, "record": record}


def records_a_mix_of_the_new_state(m, s, x):
    new = m["a"] * s["h"] + x
    record = jnp.tanh(m["c"][:, None] * new).sum(1)
    return jnp.sum(jnp.sin(record)), {"h": new, "record": record}


def records_a_mix_that_nothing_reads(m, s, x):
    new = records_a_mix_of_the_old_state(m, s, x)[1]
    return jnp.sum(jnp.sin(new["h"])), new


def rounds_its_state(m, s, x):
    loss, new = reads_the_new_state(m, s, x)
    return loss, {**new, "h": new["h"].astype(jnp.float32).astype(float)}


MISSED_AT_0 = {
    (reads_the_old_state, etr.DRTRL()): True,
    (reads_the_old_state, etr.RTRL()): True,
    (reads_the_old_state, etr.SnAp(1)): True,
    (reads_the_new_state, etr.DRTRL()): False,
    (reads_the_new_state, etr.SnAp(1)): False,
    (records_a_mix_of_the_old_state, etr.DRTRL()): True,
    (records_a_mix_of_the_old_state, etr.RTRL()): True,  # as DRTRL, which is exact at any other window
    (records_a_mix_of_the_old_state, etr.SnAp(2)): False,  # has a trace of the record, too
    (records_a_mix_of_the_new_state, etr.DRTRL()): False,
    (records_a_mix_of_the_new_state, etr.SnAp(2)): False,
    (records_a_mix_that_nothing_reads, etr.DRTRL()): False,
    (rounds_its_state, etr.DRTRL()): False,
}


@pytest.mark.parametrize(("step", "rule"), MISSED_AT_0, ids=lambda x: getattr(x, "__name__", str(x)))
def test_the_report_says_what_window_zero_misses(step, rule):
    model = {"a": jnp.array([0.5, -0.9]), "c": jnp.array([0.7, 0.3])}
    state, xs = {"h": jnp.ones(2), "record": jnp.zeros(2)}, jax.random.normal(jax.random.key(5), (4, 2))
    report = etr.compile_graph(step, model, state, xs[0]).report(rule)
    zero, one = (online(step, model, state, (xs,), window, rule)[0] for window in (0, 1))
    bound = 1e-6 if step is rounds_its_state else 1e-11
    assert relative(one["a"], bptt(step, model, state, xs)["a"]) < bound
    rows = [row for row in report.rows if row.path == ("a",)]
    assert all(row.exact for row in rows)
    misses = MISSED_AT_0[step, rule]
    assert {row.exact_at_window_0 for row in rows} == {not misses}
    assert ("At window 0" in str(report)) == misses
    assert relative(zero["a"], one["a"]) > 1e-3 if misses else relative(zero["a"], one["a"]) < bound


def stored_in(how, back):
    """A cell whose loss reads its state before it is cast, reshaped or copied for the next step."""

    def step(model, h, x):
        v = 0.9 * back(h).reshape(3).astype(float) + jnp.tanh(model["w"] @ x)
        return jnp.sum(jnp.sin(v)), how(v)

    return step


STORED = {
    "cast": (lambda v: v.astype(jnp.float32), 1e-6),
    "reshaped": (lambda v: v.reshape(3, 1), 1e-12),
    "both": (lambda v: v[None].astype(jnp.float32).reshape(3, 1), 1e-6),
    "flipped": (lambda v: v[::-1], 1e-12),
    "as it is": (lambda v: v, 1e-12),
}


@pytest.mark.parametrize("name", STORED)
def test_window_zero_where_the_loss_reads_a_state_before_it_is_stored(name):
    how, tolerance = STORED[name]
    step, xs = (
        stored_in(how, jnp.flip if name == "flipped" else jnp.asarray),
        jax.random.normal(jax.random.key(0), (T, 2)),
    )
    model = {"w": jax.random.normal(jax.random.key(1), (3, 2))}
    state = jnp.zeros_like(how(jnp.zeros(3)))
    assert_close(online(step, model, state, (xs,), 0)[0], bptt(step, model, state, xs), tolerance)


def test_wider_windows_come_closer():
    loss_step, model, state, inputs = CASES["vanilla_rnn"].build()
    exact = by_path(bptt(loss_step, model, state, *inputs))
    errors = [relative(online(loss_step, model, state, inputs, w)[0]["R"], exact[("R",)]) for w in (0, 1, T - 1, T)]
    assert errors[3] < 1e-9 < errors[2] < errors[1]

"""Learning signals of many steps, which meet a trace at once: the numbers are those of single calls."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import CASES
from oracle import assert_close, bptt, by_path, relative
from test_rules import written_outside

import eqx_etrace as etr
from eqx_etrace._spend import _chunk_length
from eqx_etrace._spend._chunk_length import chunks
from eqx_etrace._spend._plan import make_plan

pytestmark = pytest.mark.outside_sample  # of traces, and not of how this JAX writes a step

T, N, F = 13, 4, 3
RULE = etr.DRTRL()


@pytest.fixture
def short(monkeypatch):
    """Chunks of at most so many steps, however small the traces are; of several, and a rest."""

    def at_most(steps):
        monkeypatch.setattr(_chunk_length, "_MOST_STEPS", steps)
        monkeypatch.setattr(_chunk_length, "_FEWEST_STEPS", 1)

    at_most(4)
    return at_most


def longer(inputs):
    """A case, of more steps, and a prime number of them."""
    return [jnp.concatenate([x, x[::-1], x])[:T] for x in inputs]


def started(online, model, state, inputs):
    """After a call, so that the traces hold something."""
    trace = online.init(model, state, *(x[0] for x in inputs))
    _, state, trace = eqx.filter_jit(online)(model, state, trace, *(x[0] for x in inputs))
    return state, trace


def call_by_call(online, model, state, trace, inputs, window):
    """The sum of what a call gives for every window, or at windows 0 and 1 for every step."""
    total, losses, size = None, [], max(window, 1)
    run = eqx.filter_jit(functools.partial(online.scan, window=window) if window > 1 else online)
    for start in range(0, len(inputs[0]), size):
        now = [x[start : start + size] if window > 1 else x[start] for x in inputs]
        (loss, found), state, trace = run(model, state, trace, *now)
        losses.append(jnp.atleast_1d(loss))
        total = found if total is None else jax.tree.map(jnp.add, total, found)
    return jnp.concatenate(losses), total, state, trace


NAMES = [
    "vanilla_rnn",  # a dense recurrence
    "adaptive_lif_with_synapse",  # three states
    "per_unit_time_constants",  # elementwise parameters
    "conv2d_batched",  # lanes are places and examples
    "linear_recurrent_unit",  # complex
    "gru",
    "tied_weight_in_two_groups",
]
MORE = [
    "recurrent_lif",  # spikes and a reset
    "batched_heads_by_einsum",  # weights side by side
    "resonators_that_drive_rate_units",  # complex beside real
    "weight_used_twice_in_one_group",
    "delayed_states",
    "permutation_after_projection",
    "depthwise_conv2d",
    "two_spiking_layers",
]


@pytest.mark.sweep(3)
@pytest.mark.parametrize("window", [0, 1, 3])
@pytest.mark.parametrize("name", [*NAMES, *(pytest.param(name, marks=pytest.mark.slow) for name in MORE)])
def test_chunks_change_no_number(name, window, short):
    short(4 if window < 2 else 6)
    loss_step, model, state, inputs = CASES[name].build()
    inputs = longer(inputs)
    online = etr.etrace_value_and_grad(loss_step, RULE, window=min(window, 1))
    report = online.graph(model, state, *(x[0] for x in inputs)).report(RULE)
    state, trace = started(online, model, state, inputs)
    plan = make_plan(loss_step, RULE, model, state, tuple(x[0] for x in inputs))
    assert any(chunks(plan, window, T).at_once)
    (losses, found), last, after = eqx.filter_jit(online.scan)(model, state, trace, *inputs, window=window)
    wanted = call_by_call(online, model, state, trace, inputs, window)
    assert_close((losses, found, last, after.values), (*wanted[:3], wanted[3].values), 1e-10)
    everything = eqx.filter_jit(online.scan)(*fresh(online, CASES[name]), window=window)[0][1]
    exact = bptt(*CASES[name].build()[:3], *inputs)
    for row in report.rows:
        if row.exact and (window or row.exact_at_window_0):
            assert relative(by_path(everything)[row.path], by_path(exact)[row.path]) < 1e-9, row.path


def fresh(online, case):
    """The arguments of a scan of it from its first state."""
    _, model, state, inputs = case.build()
    inputs = longer(inputs)
    return model, state, online.init(model, state, *(x[0] for x in inputs)), *inputs


KEYS = jax.random.split(jax.random.key(0), 6)
MODEL = {
    "w": jax.random.normal(KEYS[0], (N, F)),
    "u": jax.random.normal(KEYS[1], (N, N)) / 2,
    "v": jax.random.normal(KEYS[2], (N, F)) / 2,
    "a": jnp.linspace(0.3, 0.9, N),
    "b": jnp.linspace(-1.0, 1.0, N),
    "o": jax.random.normal(KEYS[3], (2, N)),
}
XS = jax.random.normal(KEYS[4], (T, F))


def dense(m, h, x):
    h = m["a"] * h + jnp.tanh(m["w"] @ x + m["u"] @ h + m["v"] @ jnp.sin(x) + m["b"])
    return jnp.sum(jnp.sin(m["o"] @ h)), h


def diagonal(m, h, x):
    """A closed step."""
    h = jnp.tanh(m["a"] * h + m["w"] @ x + m["b"])
    return jnp.sum(jnp.sin(m["o"] @ h)), h


MIXED = {
    "factored": {"u": etr.PPProp(0.9), "b": etr.PPProp(0.9)},
    "on blocks": {"u": etr.RTRL(), "a": etr.SnAp(1)},
    "nothing": {"u": etr.NoTrace()},
    "outside": {"v": lambda: written_outside()["RFLO"](0.8)},
    "all": {"u": etr.PPProp(0.9), "b": etr.RTRL(), "v": lambda: written_outside()["RFLO"](0.8)},
}


@pytest.mark.sweep(3)
@pytest.mark.parametrize("window", [0, 1, 2])
@pytest.mark.parametrize("names", MIXED)
def test_beside_traces_of_other_rules(names, window, short):
    """Which are taken step by step, or window by window."""
    rules = {name: rule if isinstance(rule, etr.AbstractRule) else rule() for name, rule in MIXED[names].items()}
    online = etr.etrace_value_and_grad(dense, lambda relation: rules.get(relation.path[0], RULE), window=min(window, 1))
    state, trace = started(online, MODEL, jnp.zeros(N), [XS])
    (losses, found), last, after = eqx.filter_jit(online.scan)(MODEL, state, trace, XS, window=window)
    wanted = call_by_call(online, MODEL, state, trace, [XS], window)
    assert_close((losses, found, last, after.values), (*wanted[:3], wanted[3].values), 1e-10)


@pytest.mark.parametrize("window", [0, 1, 2])
def test_a_closed_step(window, short):
    online = etr.etrace_grad(diagonal, RULE, window=min(window, 1))
    found, _, _ = eqx.filter_jit(online.scan)(
        MODEL, jnp.zeros(N), online.init(MODEL, jnp.zeros(N), XS[0]), XS, window=window
    )
    wanted = bptt(diagonal, MODEL, jnp.zeros(N), XS)
    for name in ("w", "a", "b", "o"):
        assert relative(found[name], wanted[name]) < 1e-10, name


@pytest.mark.parametrize("step", [dense, diagonal])
@pytest.mark.parametrize("window", [0, 1, 2])
def test_what_is_not_a_number_is_where_it_was(step, window, short):
    """A step of NaN, then a reset; and padding that is not a number, in held steps."""

    def guarded(m, h, x, done, live):
        loss, new = step(m, jnp.where(done, 0.0, h), x)
        return jnp.where(live, loss, 0.0), jnp.where(live, new, h)

    done, live = jnp.arange(T) == 6, jnp.arange(T) % 4 != 1
    for bad in (XS.at[2, 0].set(jnp.nan), jnp.where(live[:, None], XS, jnp.inf)):
        online = etr.etrace_value_and_grad(guarded, RULE, window=min(window, 1))
        inputs = [bad, done, live]
        state, trace = started(online, MODEL, jnp.zeros(N), inputs)
        (_, found), _, after = eqx.filter_jit(online.scan)(MODEL, state, trace, *inputs, window=window)
        _, wanted, _, wanted_after = call_by_call(online, MODEL, state, trace, inputs, window)
        for a, b in zip(*map(jax.tree.leaves, ((found, after.values), (wanted, wanted_after.values))), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def readouts(m, s, x):
    """Two filters, one behind the other."""
    V, r, q = s
    V = m["a"] * V + m["w"] @ x + m["b"]
    r = 0.8 * r + m["o"] @ jnp.tanh(V)
    q = 0.6 * q + m["p"] @ r
    return jnp.sum(jnp.sin(q)) + jnp.sum(r**2), (V, r, q)


@pytest.mark.parametrize("window", [0, 1, 2])
def test_filters(window, short):
    model, state = {**MODEL, "p": jax.random.normal(KEYS[5], (3, 2))}, (jnp.zeros(N), jnp.zeros(2), jnp.zeros(3))
    online = etr.etrace_grad(readouts, RULE, window=min(window, 1))
    trace = online.init(model, state, XS[0])
    rows = {row.path[0]: row for row in online.graph(model, state, XS[0]).report(RULE).rows}
    found, _, _ = eqx.filter_jit(online.scan)(model, state, trace, XS, window=window)
    wanted = bptt(readouts, model, state, XS)
    assert all(rows[name].exact for name in "wab")
    for name in "wab":
        assert relative(found[name], wanted[name]) < 1e-10, name


@pytest.mark.parametrize("window", [0, 1, 2])
def test_derivatives_through_chunks(window, short):
    """Of the online gradient, along a direction, by the model, the state and the trace: as through single calls."""
    xs = XS[:5]
    online = etr.etrace_value_and_grad(dense, RULE, window=min(window, 1))
    state, trace = started(online, MODEL, jnp.zeros(N), [xs])

    def along(run):
        def total(model, state, values):
            gradient, last, after = run(model, state, trace.holding(values))
            found = jax.tree.leaves((gradient, last, after.values))
            return sum(jnp.vdot(g, jnp.cos(jnp.arange(g.size)).reshape(g.shape)) for g in found)

        by_model, by_state, by_values = jax.jit(jax.grad(total, (0, 1, 2)))(MODEL, state, trace.values)
        return by_model, by_state, [value.e for value in by_values]

    def scanned(model, state, trace):
        (_, gradient), state, trace = online.scan(model, state, trace, xs, window=window)
        return gradient, state, trace

    def called(model, state, trace):
        return call_by_call(online, model, state, trace, [xs], window)[1:]

    wanted = along(called)
    assert_close(along(scanned), wanted, 1e-9)


def test_a_trace_in_half_precision_is_rounded_once_per_chunk(short):
    short(T)
    rule = etr.DRTRL(trace_dtype=jnp.bfloat16)
    online, exact = etr.etrace_grad(diagonal, rule), bptt(diagonal, MODEL, jnp.zeros(N), XS)
    found, _, trace = online.scan(MODEL, jnp.zeros(N), online.init(MODEL, jnp.zeros(N), XS[0]), XS)
    assert relative(found["w"], exact["w"]) < 1e-12  # it was empty
    assert all(e.dtype == jnp.bfloat16 for e in jax.tree.leaves(trace.values))


def test_no_chunk_is_longer_than_it_pays():
    """Traces of elementwise parameters are as small as what would be kept; a long window is a chunk by itself."""
    elementwise = {"a": MODEL["a"]}
    plan = make_plan(lambda m, h, x: (jnp.sum(h), m["a"] * h + x), RULE, elementwise, jnp.zeros(N), (jnp.zeros(N),))
    assert not any(chunks(plan, 1, 100).at_once)
    plan = make_plan(dense, RULE, MODEL, jnp.zeros(N), (XS[0],))
    assert all(chunks(plan, 1, 1000).at_once) and 1 < chunks(plan, 1, 1000).steps <= 32
    assert chunks(plan, 8, 1000).steps % 8 == 0 and any(chunks(plan, 8, 1000).at_once)
    assert chunks(plan, 64, 1000) == (64, (False,) * len(plan.keepers))

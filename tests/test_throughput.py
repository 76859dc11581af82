"""What makes it fast and small, as far as it can be told without a clock: sizes, copies, retracing, storage."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import CASES
from oracle import assert_close, bptt, relative

import eqx_etrace as etr
from eqx_etrace._spend._chunk_length import chunks
from eqx_etrace._spend._plan import make_plan

pytestmark = pytest.mark.outside_sample  # of traces, and not of how this JAX writes a step

B, N, F = 16, 128, 200
AS_SHIPPED = {"xla_cpu_use_fusion_emitters": True} if jax.__version__.startswith("0.10.") else {}
"""What the other tests switch off to compile quickly (`conftest`), and might change where memory is used."""


class Cell(eqx.Module):
    weight: eqx.nn.Linear
    readout: eqx.nn.Linear

    def __init__(self):
        self.weight = eqx.nn.Linear(F + N, N, key=jax.random.key(0), dtype=jnp.float32)
        self.readout = eqx.nn.Linear(N, 2, key=jax.random.key(1), dtype=jnp.float32)


def total(step, model, state, xs):
    def one(state, x):
        loss, state = step(model, state, x)
        return state, loss

    return jax.lax.scan(one, state, xs)[1].sum()


def loss_step(model, h, x):
    def one(h, x):
        h = 0.9 * h + 0.1 * jnp.tanh(model.weight(jnp.concatenate([x, h])))
        return jnp.sum(model.readout(h) ** 2), h

    losses, h = jax.vmap(one)(h, x)
    return losses.mean(), h


RULE = etr.DRTRL()


def setup(length, rule=RULE):
    model, state = Cell(), jnp.zeros((B, N), jnp.float32)
    xs = jax.random.normal(jax.random.key(2), (length, B, F), jnp.float32)
    online = etr.etrace_grad(loss_step, rule)
    return online, model, state, online.init(model, state, xs[0]), xs


def compiled(run, online, model, state, trace, *inputs):
    arrays, static = eqx.partition(model, eqx.is_array)

    def call(arrays, state, trace, *inputs):
        gradients, state, trace = run(eqx.combine(arrays, static), state, trace, *inputs)
        return eqx.filter(gradients, eqx.is_array), state, trace

    program = jax.jit(call, donate_argnums=(1, 2), compiler_options=AS_SHIPPED)
    return program.lower(arrays, state, trace, *inputs).compile()


def temporary(program):
    return program.memory_analysis().temp_size_in_bytes


def trace_bytes(trace):
    return sum(x.nbytes for x in jax.tree.leaves(trace.values))


@pytest.mark.parametrize("window", [1, 16])
def test_memory_does_not_grow_with_time(window):
    sizes = []
    for length in (320, 3200):
        online, *rest = setup(length)
        run = lambda *args, online=online: online.scan(*args, window=window)  # noqa: E731
        sizes.append(temporary(compiled(run, online, *rest)))
    assert sizes[1] - sizes[0] <= 16 * 3200  # the losses


def test_a_trace_is_advanced_in_place():
    """Neither one step nor a scan of windows holds a second trace."""
    online, model, state, trace, xs = setup(32)
    whole = trace_bytes(trace)
    assert whole == 4 * B * N * ((F + N + 1) + 1)  # per row of the weight, one number for its status; the bias
    assert temporary(compiled(online, online, model, state, trace, xs[0])) < 0.2 * whole
    for window in (1, 8):
        run = lambda *args, window=window: online.scan(*args, window=window)  # noqa: E731
        # A quarter of it, and what is kept of every step of a chunk: half of it.
        assert temporary(compiled(run, online, model, state, trace, xs)) < 0.8 * whole


def alif_step(model, state, x):
    def one(state, x):
        V, a = state
        V = 0.9 * V + model.weight(jnp.concatenate([x, jnp.tanh(V - a)]))
        a = 0.95 * a + 0.1 * jnp.tanh(V - a)
        return jnp.sum(model.readout(jnp.tanh(V - a)) ** 2), (V, a)

    losses, state = jax.vmap(one)(state, x)
    return losses.mean(), state


def test_coupled_states_are_advanced_in_place():
    """a reads V, V does not read a: both traces, and no copy of either."""
    _, model, h, _, xs = setup(64)
    online = etr.etrace_grad(alif_step, RULE)
    trace = online.init(model, (h, h), xs[0])
    whole = trace_bytes(trace)
    assert whole == 2 * 4 * B * N * ((F + N + 1) + 1)
    assert temporary(compiled(online, online, model, (h, h + 0), trace, xs[0])) < 0.2 * whole
    run = lambda *args: online.scan(*args, window=8)  # noqa: E731
    assert temporary(compiled(run, online, model, (h, h + 0), trace, xs)) < 0.9 * whole  # with what a chunk keeps


def closed_step(model, state, x):
    """As `alif_step`, driven by the input alone: every trace is exact, and the output reads the new state."""

    def one(state, x):
        V, a = state
        V = 0.9 * V + model.weight(jnp.concatenate([x, x[:N]]))
        a = 0.95 * a + 0.1 * jnp.tanh(V)
        return jnp.sum(model.readout(jnp.tanh(V - a)) ** 2), (V, a)

    losses, state = jax.vmap(one)(state, x)
    return losses.mean(), state


def not_closed_step(model, state, x):
    """The same; the output reads the old state, too."""
    loss, new = closed_step(model, state, x)
    return loss + jnp.sum(state[0] ** 2), new


def test_a_closed_step_is_advanced_in_place_and_pulls_nothing_back():
    _, model, h, _, xs = setup(8)
    products = B * N * (F + N)
    work = {}
    for step in (closed_step, not_closed_step):
        online = etr.etrace_grad(step, RULE)
        trace = online.init(model, (h, h), xs[0])
        program = compiled(online, online, model, (h, h + 0), trace, xs[0])
        assert temporary(program) < 0.2 * trace_bytes(trace)
        cost = program.cost_analysis()
        assert cost is not None
        work[step] = cost["flops"]
    assert work[not_closed_step] - work[closed_step] > 0.9 * 2 * products  # the product of the step's own


RULES = [etr.DRTRL(), etr.DRTRL(trace_dtype=jnp.bfloat16), etr.PPProp(0.9), etr.PPProp(0.9, trace_dtype=jnp.float16)]


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("name", ["gru", "adaptive_lif_with_synapse", "conv2d_batched", "batched_heads_by_einsum"])
def test_the_report_gives_the_size_of_the_trace_to_the_byte(rule, name):
    loss_step, model, state, inputs = CASES[name].build()
    online = etr.etrace_grad(loss_step, rule)
    now = [x[0] for x in inputs]
    trace = online.init(model, state, *now)
    report = online.graph(model, state, *now).report(rule)
    assert report.trace_bytes == trace_bytes(trace) == sum(row.trace_bytes for row in report.rows)
    _, _, advanced = eqx.filter_eval_shape(online, model, state, trace, *now)
    assert [(x.shape, x.dtype) for x in jax.tree.leaves(advanced.values)] == [
        (x.shape, x.dtype) for x in jax.tree.leaves(trace.values)
    ]


@pytest.mark.parametrize("rule", [etr.DRTRL(), etr.PPProp(0.9)], ids=str)
@pytest.mark.parametrize("window", [1, 8])
def test_storage_in_half_the_bytes(rule, window):
    """Arithmetic stays in the dtype of the step, so that only the stored trace is rounded."""
    short = dataclasses.replace(rule, trace_dtype=jnp.bfloat16)
    online, model, state, trace, xs = setup(32, rule)
    wanted, _, _ = eqx.filter_jit(online.scan)(model, state, trace, xs, window=window)
    stored = etr.etrace_grad(loss_step, short)
    found, _, last = eqx.filter_jit(stored.scan)(model, state, stored.init(model, state, xs[0]), xs, window=window)
    assert all(x.dtype in (jnp.bfloat16, jnp.int32) for x in jax.tree.leaves(last.values))
    assert all(g.dtype == jnp.float32 for g in jax.tree.leaves(found))
    error = relative(found.weight.weight, wanted.weight.weight)
    assert 1e-5 < error < 1e-2


@pytest.mark.parametrize("rule", [etr.DRTRL(), etr.PPProp(0.9), etr.RTRL()], ids=str)
def test_a_state_of_eight_bits(rule, key):
    """JAX promotes it to nothing by itself; what is left of a difference is the rounding of its cotangents."""

    def step(model, h, x):
        h = jnp.tanh(0.8 * h.astype(float) + model @ x)
        return jnp.sum(jnp.sin(h)), h.astype(jnp.float8_e4m3fn)

    model, xs = 0.5 * jax.random.normal(key, (4, 4)), jax.random.normal(key, (6, 4))
    start = jnp.zeros(4, jnp.float8_e4m3fn)
    online = etr.etrace_grad(step, rule)
    found, _, last = jax.jit(online.scan)(model, start, online.init(model, start, xs[0]), xs)
    assert relative(found, bptt(step, model, start, xs)) < (0.1 if rule != etr.PPProp(0.9) else 1)
    assert all(
        jnp.finfo(x.dtype).bits >= 16 for x in jax.tree.leaves(last.values) if jnp.issubdtype(x.dtype, jnp.inexact)
    )


def test_a_dtype_that_cannot_hold_a_trace():
    with pytest.raises(TypeError, match="int8"):
        etr.DRTRL(trace_dtype=jnp.int8)


def test_no_retracing_between_steps():
    traced = 0

    def counted(model, h, x):
        nonlocal traced
        traced += 1
        return loss_step(model, h, x)

    _, model, state, _, xs = setup(6)
    online = etr.etrace_grad(counted, etr.DRTRL())
    trace = online.init(model, state, xs[0])
    step = eqx.filter_jit(online)
    before = traced
    for x in xs:
        gradients, state, trace = step(model, state, trace, x)
        model = eqx.apply_updates(model, jax.tree.map(lambda g: -0.01 * g, gradients))
    assert traced == before + 1


def test_donated_carries_are_reused():
    online, model, state, trace, xs = setup(6)
    step = eqx.filter_jit(online, donate="all-except-first")
    whole = trace_bytes(trace)
    old = jax.tree.leaves(trace.values)
    _, state, trace = step(model, state, trace, xs[0])
    assert all(x.is_deleted() for x in old) and trace_bytes(trace) == whole


def test_one_weight_in_several_places_of_a_window():
    """Its cotangents over a window come from two products and from a use that is no head; all are added."""

    def step(model, h, x):
        w = model["w"]
        h = jnp.tanh(0.5 * h + w @ x + 0.3 * jnp.sin(w @ (x**2)) + 0.1 * jnp.sum(w * w, axis=1))
        return jnp.sum(h**3), h

    key = jax.random.key(5)
    model, state = {"w": 0.5 * jax.random.normal(key, (4, 3))}, jnp.zeros(4)
    xs = jax.random.normal(key, (12, 3))
    online = etr.etrace_grad(step, etr.DRTRL())
    for window in (1, 4, 5, 12):
        gradients, _, _ = eqx.filter_jit(online.scan)(model, state, online.init(model, state, xs[0]), xs, window=window)
        wanted = jax.grad(lambda m: total(step, m, state, xs))(model)
        assert_close(gradients, wanted, 1e-12)


@pytest.mark.parametrize("window", [1, 3])
def test_a_gradient_of_the_gradient_through_a_window(window):
    """Second derivatives see the weights that the heads read, although a window holds them fixed."""

    def step(model, h, x):
        h = 0.8 * h + jnp.tanh(model["w"] @ x) * model["s"]
        return jnp.sum(jnp.sin(model["r"] @ h)), h

    keys = jax.random.split(jax.random.key(6), 4)
    model = {"w": jax.random.normal(keys[0], (3, 2)), "s": jnp.ones(3), "r": jax.random.normal(keys[1], (2, 3))}
    direction = jax.tree.map(lambda x: jnp.cos(jnp.arange(x.size)).reshape(x.shape), model)
    xs, state = jax.random.normal(keys[2], (6, 2)), jnp.zeros(3)
    online = etr.etrace_grad(step, etr.DRTRL())

    def along(gradient):
        return sum(jnp.vdot(g, d) for g, d in zip(*map(jax.tree.leaves, (gradient, direction)), strict=True))

    def ours(model):
        return along(eqx.filter_jit(online.scan)(model, state, online.init(model, state, xs[0]), xs, window=window)[0])

    def theirs(model):
        return along(jax.grad(lambda m: total(step, m, state, xs))(model))

    np.testing.assert_allclose(ours(model), theirs(model), rtol=1e-12)
    assert_close(jax.grad(ours)(model), jax.grad(theirs)(model), 1e-11)


def sequence(rule, window):
    """A network with a concatenated input, long enough for several chunks and a rest; one lane."""
    model = jax.tree.map(lambda x: x.astype(jnp.float64) if eqx.is_inexact_array(x) else x, Cell())
    state = jnp.zeros((1, N))
    xs = jax.random.normal(jax.random.key(3), (67, 1, F))
    online = etr.etrace_grad(loss_step, rule, window=window)
    return online, model, state, online.init(model, state, xs[0]), xs


@pytest.mark.parametrize("window", [0, 1])
@pytest.mark.parametrize("rule", [etr.DRTRL(), etr.PPProp((0.9, 0.7))], ids=str)
def test_a_chunk_of_steps_is_the_sum_of_its_steps(rule, window):
    """Products left for later are the products of every step, whatever the trace held before."""
    online, model, state, trace, xs = sequence(rule, window)
    assert 1 < chunks(make_plan(loss_step, rule, model, state, (xs[0],)), window, 67).steps < 67
    _, state, trace = eqx.filter_jit(online.scan)(model, state, trace, xs[:5])
    found, last, last_trace = eqx.filter_jit(online.scan)(model, state, trace, xs)
    step, total = eqx.filter_jit(online), None
    for x in xs:
        gradients, state, trace = step(model, state, trace, x)
        total = gradients if total is None else jax.tree.map(jnp.add, total, gradients)
    assert_close(found, total, 1e-10)
    assert_close((last, last_trace.values), (state, trace.values), 1e-10)


@pytest.mark.parametrize("order", ["input first", "state first", "state between", "encoded"])
def test_data_in_pieces(order):
    """A head whose data is partly an input: cotangents of inputs, parameters and state are those of `jax.vjp`."""

    def step(model, h, x):
        x = jnp.tanh(model["encoder"] @ x) if order == "encoded" else x
        pieces = {"state first": [h, x], "state between": [x[:1], h, x[1:]]}.get(order, [x, h])
        h = jnp.tanh(model["w"] @ jnp.concatenate(pieces))
        return h[:2], h

    keys = jax.random.split(jax.random.key(8), 4)
    model = {"w": jax.random.normal(keys[0], (4, 7)), "encoder": jax.random.normal(keys[1], (3, 3))}
    state, x = jax.random.normal(keys[2], (4,)), jax.random.normal(keys[3], (3,))
    online, cotangents = etr.etrace_vjp(step, etr.DRTRL()), (jnp.array([1.0, -2.0]), jnp.ones(4))

    @jax.jit
    def ours(model, x):
        out, _, _, pullback = online(model, state, online.init(model, state, x), x)
        return out, pullback(*cotangents)

    @jax.jit
    def theirs(model, x):
        (out, _), back = jax.vjp(lambda m, x: step(m, state, x), model, x)
        on_model, on_x = back(cotangents)
        return out, (on_model, (on_x,))

    (out, found), (wanted_out, wanted) = ours(model, x), theirs(model, x)
    np.testing.assert_allclose(out, wanted_out, rtol=1e-12)
    assert_close(found, wanted)

"""Influences on whole blocks through many steps at once: the numbers of BPTT, and of the same steps one by one."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
import oracle
import pytest

import eqx_etrace as etr

N, INPUTS = 5, 3


def draws():
    keys = iter(jax.random.split(jax.random.key(3), 30))
    return lambda *shape: jax.random.normal(next(keys), shape)


def recurrent(draw, inputs=INPUTS):
    return {"w": 0.6 * draw(N, N), "v": draw(N, inputs), "b": draw(N)}


def cell(p, h, x):
    return jnp.tanh(p["w"] @ h + p["v"] @ x + p["b"])


def dense(draw):
    def step(m, h, x, y):
        h = cell(m["c"], h, x)
        return jnp.sum((m["r"] @ h - y) ** 2), h

    return step, {"c": recurrent(draw), "r": draw(2, N)}, jnp.zeros(N), ()


def gru(draw):
    def step(m, h, x, y):
        h = m["c"](x, h)
        return jnp.sum((m["r"] @ h - y) ** 2), h

    return step, {"c": eqx.nn.GRUCell(INPUTS, N, key=jax.random.key(1)), "r": draw(2, N)}, jnp.zeros(N), ()


def two_layers_in_a_batch(draw):
    """And a weight that is used otherwise than by a head: the norm of w enters the state."""

    def step(m, state, x, y):
        a, b = state
        a = jax.vmap(cell, (None, 0, 0))(m["a"], a, x)
        b = jax.vmap(cell, (None, 0, 0))(m["b"], b, a) + 0.1 * jnp.sum(m["a"]["w"] ** 2)
        return jnp.sum((b @ m["r"].T - y) ** 2), (a, b)

    model = {"a": recurrent(draw), "b": recurrent(draw, N), "r": draw(2, N)}
    return step, model, (jnp.zeros((2, N)), jnp.zeros((2, N))), (2,)


def reads_the_old_state(draw):
    """So that a step is not closed."""

    def step(m, h, x, y):
        new = cell(m["c"], h, x)
        return jnp.sum((m["r"] @ (new + h) - y) ** 2), new

    return step, {"c": recurrent(draw), "r": draw(2, N)}, jnp.zeros(N), ()


def masked(draw):
    """Rows that reach less than others."""
    mask = np.array(np.random.default_rng(0).random((N, N)) < 0.5)
    mask[0] = mask[:, 1] = False
    mask = mask.astype(float)

    def step(m, h, x, y):
        p = {**m["c"], "w": m["c"]["w"] * mask}
        h = cell(p, h, x)
        return jnp.sum((m["r"] @ h - y) ** 2), h

    return step, {"c": recurrent(draw), "r": draw(2, N)}, jnp.zeros(N), ()


CASES = [dense, gru, two_layers_in_a_batch, reads_the_old_state, masked]


def data(draw, steps, lead):
    return draw(steps, *lead, INPUTS), draw(steps, *lead, 2)


def close(found, wanted, tolerance=1e-11):
    for a, b in zip(jtu.tree_leaves(found), jtu.tree_leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * float(jnp.abs(b).max()))


def one_by_one(online, model, state, trace, *inputs):
    call, total = eqx.filter_jit(online), None
    for t in range(inputs[0].shape[0]):
        found, state, trace = call(model, state, trace, *(x[t] for x in inputs))
        total = found if total is None else jtu.tree_map(jnp.add, total, found)
    return total, state, trace


@pytest.mark.sweep(3)
@pytest.mark.parametrize("window", [0, 1, 40])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_a_chunk_of_steps_is_bptt_and_leaves_the_trace_of_single_steps(case, window):
    """70 steps: two chunks of 32, and a shorter one."""
    draw = draws()
    step, model, state, lead = case(draw)
    xs, ys = data(draw, 70, lead)
    online = etr.etrace_grad(step, etr.RTRL())
    trace = online.init(model, state, xs[0], ys[0])
    found, _, held = eqx.filter_jit(online.scan)(model, state, trace, xs, ys, window=window)
    if case is not reads_the_old_state or window > 0:
        close(found, oracle.bptt(step, model, state, xs, ys), 1e-10)
    total, _, wanted = one_by_one(etr.etrace_grad(step, etr.RTRL(), window=min(window, 1)), model, state, trace, xs, ys)
    close(held.values, wanted.values, 1e-10)
    if window < 2:
        close(found, total, 1e-10)


def test_it_goes_on_from_a_trace_of_before():
    draw = draws()
    step, model, state, lead = dense(draw)
    xs, ys = data(draw, 50, lead)
    online = etr.etrace_grad(step, etr.RTRL())
    trace, parts = online.init(model, state, xs[0], ys[0]), []
    for some in (slice(0, 7), slice(7, 8), slice(8, 50)):
        found, state, trace = online.scan(model, state, trace, xs[some], ys[some])
        parts.append(found)
    total = jtu.tree_map(lambda *grads: sum(grads), *parts)
    close(total, oracle.bptt(step, model, jnp.zeros(N), xs, ys))


def spoiling(draw):
    """A slope that is infinite where x is zero, and a reset that cuts it off one step later."""

    def step(m, h, x, y, done):
        h = jnp.where(done, 0.0, h)
        h = cell(m["c"], h, x) + m["s"] * jnp.sqrt(jnp.abs(h - jnp.where(x.sum() == 0, h, 0.0)))
        return jnp.sum((m["r"] @ jnp.where(x.sum() == 0, 0.0, h) - y) ** 2), h

    return step, {"c": recurrent(draw), "r": draw(2, N), "s": jnp.asarray(0.1)}, jnp.zeros(N)


@pytest.mark.outside_sample
@pytest.mark.parametrize("window", [0, 1, 9])
def test_what_is_cut_off_stays_cut_off_though_it_was_infinite(window):
    """Reverse mode over many steps makes NaN of it; single steps do not, and then they are what is taken."""
    draw = draws()
    step, model, state = spoiling(draw)
    xs, ys = data(draw, 9, ())
    xs, done = xs.at[4].set(0.0), jnp.zeros(9, bool).at[5].set(True)
    online = etr.etrace_grad(step, etr.RTRL(), window=min(window, 1))
    trace = online.init(model, state, xs[0], ys[0], done[0])
    total, _, wanted = one_by_one(online, model, state, trace, xs, ys, done)
    found, _, held = eqx.filter_jit(online.scan)(model, state, trace, xs, ys, done, window=window)
    close(held.values, wanted.values)
    assert all(bool(jnp.isfinite(x).all()) for x in jtu.tree_leaves(held.values))
    if window < 2:
        for a, b in zip(jtu.tree_leaves(found), jtu.tree_leaves(total), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-11)
    batched = jax.vmap(lambda xs: online.scan(model, state, trace, xs, ys, done, window=window)[2])
    both = batched(jnp.stack([xs, xs + 1]))
    close(jtu.tree_map(lambda x: x[0], both.values), held.values)


def test_a_chunk_keeps_little_of_a_wide_readout():
    """Reverse mode keeps it at every step: then a chunk has fewer steps, and memory is that of the span's spare."""
    draw, wide, batch = draws(), 1000, 256

    def step(m, h, x):
        h = jax.vmap(cell, (None, 0, 0))(m["c"], h, x)
        return jnp.sum(jnp.sin(jnp.sin(h @ m["r"].T)) ** 2), h

    model, h, xs = {"c": recurrent(draw), "r": draw(wide, N)}, jnp.zeros((batch, N)), jnp.zeros((200, batch, INPUTS))
    online = etr.etrace_grad(step, etr.RTRL())
    trace = online.init(model, h, xs[0])
    memory = jax.jit(online.scan).lower(model, h, trace, xs).compile().memory_analysis()
    assert memory is not None and memory.temp_size_in_bytes < 1.5 * 2**26


def with_a_key(draw):
    """Inputs that are dropped at random: the state holds a key."""
    inner, model, state, lead = dense(draw)

    def step(m, state, x, y):
        key, now = jax.random.split(state[1])
        loss, h = inner(m, state[0], jnp.where(jax.random.bernoulli(now, 0.7, x.shape), x, 0), y)
        return loss, (h, key)

    return step, model, (state, jax.random.key(2)), lead


@pytest.mark.sweep(2)
@pytest.mark.parametrize("case", [dense, with_a_key])
def test_derivatives_through_chunks_are_those_through_steps(case):
    """Of what an online gradient is, by the model: through the trace, and through what is done on rare occasions."""
    draw = draws()
    step, model, state, lead = case(draw)
    xs, ys = data(draw, 6, lead)
    online = etr.etrace_grad(step, etr.RTRL())
    trace = online.init(model, state, xs[0], ys[0])

    def size(gradient, trace):
        leaves = [*jtu.tree_leaves(gradient), *(getattr(value, "e", value) for value in trace.values)]
        return sum(jnp.sum(jnp.sin(x)) for x in leaves)

    def chunked(model):
        found, _, held = online.scan(model, state, trace, xs, ys)
        return size(found, held)

    def stepped(model):
        total, _, held = one_by_one(online, model, state, trace, xs, ys)
        return size(total, held)

    close(jax.grad(chunked)(model), jax.grad(stepped)(model), 1e-10)


@pytest.mark.sweep(2)
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_a_state_of_few_bits_goes_step_by_step(dtype):
    """Cotangents would be rounded to it at every step."""
    draw = draws()
    step, model, state, lead = dense(draw)

    def half(m, h, x, y):
        loss, new = step(m, h.astype(float), x, y)
        return loss, new.astype(dtype)

    xs, ys = data(draw, 12, lead)
    online = etr.etrace_grad(half, etr.RTRL())
    trace = online.init(model, state.astype(dtype), xs[0], ys[0])
    found, _, held = online.scan(model, state.astype(dtype), trace, xs, ys)
    total, _, wanted = one_by_one(online, model, state.astype(dtype), trace, xs, ys)
    close(held.values, wanted.values, 1e-6)
    close(found, total, 1e-6)


def test_side_effects_happen_once_per_step():
    draw, seen = draws(), []
    step, model, state, lead = dense(draw)

    def loud(m, h, x, y):
        jax.debug.callback(lambda value: seen.append(float(value)), x.sum())
        return step(m, h, x, y)

    xs, ys = data(draw, 4, lead)
    online = etr.etrace_grad(loud, etr.RTRL())
    trace = online.init(model, state, xs[0], ys[0])
    jax.block_until_ready(jax.jit(online.scan)(model, state, trace, xs, ys))
    jax.effects_barrier()
    assert len(seen) == 4


def test_rows_that_reach_nearly_the_same_share_a_block():
    """By a mask within it SnAp(2) still keeps of each row what it reaches in two steps."""
    rng = np.random.default_rng(1)
    n = 24
    mask = (rng.random((n, n)) < 0.3).astype(float)
    draw = draws()
    model = {"w": draw(n, n) / 3, "v": draw(n, INPUTS), "r": draw(2, n)}

    def step(m, h, x, y):
        h = jnp.tanh((m["w"] * mask) @ h + m["v"] @ x)
        return jnp.sum((m["r"] @ h - y) ** 2), h

    xs, ys = data(draw, 8, ())
    h0 = jnp.zeros(n)
    online = etr.etrace_grad(step, etr.SnAp(2))
    trace = online.init(model, h0, xs[0], ys[0])
    reach = (np.eye(n) + mask.T @ np.eye(n) > 0).astype(bool)  # [row, scalar]: in one step itself, in two what reads it
    assert trace.values[0].e.shape[0] == (1 if reach.sum(1).max() * 1.2 >= n else n)
    h, e, total = h0, np.zeros((n, n, INPUTS)), np.zeros((n, INPUTS))
    for x, y in zip(xs, ys, strict=True):
        new = jnp.tanh((model["w"] * mask) @ h + model["v"] @ x)
        jacobian = np.asarray((1 - new**2)[:, None] * (model["w"] * mask))
        on_old = jax.grad(lambda h, x=x, y=y: step(model, h, x, y)[0])(h)
        own = jax.grad(lambda v, h=h, x=x, y=y: step({**model, "v": v}, h, x, y)[0])(model["v"])
        total += np.asarray(own) + np.einsum("i,iqk->qk", on_old, e)
        slope = np.asarray(1 - new**2)
        e = np.einsum("ij,jqk->iqk", jacobian, e) + np.diag(slope)[:, :, None] * np.asarray(x)
        e *= reach.T[:, :, None]
        h = new
    found, _, _ = online.scan(model, h0, trace, xs, ys)
    np.testing.assert_allclose(found["v"], total, rtol=1e-10, atol=1e-12)

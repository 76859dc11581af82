"""What leaves the program that made it: pullbacks, saved traces, decays that are arrays; and calls of one step."""

import io

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracle import bptt

import eqx_etrace as etr

N, F, T = 4, 3, 6
KEYS = jax.random.split(jax.random.key(0), 3)
MODEL = {"R": jax.random.normal(KEYS[0], (N, N)) / 2, "W": jax.random.normal(KEYS[1], (N, F))}
XS = jax.random.normal(KEYS[2], (T, F))


def loss_step(m, h, x):
    h = jnp.tanh(m["R"] @ h + m["W"] @ x)
    return jnp.sum(h**2), h


def outputs(m, h, x):
    h = jnp.tanh(m["R"] @ h + m["W"] @ x)
    return {"y": jnp.sin(h), "count": jnp.int32(1)}, h


@pytest.mark.sweep(3)
@pytest.mark.parametrize("window", [0, 1])
@pytest.mark.parametrize("rule", [etr.DRTRL(), etr.PPProp(0.9), etr.RTRL()], ids=str)
def test_a_pullback_leaves_jit(rule, window):
    """A reward from outside: the step in one program, the pullback in another."""
    online = etr.etrace_vjp(outputs, rule, window=window)
    state, trace = jnp.ones(N), online.init(MODEL, jnp.ones(N), XS[0])
    compiled = []

    @jax.jit
    def pull(pullback, reward):
        compiled.append(1)
        return pullback({"y": reward * jnp.ones(N), "count": None})

    step = jax.jit(online)
    for x in XS[:3]:
        out, new, after, pullback = step(MODEL, state, trace, x)
        reward = float(np.asarray(out["y"]).sum())  # as an environment in Python makes it
        found = pull(pullback, reward)

        def at_once(m, state=state, trace=trace, x=x, reward=reward):
            *_, pullback = online(m, state, trace, x)
            return pullback({"y": reward * jnp.ones(N), "count": None})

        assert eqx.tree_equal(found, jax.jit(at_once)(MODEL), rtol=1e-9, atol=1e-12)
        assert eqx.tree_equal(pullback({"y": reward * jnp.ones(N), "count": None}), found, rtol=1e-9, atol=1e-12)
        state, trace = new, after
    assert len(compiled) == 1


def test_pullbacks_of_many_lanes():
    online = etr.etrace_vjp(outputs, etr.DRTRL())
    trace = online.init(MODEL, jnp.ones(N), XS[0])
    run = jax.vmap(online, (None, None, None, 0))
    *_, pullbacks = jax.jit(run)(MODEL, jnp.ones(N), trace, XS)
    on_out = {"y": jnp.cos(XS @ jnp.ones((F, N))), "count": None}
    found, _ = jax.vmap(lambda pullback, ct: pullback({"y": ct, "count": None}))(pullbacks, on_out["y"])
    for i in range(T):
        *_, pullback = online(MODEL, jnp.ones(N), trace, XS[i])
        wanted, _ = pullback({"y": on_out["y"][i], "count": None})
        assert eqx.tree_equal(jax.tree.map(lambda g, i=i: g[i], found), wanted, rtol=1e-9, atol=1e-12)


def saved(trace):
    file = io.BytesIO()
    eqx.tree_serialise_leaves(file, trace)
    file.seek(0)
    return file


def other_inputs(m, h, x, again):
    return loss_step(m, h, x + again)


def renamed(m, h, x):
    return loss_step({"R": m["S"], "W": m["W"]}, h, x)


@pytest.mark.sweep(3)
@pytest.mark.parametrize(
    ("rule", "other"),
    [(etr.RTRL(), etr.SnAp(2)), (etr.PPProp(0.9), etr.PPProp(0.5)), (etr.PPProp((0.9, 0.5)), etr.PPProp((0.5, 0.9)))],
    ids=str,
)
def test_a_saved_trace_loads_into_its_own_rule_alone(rule, other):
    online = etr.etrace_grad(loss_step, rule)
    _, state, trace = online(MODEL, jnp.ones(N), online.init(MODEL, jnp.ones(N), XS[0]), XS[0])
    loaded = eqx.tree_deserialise_leaves(saved(trace), online.init(MODEL, state, XS[0]))
    assert eqx.tree_equal(loaded, trace)
    like = etr.etrace_grad(loss_step, other).init(MODEL, state, XS[0])
    assert [x.shape for x in jax.tree.leaves(like.values)] == [x.shape for x in jax.tree.leaves(trace.values)]
    with pytest.raises(RuntimeError, match=r"made_for_step_and_rule.*has changed shape"):
        eqx.tree_deserialise_leaves(saved(trace), like)


def test_a_saved_trace_loads_into_its_own_step_alone():
    online = etr.etrace_grad(loss_step, etr.DRTRL())
    trace = online.init(MODEL, jnp.ones(N), XS[0])
    likes = [
        etr.etrace_grad(other_inputs, etr.DRTRL()).init(MODEL, jnp.ones(N), XS[0], XS[0]),
        etr.etrace_grad(renamed, etr.DRTRL()).init({"S": MODEL["R"], "W": MODEL["W"]}, jnp.ones(N), XS[0]),
    ]
    for like in likes:
        with pytest.raises(RuntimeError, match=r"made_for_step_and_rule.*has changed shape"):
            eqx.tree_deserialise_leaves(saved(trace), like)


def test_a_single_call_refuses_a_window_of_many_steps():
    online = etr.etrace_grad(loss_step, etr.NoTrace(), window=4)
    trace = online.init(MODEL, jnp.ones(N), XS[0])
    with pytest.raises(ValueError, match=r"`window=4`, but a call sees one step.*`.scan`.*`window=1`"):
        online(MODEL, jnp.ones(N), trace, XS[0])
    found, *_ = online.scan(MODEL, jnp.ones(N), trace, XS, window=T)
    assert eqx.tree_equal(found, bptt(loss_step, MODEL, jnp.ones(N), XS), rtol=1e-9, atol=1e-12)


def leaky_step(m, h, x):
    h = 0.8 * h + jnp.tanh(m["R"] @ h + m["W"] @ x)
    return jnp.sum(h**2), h


def gradient(decay):
    online = etr.etrace_grad(leaky_step, etr.PPProp(decay))
    return online.scan(MODEL, jnp.ones(N), online.init(MODEL, jnp.ones(N), XS[0]), XS)[0]["R"]


@pytest.mark.sweep(2)
@pytest.mark.parametrize(
    "decay", [np.float64(0.9), np.asarray(0.9), jnp.asarray(0.9), [0.9, 0.9], (jnp.asarray(0.9), 0.9)]
)
def test_a_decay_is_a_number_of_any_kind(decay):
    np.testing.assert_allclose(gradient(decay), gradient(0.9), rtol=1e-12)
    assert etr.PPProp(decay).decay == (0.9, 0.9)


def test_decays_are_mapped_over_and_differentiated_by():
    decays = jnp.array([0.5, 0.9])
    np.testing.assert_allclose(jax.vmap(gradient)(decays), jnp.stack([gradient(0.5), gradient(0.9)]), rtol=1e-10)
    np.testing.assert_allclose(jax.jit(gradient)(0.9), gradient(0.9), rtol=1e-10)
    for side in (0, 1):

        def total(a, side=side):
            return jnp.sum(jnp.sin(gradient((a, 0.7) if side == 0 else (0.7, a))))

        slope, size = jax.grad(total)(0.8), 1e-6
        np.testing.assert_allclose(slope, (total(0.8 + size) - total(0.8 - size)) / (2 * size), rtol=1e-5)
        assert abs(slope) > 1e-4


@pytest.mark.sweep(2)
@pytest.mark.parametrize(
    ("decay", "error", "words"),
    [
        (True, TypeError, "bool"),
        (1, ValueError, "integer 1"),
        (np.int64(0), ValueError, "integer 0"),
        (1.0, ValueError, r"\[0, 1\)"),
        (float("nan"), ValueError, r"\[0, 1\)"),
        ((0.5, 0.5, 0.5), ValueError, "tuple of 3"),
        (jnp.ones(2) / 2, TypeError, r"float64\[2\]"),
        ("0.9", TypeError, "str"),
        (jnp.asarray(2), TypeError, "int64"),
        (None, TypeError, "NoneType"),
    ],
)
def test_what_is_no_decay(decay, error, words):
    with pytest.raises(error, match=words):
        etr.PPProp(decay)


def test_an_operation_without_a_batching_rule():
    """`lax.ragged_dot` cannot be batched; influences and windows take it step by step."""

    def step(m, h, x):
        mixed = jax.lax.ragged_dot((m["W"] @ x * h)[None], m["R"][None], jnp.array([1]))[0]
        h = jnp.tanh(mixed + 0.5 * h)
        return jnp.sum(h**2), h

    online = etr.etrace_grad(step, etr.RTRL())
    trace = online.init(MODEL, jnp.ones(N), XS[0])
    wanted = bptt(step, MODEL, jnp.ones(N), XS)
    assert all(row.exact for row in online.graph(MODEL, jnp.ones(N), XS[0]).report(etr.RTRL()).rows)
    for window in (1, 2):
        found = jax.jit(lambda window=window: online.scan(MODEL, jnp.ones(N), trace, XS, window=window)[0])()
        assert eqx.tree_equal(found, wanted, rtol=1e-9, atol=1e-12)

"""Python values among inputs and states: part of the step, so a trace made with others is refused."""

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest
from oracle import assert_close, bptt

import eqx_etrace as etr

N, T = 4, 5
TOKENS = [3, 1, 4, 1, 5]


def by_token(m, h, token):
    h = jnp.tanh(m["a"] * h + m["e"][token])
    return jnp.sum(jnp.sin(h)), h


def by_time_step(m, s, dt):
    h = jnp.tanh(m["a"] * s["h"] + dt * m["e"][2])
    return jnp.sum(jnp.sin(h)), {**s, "h": h}


def by_flag(m, h, flag):
    h = jnp.tanh(m["a"] * h + (m["e"][2] if flag else m["e"][3]))
    return jnp.sum(jnp.sin(h)), h


def by_state(m, s, x):
    h = jnp.tanh(m["a"] * s["h"] + s["gain"] * m["e"][2] * x)
    return jnp.sum(jnp.sin(h)), {**s, "h": h}


def setup():
    keys = jax.random.split(jax.random.key(0), 2)
    return {"a": jax.random.normal(keys[0], (N,)), "e": jax.random.normal(keys[1], (6, N))}


@pytest.mark.parametrize(
    ("step", "states", "inputs", "words"),
    [
        (by_token, [jnp.zeros(N)] * 2, (3, 1), ["input 0 = 3", "input 0 = 1", "jnp.asarray"]),
        (by_time_step, [{"h": jnp.zeros(N)}] * 2, (0.1, 0.5), ["= 0.1", "= 0.5"]),
        (by_flag, [jnp.zeros(N)] * 2, (True, False), ["= True", "= False"]),
        (by_state, [{"h": jnp.zeros(N), "gain": g} for g in (1, 2)], (1.0, 1.0), ["state gain = 1", "state gain = 2"]),
    ],
)
def test_another_value_needs_another_trace(step, states, inputs, words):
    model = setup()
    for transform in (etr.etrace_grad(step, etr.RTRL()), etr.etrace_vjp(step, etr.DRTRL())):
        trace = transform.init(model, states[0], inputs[0])
        transform(model, states[0], trace, inputs[0])
        with pytest.raises(ValueError) as info:
            transform(model, states[1], trace, inputs[1])
        for word in words:
            assert word in str(info.value)


def test_an_array_may_change():
    model, online = setup(), etr.etrace_grad(by_token, etr.RTRL())
    state, tokens = jnp.zeros(N), jnp.asarray(TOKENS)
    trace, total, step = (
        online.init(model, state, tokens[0]),
        jax.tree.map(jnp.zeros_like, model),
        eqx.filter_jit(online),
    )
    for token in tokens:
        gradient, state, trace = step(model, state, trace, token)
        total = jax.tree.map(jnp.add, total, gradient)
    assert_close(total, bptt(by_token, model, jnp.zeros(N), tokens))


def test_a_function_among_the_inputs_is_known_by_name():
    def step(m, h, x, f):
        h = f(m["a"] * h + m["e"][1] * x)
        return jnp.sum(h), h

    model, h, x = setup(), jnp.zeros(N), jnp.ones(())
    online = etr.etrace_grad(step, etr.RTRL())
    trace = online.init(model, h, x, lambda v: jnp.tanh(v))
    online(model, h, trace, x, lambda v: jnp.tanh(v))
    with pytest.raises(ValueError, match="sin"):
        online(model, h, trace, x, jnp.sin)

"""Steps whose output reads the new state alone, and steps that only seem to: the gradient is BPTT's either way."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracle import assert_close, bptt, relative

import eqx_etrace as etr
from eqx_etrace._spend._closed_step import is_closed
from eqx_etrace._spend._plan import make_plan

N, F, T = 4, 3, 6


def clipped(h):
    """Passes its value, and clips what comes back."""

    @jax.custom_vjp
    def call(h):
        return h

    call.defvjp(lambda h: (h, None), lambda _, g: (jnp.clip(g, -0.1, 0.1),))
    return call(h)


def cell(m, h, x):
    return jnp.tanh(m["a"] * h + m["w"] @ x)


def plain(m, s, x):
    h = cell(m, s["h"], x)
    return jnp.sum((m["r"] @ h) ** 2), {**s, "h": h}


def reads_the_old_state(m, s, x):
    h = cell(m, s["h"], x)
    return jnp.sum((m["r"] @ h) ** 2) + jnp.sum(s["h"] ** 3), {**s, "h": h}


def reads_the_drive(m, s, x):
    """What the new state is made of, before the old one is added."""
    drive = m["w"] @ x
    h = jnp.tanh(m["a"] * s["h"] + drive)
    return jnp.sum((m["r"] @ h) ** 2) + jnp.sum(jnp.sin(drive)), {**s, "h": h}


def reads_the_sum(m, s, x):
    """What the new state is made of, with the old one in it."""
    u = m["a"] * s["h"] + m["w"] @ x
    return jnp.sum((m["r"] @ jnp.tanh(u)) ** 2) + jnp.sum(jnp.sin(u)), {**s, "h": jnp.tanh(u)}


def reads_out_by_the_same_weight(m, s, x):
    h = cell(m, s["h"], x)
    return jnp.sum((h @ m["w"]) ** 2) + jnp.sum((m["r"] @ h) ** 2), {**s, "h": h}


def reads_a_state_without_memory(m, s, x):
    """`o` is kept, and never read again: no trace serves `u`, which reaches the output through it."""
    h = cell(m, s["h"], x)
    o = jnp.tanh(m["u"] @ h)
    return jnp.sum((m["r"] @ o) ** 2), {"h": h, "o": o}


def reads_a_state_without_memory_by_position(m, s, x):
    h = cell(m, s["h"], x)
    o = jnp.tanh(m["c"] * h)
    return jnp.sum((m["r"] @ o) ** 2), {"h": h, "o": o}


def clips_behind_the_state(m, s, x):
    h = cell(m, s["h"], x)
    return jnp.sum((m["r"] @ clipped(h)) ** 2), {**s, "h": h}


def clips_before_the_state(m, s, x):
    h = jnp.tanh(m["a"] * s["h"] + clipped(m["w"] @ x))
    return jnp.sum((m["r"] @ h) ** 2), {**s, "h": h}


def keeps_it_in_less(m, s, x):
    h = cell(m, s["h"].astype(float), x)
    return jnp.sum((m["r"] @ h) ** 2), {**s, "h": h.astype(jnp.float32)}


def keeps_it_rounded(m, s, x):
    """In as many bits, but rounded."""
    h = cell(m, s["h"], x)
    return jnp.sum((m["r"] @ h) ** 2), {**s, "h": jax.lax.reduce_precision(h, 8, 7)}


def keeps_it_rounded_by_casts(m, s, x):
    h = cell(m, s["h"], x)
    return jnp.sum((m["r"] @ h) ** 2), {**s, "h": h.astype(jnp.bfloat16).astype(float)}


def keeps_two_coupled(m, s, x):
    h = cell(m, s["h"], x)
    o = 0.9 * s["o"] + m["c"] * h**2
    return jnp.sum((m["r"] @ o) ** 2) + jnp.sum(h**3), {"h": h, "o": o}


STEPS = {
    plain: (True, True),
    reads_the_old_state: (False, False),
    reads_the_drive: (True, True),
    reads_the_sum: (False, False),
    reads_out_by_the_same_weight: (True, True),
    reads_a_state_without_memory: (False, False),
    reads_a_state_without_memory_by_position: (True, True),
    clips_behind_the_state: (True, True),
    clips_before_the_state: (False, False),
    keeps_it_in_less: (False, False),
    keeps_it_rounded: (False, False),
    keeps_it_rounded_by_casts: (False, False),
    keeps_two_coupled: (True, True),
}
"""Closed under DRTRL, and under RTRL?"""
ROUNDED = {keeps_it_in_less: 1e-6, keeps_it_rounded: 1e-2, keeps_it_rounded_by_casts: 1e-2}
"""Casts round cotangents, too: those of BPTT at every step, here those of one."""


def setup(step):
    keys = iter(jax.random.split(jax.random.key(3), 8))
    sizes = {"a": (N,), "w": (N, F), "r": (2, N), "u": (N, N), "c": (N,)}
    model = {name: 0.7 * jax.random.normal(next(keys), shape) for name, shape in sizes.items()}
    dtype = jnp.float32 if step is keeps_it_in_less else float
    state = {"h": jnp.linspace(-0.5, 0.5, N).astype(dtype), "o": jnp.zeros(N)}
    return model, state, jax.random.normal(next(keys), (T, F))


@pytest.mark.sweep(2)
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_the_gradient_is_that_of_bptt(step):
    model, state, xs = setup(step)
    wanted = bptt(step, model, state, xs)
    for rule, is_said_to_be in zip((etr.DRTRL(), etr.RTRL()), STEPS[step], strict=True):
        closed = is_closed(make_plan(step, rule, model, state, (xs[0],)))
        assert closed == is_said_to_be
        online = etr.etrace_grad(step, rule)
        exact = {row.path: row.exact for row in online.graph(model, state, xs[0]).report(rule).rows}
        for window in (1,) if closed else (0, 1):  # which are one program where it is closed
            run = eqx.filter_jit(etr.etrace_grad(step, rule, window=window).scan)
            found, _, _ = run(model, state, online.init(model, state, xs[0]), xs)
            for name in model:
                if exact[name,] and (window == 1 or step not in (reads_the_old_state, reads_the_sum)):
                    bound = ROUNDED.get(step, 1e-11)
                    assert np.abs(wanted[name] - found[name]).max() <= bound * np.abs(wanted[name]).max(), name


@pytest.mark.sweep(2)
@pytest.mark.parametrize("rule", [etr.PPProp(0.9), etr.DRTRL(jnp.bfloat16), etr.NoTrace()], ids=str)
def test_a_rule_that_approximates_is_not_closed(rule):
    model, state, xs = setup(keeps_two_coupled)
    assert not is_closed(make_plan(keeps_two_coupled, rule, model, state, (xs[0],)))


def test_one_weight_that_is_approximate_keeps_the_step_from_being_closed():
    """u is cut on its way into the state: its in-step gradient comes from the pullback alone."""

    def step(m, h, x):
        h = jnp.tanh(m["a"] * h + jnp.tanh(m["u"] @ (m["w"] @ x)))
        return jnp.sum((m["r"] @ h) ** 2), h

    model, state, xs = setup(step)
    plan = make_plan(step, etr.DRTRL(), model, state["h"], (xs[0],))
    assert not is_closed(plan)
    online = etr.etrace_grad(step, etr.DRTRL())
    found, _, _ = eqx.filter_jit(online)(model, state["h"], online.init(model, state["h"], xs[0]), xs[0])
    assert_close(found, bptt(step, model, state["h"], xs[:1]), 1e-11)


def test_nothing_is_run_twice():
    """A callback on the way to the output is called once per step."""
    calls = []

    def step(m, h, x):
        h = cell(m, h, x)
        seen = jax.pure_callback(lambda v: v, jax.ShapeDtypeStruct((N,), h.dtype), jax.lax.stop_gradient(h))
        jax.debug.callback(lambda v: calls.append(v), seen)
        return jnp.sum((m["r"] @ h) ** 2), h

    model, state, xs = setup(step)
    online = etr.etrace_grad(step, etr.DRTRL())
    found, _, _ = eqx.filter_jit(online.scan)(model, state["h"], online.init(model, state["h"], xs[0]), xs)
    jax.block_until_ready(found)
    jax.effects_barrier()
    assert len(calls) == T
    assert relative(found["w"], bptt(plain, model, state, xs)["w"]) < 1e-11

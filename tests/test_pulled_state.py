"""Cotangents of the new state, by `etrace_vjp`: what the report of its graph calls exact is BPTT of these, too."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest
from oracle import bptt, relative

import eqx_etrace as etr

pytestmark = pytest.mark.outside_sample  # of traces, and not of how this JAX writes a step

N, F, T = 4, 3, 6


def mixes(m, h, x):
    return jnp.tanh(m["u"] @ h + m["w"] @ x)


def keeps_position(m, h, x):
    return jnp.tanh(m["a"] * h + m["w"] @ x)


def gives_nothing(m, s, x):
    return None, {**s, "h": mixes(m, s["h"], x)}


def gives_what_has_no_memory(m, s, x):
    """A loss, but of the inputs and one parameter alone."""
    return jnp.sum((m["w"] @ x) ** 2), {**s, "h": mixes(m, s["h"], x)}


def reads_one_of_two(m, s, x):
    """The record mixes the units of the old state; neither the loss nor a later step reads it."""
    h = keeps_position(m, s["h"], x)
    return jnp.sum(jnp.sin(h)), {"h": h, "record": jnp.tanh(m["u"] @ s["h"])}


def reads_all(m, s, x):
    h = keeps_position(m, s["h"], x)
    return jnp.sum(jnp.sin(h)), {**s, "h": h}


def makes_one_of_another(m, s, x):
    """The record mixes the units of the new state."""
    h = keeps_position(m, s["h"], x)
    return jnp.sum(jnp.sin(h)), {"h": h, "record": jnp.tanh(m["u"] @ h)}


def makes_one_of_another_in_one_group(m, s, x):
    h = keeps_position(m, s["h"], x)
    return jnp.sum(jnp.sin(h)), {"h": h, "record": 0.5 * s["record"] + jnp.sin(m["a"] * h)}


STEPS = {
    gives_nothing: ({"u", "w"}, {"u", "w"}),
    gives_what_has_no_memory: ({"u", "w"}, {"u", "w"}),
    reads_one_of_two: (set(), {"a", "w"}),
    reads_all: (set(), set()),
    makes_one_of_another: (set(), set()),
    makes_one_of_another_in_one_group: (set(), set()),
}
"""Of each step, which parameters `DRTRL` may not call exact at window 1, and at window 0."""


def setup():
    keys = iter(jax.random.split(jax.random.key(7), 8))
    sizes = {"a": (N,), "u": (N, N), "w": (N, F)}
    model = {name: 0.7 * jax.random.normal(next(keys), shape) for name, shape in sizes.items()}
    return model, {"h": jnp.linspace(-0.5, 0.5, N), "record": jnp.zeros(N)}, jax.random.normal(next(keys), (T, F))


def signal(state):
    return sum(jnp.sum(jnp.sin(3 * s + i)) for i, s in enumerate(jax.tree.leaves(state)))


def pulled_back(online, model, state, xs):
    """The sum over time of what the pullback gives for the output and for a loss of the state outside the step."""

    @eqx.filter_jit
    def one(model, state, trace, x):
        out, state, trace, pullback = online(model, state, trace, x)
        return pullback(jax.tree.map(jnp.ones_like, out), jax.grad(signal)(state))[0], state, trace

    trace, total = online.init(model, state, xs[0]), jax.tree.map(jnp.zeros_like, model)
    for x in xs:
        gradients, state, trace = one(model, state, trace, x)
        total = jax.tree.map(jnp.add, total, gradients)
    return total


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_what_is_called_exact_is_exact_for_cotangents_of_the_state(step):
    model, state, xs = setup()

    def loss_step(model, state, x):
        out, state = step(model, state, x)
        return (0.0 if out is None else out) + signal(state), state

    wanted = bptt(loss_step, model, state, xs)
    cases = itertools.product((etr.DRTRL(), etr.RTRL(), etr.SnAp(9)), zip((1, 0), STEPS[step], strict=True))
    for rule, (window, inexact) in cases:
        online = etr.etrace_vjp(step, rule, window=window)
        found = pulled_back(online, model, state, xs)
        rows = online.graph(model, state, xs[0]).report(rule).rows
        exact = {row.path[0] for row in rows if (row.exact if window else row.exact_at_window_0)}
        assert rule != etr.RTRL() or all(row.exact for row in rows)
        assert rule != etr.DRTRL() or exact == model.keys() - inexact
        for name in exact & {name for name, g in wanted.items() if jnp.abs(g).max() > 0}:
            assert relative(found[name], wanted[name]) < 1e-11, (name, rule, window)


def test_the_graph_of_a_step_without_a_loss_counts_all_of_the_state():
    model, state, xs = setup()

    def in_half_precision(m, s, x):
        loss, s = reads_one_of_two(m, s, x)
        return loss.astype(jnp.bfloat16), s

    def with_a_second_output(m, s, x):
        loss, s = reads_one_of_two(m, s, x)
        return (loss, loss), s

    losses = (reads_one_of_two, True), (in_half_precision, True), (reads_all, True)
    for step, exact in (*losses, (gives_nothing, False), (with_a_second_output, False)):
        rows = etr.compile_graph(step, model, state, xs[0]).report(etr.DRTRL()).rows
        assert all(row.exact_at_window_0 for row in rows) == exact

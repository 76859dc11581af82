"""Long streams: a short form of the benchmark, numbers that are none, counters."""

import importlib
import pathlib
import traceback

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import eqx_etrace as etr

RULES = ("DRTRL", "RTRL", "PPProp", "EProp", "OTTT")
XS, START = jnp.sin(jnp.arange(24.0)).reshape(8, 3), jnp.zeros(4)
MODEL = {"into": jnp.cos(jnp.arange(12.0)).reshape(4, 3), "out": jnp.sin(jnp.arange(1.0, 5.0))}


def loss_step(model, h, x):
    h = 0.8 * h + jnp.tanh(model["into"] @ x)
    return (model["out"] @ h - 1) ** 2, h


@pytest.fixture
def stream(monkeypatch):
    monkeypatch.syspath_prepend(str(pathlib.Path(__file__).parent / "benchmarks"))
    return importlib.import_module("stream")


@pytest.mark.sweep(4)
@pytest.mark.parametrize("name", RULES)
def test_nothing_drifts_leaks_or_compiles_again(stream, name):
    """While it learns, and in single precision beside double: ten thousand steps of the benchmark."""
    first, last = stream.measure(name, "learning", (1000, 10_000))
    assert last.compiled == 0 and last.arrays == first.arrays
    assert max(last.trace, last.state, last.gradient, last.model) < 1e-4
    assert last.model > 0 and last.megabytes < 30


def test_the_page_has_what_was_measured(stream):
    """A row for every rule, way and checkpoint up to a million steps, of which none is far off."""
    lines = [line for line in stream.PAGE.read_text().splitlines() if line.startswith("| `")]
    cells = [cells for line in lines if len(cells := line.split(" | ")) == 11]
    wanted = [(name, way, f"{10**n:,}") for name in stream.RULES for way in stream.RATES for n in (3, 4, 5, 6)]
    assert [(c[0].strip("| `"), c[1], c[2]) for c in cells] == wanted
    assert all(float(gap) < 1e-3 for c in cells for gap in c[3:7]) and {c[9] for c in cells} == {"0"}


def test_a_counter_of_steps_does_not_run_over():
    """After 2^31 steps the average of `PPProp` is that of many steps, and not of none."""
    online = etr.etrace_grad(loss_step, etr.PPProp(0.9))
    _, h, trace = online(MODEL, START, online.init(MODEL, START, XS[0]), XS[0])

    def after(steps):
        where = trace.holding(tuple(value._replace(steps=jnp.full_like(value.steps, steps)) for value in trace.values))
        for _ in range(2):
            _, _, where = online(MODEL, h, where, XS[1])
        return online(MODEL, h, where, XS[1])[0]

    found, wanted = after(2**31 - 1), after(100_000)
    np.testing.assert_allclose(found["into"], wanted["into"], rtol=1e-12)
    assert abs(found["into"] - after(1)["into"]).max() > 1e-3


BAD = XS.at[3].set(jnp.nan)


def learned(optimiser, xs, step=loss_step, restart=False):
    """After a stream in which one input is NaN."""
    learner = etr.OnlineLearner(etr.etrace_value_and_grad(step, etr.DRTRL()), optimiser)
    learning = learner.init(MODEL, START, xs[0])
    call, again = eqx.filter_jit(learner), eqx.filter_jit(learner.restart)
    for x in xs:
        learning, _ = call(learning, x)
        if restart:
            learning = again(learning, START, ~all_finite((learning.state, learning.trace.values)))
    return learning


def all_finite(tree):
    return jnp.stack([jnp.isfinite(a).all() for a in jax.tree.leaves(tree)]).all()


def test_a_spoiled_stream_stays_spoiled():
    assert not all_finite(learned(optax.sgd(0.1), BAD).model)


def test_updates_that_are_not_finite_can_be_skipped_and_what_is_spoiled_emptied():
    """Before the NaN and after it the learner does what it would have done on two streams."""
    skipping = optax.apply_if_finite(optax.sgd(0.1), max_consecutive_errors=100)
    assert all_finite(learned(skipping, BAD).model)
    assert not all_finite(learned(skipping, BAD).state)  # it goes on from NaN, and learns nothing
    mended = learned(skipping, BAD, restart=True)
    first = learned(skipping, XS[:3])
    learner = etr.OnlineLearner(etr.etrace_value_and_grad(loss_step, etr.DRTRL()), skipping)
    wanted, _ = learner.scan(learner.restart(first, START), XS[4:])
    for a, b in zip(
        jax.tree.leaves((mended.model, mended.state)), jax.tree.leaves((wanted.model, wanted.state)), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    assert int(mended.moments.total_notfinite) == 1


def test_a_reset_inside_the_step_clears_what_is_spoiled():
    """State and trace: the step begins with what is finite."""

    def clearing(model, h, x):
        return loss_step(model, jnp.where(jnp.isfinite(h).all(), h, START), x)

    skipping = optax.apply_if_finite(optax.sgd(0.1), max_consecutive_errors=100)
    mended, by_hand = learned(skipping, BAD, clearing), learned(skipping, BAD, restart=True)
    for a, b in zip(jax.tree.leaves(mended.model), jax.tree.leaves(by_hand.model), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def forward(model, h, x):
    h = 0.8 * h + jnp.tanh(model["into"] @ x)
    return jnp.sum(jnp.log(h - 10)), h


def backward(model, h, x):
    h = 0.8 * h + jnp.tanh(model["into"] @ x)
    return jnp.sqrt(jnp.sum((h - h) ** 2)), h


@pytest.mark.parametrize("rule", [etr.DRTRL(), etr.RTRL(), etr.PPProp(0.9)], ids=lambda r: type(r).__name__)
def test_debug_nans_finds_the_line(rule):
    """That of the user: of a value also where the call is compiled, of a derivative where it is not."""
    for step, compiled in ((forward, False), (forward, True), (backward, False)):
        online = etr.etrace_value_and_grad(step, rule)
        trace = online.init(MODEL, START, XS[0])
        with jax.debug_nans(True), pytest.raises(FloatingPointError) as raised:
            (eqx.filter_jit(online) if compiled else online)(MODEL, START, trace, XS[0])
        line = step.__code__.co_firstlineno + 2
        told = "".join(traceback.format_exception(raised.value))
        assert f'test_streams.py", line {line}, in' in told or f"test_streams.py:{line} (" in told, step


@pytest.mark.parametrize("rule", [etr.DRTRL(), etr.RTRL(), etr.PPProp(0.9)], ids=lambda r: type(r).__name__)
def test_debug_nans_has_nothing_to_say_of_a_sound_step(rule):
    online = etr.etrace_grad(loss_step, rule)
    trace = online.init(MODEL, START, XS[0])
    with jax.debug_nans(True):
        for window in (0, 1, 3):
            eqx.filter_jit(online.scan)(MODEL, START, trace, XS, window=window)

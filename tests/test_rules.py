"""Every rule on every kind of step: a rule joins by one row of `RULES`.

The two at the end are written outside the package: they are those of the page `docs/extending.md`.
"""

import functools
import pathlib
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import CASES, reference
from cases.table import T
from online import graph_of
from oracle import bptt, by_path, relative

import eqx_etrace as etr

PAGE = pathlib.Path(__file__).parent.parent / "docs" / "extending.md"


@functools.cache
def written_outside():
    """The names of the page, after all of its Python."""
    namespace: dict = {"__name__": "page"}
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"):
        for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
            exec(compile(block, PAGE.name, "exec"), namespace)
    return namespace


RULES = {
    "NoTrace": etr.NoTrace,
    "DRTRL": etr.DRTRL,
    "DRTRL in single precision": lambda: etr.DRTRL(jnp.float32),
    "PPProp": lambda: etr.PPProp((0.7, 0.9)),
    "RTRL": etr.RTRL,
    "SnAp": lambda: etr.SnAp(1),
    "OSTL": etr.OSTL,
    "EProp": etr.EProp,
    "EProp with a filter": lambda: etr.EProp(kappa=0.7),
    "RFLO": lambda: etr.RFLO(0.8),
    "OTTT": lambda: etr.OTTT(0.7),
    "OTPE": lambda: etr.OTPE(0.7),
    "UORO": lambda: etr.UORO(jax.random.key(0)),
    "KFRTRL": lambda: etr.KFRTRL(jax.random.key(0)),
    "OK": lambda: etr.OK(3, jax.random.key(0)),
    "RFLO outside": lambda: written_outside()["RFLO"](0.8),
    "SmallOnly": lambda: written_outside()["SmallOnly"](10),
}
STEPS = (
    "vanilla_rnn",  # a dense recurrence
    pytest.param("recurrent_lif", marks=pytest.mark.outside_sample),  # spikes and a reset
    pytest.param("adaptive_lif_with_synapse", marks=pytest.mark.outside_sample),  # three states, exact by position
    pytest.param("conv2d_batched", marks=pytest.mark.outside_sample),  # lanes are places and examples
    "linear_recurrent_unit",  # complex
)


def single_calls(loss_step, rule, model, state, inputs):
    """The sum of the gradients of single steps."""
    online, total = etr.etrace_grad(loss_step, rule), None
    step, trace = eqx.filter_jit(online), online.init(model, state, *(x[0] for x in inputs))
    for t in range(T):
        found, state, trace = step(model, state, trace, *(x[t] for x in inputs))
        total = found if total is None else jax.tree.map(jnp.add, total, found)
    return by_path(total)


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("rule", RULES)
def test_rule(rule, name):
    rule, (loss_step, model, state, inputs) = RULES[rule](), CASES[name].build()
    report, wanted = graph_of(name).report(rule), reference(name)
    traces, gradients = {}, {}
    for window in (1, 3, T):
        online = etr.etrace_grad(loss_step, rule, window=window)
        trace = online.init(model, state, *(x[0] for x in inputs))
        found, _, traces[window] = eqx.filter_jit(online.scan)(model, state, trace, *inputs)
        gradients[window] = by_path(found)

    arrays = jax.tree.leaves(trace.values)
    assert report.trace_bytes == sum(a.nbytes for a in arrays)
    assert {shape for row in report.rows for shape in row.trace_shape} <= {a.shape for a in arrays}
    rounding = 1e-6 if "float32" in str(rule) else 1e-10
    for window in (3, T):  # the trace is that of single steps, whatever the window
        for a, b in zip(jax.tree.leaves(traces[window].values), jax.tree.leaves(traces[1].values), strict=True):
            np.testing.assert_allclose(a, b, rtol=rounding, atol=rounding)
    for path, gradient in single_calls(loss_step, rule, model, state, inputs).items():
        assert relative(gradients[1][path], gradient) < 10 * rounding, path
    for row in report.rows:
        assert relative(gradients[T][row.path], wanted[row.path]) < 1e-9
        for window in (1, 3) if row.exact else ():
            assert relative(gradients[window][row.path], wanted[row.path]) < 10 * rounding, (row.path, window)
    assert any(jnp.abs(a).max() > 0 for a in jax.tree.leaves(traces[1].values)) or not arrays


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule != "UORO"])
def test_the_first_step_at_window_0(rule):
    """What a step itself adds is dh/dy (x) x, and is taken off: what is left is the exact gradient of the step.

    (Of UORO that holds in the mean: its first product is random.)
    """
    loss_step, model, state, inputs = CASES["vanilla_rnn"].build()
    first = [x[0] for x in inputs]
    online = etr.etrace_grad(loss_step, RULES[rule](), window=0)
    found, _, _ = eqx.filter_jit(online)(model, state, online.init(model, state, *first), *first)
    wanted = bptt(loss_step, model, state, *(x[:1] for x in inputs))
    for path, gradient in by_path(found).items():
        assert relative(gradient, by_path(wanted)[path]) < 1e-6, path


def test_a_rule_that_holds_an_array():
    """It cannot be hashed: what it keeps is counted all the same."""
    loss_step, model, state, inputs = CASES["vanilla_rnn"].build()
    rule = written_outside()["RFLO"](jnp.asarray(0.8))
    report = etr.compile_graph(loss_step, model, state, *(x[0] for x in inputs)).report(rule)
    assert report.trace_bytes == graph_of("vanilla_rnn").report(RULES["RFLO outside"]()).trace_bytes > 0


def spiking(m, v, x):
    v = 0.9 * v + m["w"] @ x + m["b"]
    soft = jax.nn.sigmoid(4 * (v - 1))
    spike = soft + jax.lax.stop_gradient((v > 1).astype(v.dtype) - soft)
    return jnp.sum((m["r"] @ spike) ** 2), v - jax.lax.stop_gradient(spike)


@pytest.mark.parametrize("rule", RULES)
def test_rule_in_half_precision(rule):
    """The state stays in it, and the gradient is that of the same numbers in double precision, to its rounding."""
    rule, rng = RULES[rule](), np.random.default_rng(0)
    arrays = {"w": rng.normal(size=(4, 3)), "b": rng.normal(size=4), "r": rng.normal(size=(2, 4))}
    found = {}
    for kind in (jnp.dtype(jnp.bfloat16), jnp.dtype(jnp.float64)):
        model = {name: jnp.asarray(a, jnp.bfloat16).astype(kind) for name, a in arrays.items()}
        xs = jnp.asarray(np.random.default_rng(1).normal(size=(8, 3)), jnp.bfloat16).astype(kind)
        online = etr.etrace_grad(spiking, rule)
        trace = online.init(model, jnp.zeros(4, kind), xs[0])
        found[kind], v, _ = eqx.filter_jit(online.scan)(model, jnp.zeros(4, kind), trace, xs)
        assert v.dtype == kind and all(g.dtype == kind for g in found[kind].values())
    half, double = found.values()
    for name in arrays:
        assert relative(half[name].astype(float), double[name]) < 0.05, name


def murray(a, model, xs, window):
    """RFLO in NumPy, for h' = 0.8 h + tanh(W h + V x + b) and the loss sum sin(R h')."""
    w, v, b, r = (np.asarray(model[name]) for name in "wvbr")
    h, e, total = np.zeros(4), dict.fromkeys("wvb", 0.0), dict.fromkeys("wvbr", 0.0)
    for start in range(0, len(xs), max(window, 1)):
        chunk, first = xs[start : start + max(window, 1)], h
        before = dict(e)
        for x in chunk:
            slope = 1 - np.tanh(w @ h + v @ x + b) ** 2
            put = {"w": np.outer(slope, h), "v": np.outer(slope, x), "b": slope}
            e = {name: a * e[name] + put[name] for name in e}
            h = 0.8 * h + np.tanh(w @ h + v @ x + b)
        if window == 0:
            signal = r.T @ np.cos(r @ h)
            share = {name: np.einsum("n,n...->n...", signal, e[name]) for name in e}
            total = {**{name: total[name] + share[name] for name in e}, "r": total["r"] + np.outer(np.cos(r @ h), h)}
        else:
            exact = bptt(written_outside()["loss_step"], model, jnp.asarray(first), jnp.asarray(chunk))
            loss = functools.partial(written_outside()["loss_step"], model)
            on_first = jax.grad(lambda h, loss=loss, chunk=chunk: _total(loss, h, chunk))(jnp.asarray(first))
            share = {name: np.einsum("n,n...->n...", on_first, before[name]) if start else 0.0 for name in e}
            total = {name: total[name] + np.asarray(exact[name]) + share.get(name, 0.0) for name in total}
    return total


def _total(loss, h, xs):
    total = 0.0
    for x in xs:
        one, h = loss(h, x)
        total = total + one
    return total


@pytest.mark.parametrize("window", [0, 1, 3, 20])
def test_a_rule_that_is_written_outside_is_right_at_every_window(window):
    """As a user has it: from the page alone, beside Murray's recursion in NumPy."""
    page = written_outside()
    model = jax.tree.map(lambda a: a.astype(float), page["model"])
    xs = page["xs"].astype(float)
    online = etr.etrace_grad(page["loss_step"], page["RFLO"](0.7), window=window)
    found, _, _ = online.scan(model, jnp.zeros(4), online.init(model, jnp.zeros(4), xs[0]), xs)
    for name, wanted in murray(0.7, model, np.asarray(xs), window).items():
        assert relative(found[name], wanted) < 1e-12, name
    exact = bptt(page["loss_step"], model, jnp.zeros(4), xs)
    assert (relative(found["w"], exact["w"]) < 1e-12) == (window == 20)


def test_a_head_that_is_added_outside_is_exact():
    """The page adds rows for two primitives, and takes them back."""
    page = written_outside()
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"):
        wanted = bptt(page["driven_step"], page["rated"], jnp.zeros(4), page["xs"])
    for name, found in page["driven"].items():
        assert relative(found, wanted[name]) < 1e-5, name
    assert all(row.exact for row in page["graph"].report(etr.DRTRL()).rows)
    assert not any(primitive.name in ("softsign", "matvec") for primitive in page["TABLE"])

"""Rules that a user writes: what is right about them is right at every window, and what is wrong is said."""

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest
from oracle import bptt, relative

import eqx_etrace as etr

MODEL = {"v": jnp.sin(jnp.arange(12.0)).reshape(4, 3), "r": jnp.cos(jnp.arange(8.0)).reshape(2, 4)}
XS = jnp.sin(jnp.arange(21.0)).reshape(7, 3)


def linear(m, h, x):
    h = 0.8 * h + m["v"] @ x
    return jnp.sum(jnp.sin(m["r"] @ h)), h


class Inputs(etr.AbstractPositionRule):
    """Exact for `linear`, where dh/dy is 1: the trace is the sum of the inputs, faded."""

    leak: float = 0.8

    def follow(self, weight):
        return weight.by_position

    def init(self, layout):
        return jnp.zeros(layout.features_shape, layout.dtype)

    def advance(self, layout, value, drive):
        return self.leak * value + drive.x

    def advance_window(self, layout, value, window):
        return None

    def contract(self, layout, value, signal):
        return etr.extend.FactoredShare(signal[0], value, self._discount)

    def _discount(self, drive):
        one = jnp.ones(drive.x.shape[:-1])
        return self.leak * one, one

    def follows_d(self, layout):
        return False

    def approximates(self, layout):
        return None

    def work(self, layout):
        return 1


@pytest.mark.parametrize("window", [0, 1, 2, 7])
def test_factors_of_an_exact_rule(window):
    """Where the step is closed, too: a share as factors is lost nowhere."""
    online = etr.etrace_grad(linear, Inputs(), window=window)
    assert all(row.exact for row in online.graph(MODEL, jnp.zeros(4), XS[0]).report(Inputs()).rows)
    found, _, _ = eqx.filter_jit(online.scan)(MODEL, jnp.zeros(4), online.init(MODEL, jnp.zeros(4), XS[0]), XS)
    for name, wanted in bptt(linear, MODEL, jnp.zeros(4), XS).items():
        assert relative(found[name], wanted) < 1e-12, name


class Hiding(etr.AbstractRule):
    """Another rule, whose class nobody sees."""

    inner: etr.AbstractRule

    def keep(self, weight):
        return self.inner.keep(weight)

    def drops(self, weight, parameter):
        return self.inner.drops(weight, parameter)

    def holds_all(self, weight):
        return self.inner.holds_all(weight)


def two_groups(m, state, x):
    a, b = state
    y = m["w"] @ x
    a, b = 0.8 * a + jnp.tanh(y), jnp.tanh(0.5 * b + 0.3 * jnp.flip(b) + y[:2])
    return jnp.sum(jnp.sin(a)) + jnp.sum(b**2), (a, b)


@pytest.mark.parametrize("other", [etr.RTRL(limit=10**6), etr.DRTRL()], ids=str)
def test_all_that_a_weight_influences_is_kept_once(other):
    """Twice would count its credit twice."""
    state = (jnp.zeros(4), jnp.zeros(2))
    online = etr.etrace_grad(two_groups, lambda r: Hiding(etr.RTRL()) if r.group == 0 else Hiding(other))
    with pytest.raises(ValueError, match=r"relations of one weight.*Hiding keeps all that a weight"):
        online.init({"w": MODEL["v"]}, state, XS[0])


def test_a_trace_is_for_weights_that_are_met_in_this_order():
    """The values are in data-flow order: so is what they are said to be of."""

    def first(m, h, x):
        y, z = m["u"] @ x, m["w"] @ x
        h = 0.8 * h + jnp.tanh(y) + jnp.sin(z)
        return h.sum(), h

    def second(m, h, x):
        z, y = m["w"] @ x, m["u"] @ x
        h = 0.8 * h + jnp.sin(z) + jnp.tanh(y)
        return h.sum(), h

    model = {"u": MODEL["v"], "w": 0.1 * MODEL["v"]}
    a, b = etr.etrace_grad(first, etr.DRTRL()), etr.etrace_grad(second, etr.DRTRL())
    trace = a.init(model, jnp.zeros(4), XS[0])
    with pytest.raises(ValueError, match="belongs to another graph or rule"):
        b(model, jnp.zeros(4), trace, XS[0])


def broken(**methods):
    """`Inputs` with other methods."""
    return type("Broken", (Inputs,), methods)()


BROKEN = {
    "a share of another shape": (
        broken(contract=lambda self, layout, value, signal: jnp.zeros(3)),
        r"`Broken.contract` must return .* shape \[4, 3\].*'v'.*it returned shape \[3\]",
    ),
    "a trace of another shape": (
        broken(advance=lambda self, layout, value, drive: value[0]),
        r"`Broken.advance` must return .* float64\[1, 1, 3\].*it returned float64\[1, 3\]",
    ),
    "a trace of another dtype": (
        broken(advance=lambda self, layout, value, drive: value.astype(jnp.float32)),
        r"`Broken.advance` must return .*it returned float32\[1, 1, 3\]",
    ),
    "what is no keeper": (broken(keep=lambda self, weight: list(weight.sites)), "`Broken.keep` must return a list of"),
    "nothing in place of a list": (broken(keep=lambda self, weight: None), "it returned None"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_a_rule_must_not_return(what):
    rule, words = BROKEN[what]
    online = etr.etrace_grad(linear, rule)
    with pytest.raises(TypeError, match=words):
        trace = online.init(MODEL, jnp.zeros(4), XS[0])
        jax.block_until_ready(online(MODEL, jnp.zeros(4), trace, XS[0]))

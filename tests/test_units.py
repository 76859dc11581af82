"""Quantities as leaves of models and states: the graphs and the numbers are those without units."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import saiunit as u
from oracle import relative
from test_examples import networks

import eqx_etrace as etr
from eqx_etrace import nn

UNITLESS = networks.Units(dt=0.1)
BUILDERS = {
    "single_layer": lambda units: networks.single_layer(units=units),
    "gif_layers": lambda units: networks.gif_layers(units=units),
    "convolutional": lambda units: networks.convolutional(4, 8, 10, 5, units=units),
}
SCALES = {"single_layer": 60.0, "gif_layers": 20.0, "convolutional": 8.0}
"""Of the inputs, so that neurons spike within a few steps of 0.1 ms."""
STEPS = {"single_layer": 20, "gif_layers": 150, "convolutional": 400}


def built(name, units):
    step, model, state, (x,) = BUILDERS[name](units)

    def loss_step(model, state, x, y):
        out, state = step(model, state, x)
        return jnp.mean((out - y) ** 2), state

    keys = jax.random.split(jax.random.key(2), 2)
    out = eqx.filter_eval_shape(step, model, state, x)[0]
    xs = SCALES[name] * jnp.abs(jax.random.normal(keys[0], (STEPS[name], *x.shape)))
    return loss_step, model, state, xs, jax.random.normal(keys[1], (STEPS[name], *out.shape))


def graph(name, units):
    loss_step, model, state, xs, ys = built(name, units)
    return etr.compile_graph(loss_step, model, state, xs[0], ys[0])


@pytest.mark.parametrize("name", BUILDERS)
def test_the_same_graph(name):
    with_units, without = graph(name, networks.Units.physical()), graph(name, UNITLESS)
    assert str(with_units) == str(without)
    for rule in (etr.DRTRL(), etr.PPProp(0.9)):
        assert str(with_units.report(rule)) == str(without.report(rule))


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("single_layer", etr.DRTRL()),
        ("single_layer", etr.PPProp(0.9)),
        ("gif_layers", etr.DRTRL()),
        ("convolutional", etr.PPProp(0.9)),
    ],
    ids=str,
)
def test_the_same_gradients(name, rule):
    found = []
    for units in (networks.Units.physical(), UNITLESS):
        loss_step, model, state, xs, ys = built(name, units)
        online = etr.etrace_value_and_grad(loss_step, rule)
        trace = online.init(model, state, xs[0], ys[0])
        (losses, gradients), last, _ = eqx.filter_jit(online.scan)(model, state, trace, xs, ys)
        assert jax.tree.structure(gradients) == jax.tree.structure(eqx.filter(model, eqx.is_inexact_array))
        assert jax.tree.structure(last) == jax.tree.structure(state)
        found.append((losses, gradients, last))
    assert min(float(jnp.abs(g).max()) for g in jax.tree.leaves(found[1][1])) > 1e-7
    for a, b in zip(*(jax.tree.leaves(f) for f in found), strict=True):
        assert relative(a, b) < 1e-10


def test_a_gradient_has_the_unit_of_its_parameter():
    loss_step, model, state, xs, ys = built("single_layer", networks.Units.physical())
    online = etr.etrace_grad(loss_step, etr.DRTRL())
    gradients, _, _ = eqx.filter_jit(online)(model, state, online.init(model, state, xs[0], ys[0]), xs[0], ys[0])
    assert gradients.syn.comm.weight.unit == u.mA


def test_units_that_do_not_match_are_the_unit_librarys_error():
    lif = nn.LIF(tau=20 * u.ms, V_th=1 * u.mV, V_reset=0 * u.mV, V_rest=0 * u.mV, R=1 * u.ohm, dt=0.1 * u.ms)

    def step(model, state, x):
        spikes, state = lif(model * x, state)
        return jnp.sum(spikes), state

    state = lif.init_state(3)
    etr.compile_graph(step, jnp.ones(3) * u.mA, state, jnp.ones(3))
    with pytest.raises(u.UnitMismatchError, match="mV"):
        etr.compile_graph(step, jnp.ones(3) * u.mV, state, jnp.ones(3))


def test_times_have_a_unit_or_none():
    with pytest.raises(TypeError, match="`tau` of `LIF` has a unit, and `dt` has none"):
        nn.LIF(tau=20 * u.ms)


def test_exponential_euler_in_another_unit_of_time():
    """A step of 100 us is one of 0.1 ms."""
    x, tau = jnp.ones(3) * u.mV, 20 * u.ms
    one, other = (nn.exp_euler_step(lambda v: -v / tau, x, dt=dt) for dt in (0.1 * u.ms, 100 * u.us))
    np.testing.assert_allclose(one.mantissa, np.exp(-0.1 / 20), rtol=1e-6)
    np.testing.assert_allclose(
        u.get_mantissa(other.to(u.mV)) if hasattr(other, "to") else other, one.mantissa, rtol=1e-6
    )

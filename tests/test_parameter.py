"""What a field of a neuron holds: numbers are constant, whatever is around them, and arrays are trained."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
import saiunit as u
from oracle import bptt, relative

import eqx_etrace as etr
from eqx_etrace import nn

NEURONS = {"IF": nn.IF, "LIF": nn.LIF, "GIF": nn.GIF}
MODULES: dict[str, Any] = {
    **NEURONS,
    "Expon": nn.Expon,
    "LeakyRateReadout": lambda **fields: nn.LeakyRateReadout(4, 3, key=jr.key(0), **fields),
}


def numbers(module):
    return {f.name: getattr(module, f.name) for f in dataclasses.fields(module) if f.name in ("tau", "R", "V_th", "dt")}


@pytest.mark.parametrize("name", MODULES)
def test_a_number_is_no_leaf_and_reads_as_a_number(name):
    module = MODULES[name](tau=7, dt=0.5)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(module))
    assert isinstance(module.tau, float) and module.tau == 7 and "tau=7.0" in repr(module)
    for there_and_back in (jax.jit(lambda m: m), eqx.filter_jit(lambda m: m), lambda m: jax.tree.map(jnp.copy, m)):
        again = there_and_back(module)
        assert numbers(again) == numbers(module) and again == module
        assert all(isinstance(value, float) for value in numbers(again).values())
    assert MODULES[name](tau=8, dt=0.5) != module


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("value", [jnp.full(3, 10.0), jnp.asarray(10.0), np.full(3, 10.0), np.float64(10.0)])
def test_an_array_is_a_strongly_typed_leaf(name, value):
    module = MODULES[name](tau=value)
    assert isinstance(module.tau, jax.Array) and not module.tau.weak_type
    assert module.tau.dtype == value.dtype and bool((module.tau == value).all())
    assert any(leaf is module.tau for leaf in jax.tree.leaves(module))
    assert not any(leaf.weak_type for leaf in jax.tree.leaves(module))


@pytest.mark.parametrize("name", NEURONS)
def test_numbers_in_a_quantity_are_constant_and_arrays_in_one_are_not(name):
    tau = jnp.full(3, 10.0) * u.ms
    others = {"tau_I2": 50 * u.ms} if name == "GIF" else {}
    neuron = NEURONS[name](tau=tau, V_th=1 * u.mV, dt=1 * u.ms, **others)
    (leaf,) = jax.tree.leaves(neuron)
    assert not leaf.weak_type and neuron.tau.unit == u.ms
    again = jax.jit(lambda m: m)(neuron)
    assert again.V_th == 1 * u.mV and again.V_reset == 0 * u.mV and again.dt == 1 * u.ms
    assert jax.tree.leaves(NEURONS[name](tau=10 * u.ms, V_th=1 * u.mV, dt=1 * u.ms, **others)) == []


def test_a_constant_in_a_loop_and_under_vmap():
    neuron = nn.LIF(tau=8.0)

    def tick(carry, x):
        neuron, state = carry
        spikes, state = neuron(x, state)
        return (neuron, state), spikes

    xs = jnp.ones((5, 3))
    (after, state), _ = jax.lax.scan(tick, (neuron, neuron.init_state(3)), xs)
    assert after == neuron
    alone = neuron.init_state(3)
    for x in xs:
        alone = neuron(x, alone)[1]
    np.testing.assert_allclose(state.V, alone.V, rtol=1e-12)
    many = eqx.filter_vmap(lambda key: nn.LIF(tau=jr.uniform(key, (3,)), R=2.0))(jr.split(jr.key(0), 4))
    assert many.R == 2.0 and many.tau.shape == (4, 3)
    assert jax.vmap(lambda n, x: n.tau * x, in_axes=(None, 0))(neuron, jnp.ones(2)).tolist() == [8.0, 8.0]


def test_a_constant_gets_another_value_or_is_trained():
    shared = nn.LIF()
    model = {"a": shared, "b": shared, "c": nn.GIF()}
    trained = eqx.tree_at(lambda m: m["b"].tau, model, jnp.full(3, 10.0))
    assert trained["a"].tau == 20.0 and [leaf.shape for leaf in jax.tree.leaves(trained)] == [(3,)]
    slower = dataclasses.replace(shared, tau=40.0)
    assert slower.tau == 40.0 and jax.tree.leaves(slower) == [] and slower.R == shared.R


@pytest.mark.parametrize("value", [jnp.full(3, 10), np.full(3, 10)])
def test_an_array_of_integers_is_a_parameter(value):
    neuron = nn.LIF(tau=value)
    assert jnp.issubdtype(jax.tree.leaves(neuron)[0].dtype, jnp.floating)
    assert jnp.all(neuron.tau == 10)


@pytest.mark.parametrize("value", [-1.0, jnp.array([5.0, 0.0]), np.array([5.0, np.nan])])
def test_times_are_longer_than_zero(value):
    with pytest.raises(ValueError, match=r"tau.*longer than zero"):
        nn.LIF(tau=value)


def test_times_are_longer_than_zero_where_a_neuron_is_made_under_jit():
    short = jnp.array([5.0, 0.0])
    with pytest.raises(ValueError, match=r"tau.*longer than zero"):
        jax.jit(lambda x: nn.LIF(tau=short).tau * x)(1.0)
    assert (jax.jit(lambda x: nn.LIF(tau=x).tau)(short) == short).all()


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32, jnp.float64])
def test_a_constant_has_no_dtype(dtype):
    constant, number = nn.LIF(tau=3.0).tau, 3.0
    x = jnp.asarray([0.5, 2.0], dtype)
    uses = (
        lambda c: x * c,
        lambda c: c / x,
        lambda c: jnp.exp(-1.0 / c) * x,
        lambda c: jnp.maximum(x, c),
        lambda c: jnp.where(x > c, x, c),
        lambda c: jax.jit(lambda c, x: c - x)(c, x),
        lambda c: x.sum() * c,
    )
    for use in uses:
        a, b = use(constant), use(number)
        assert a.dtype == b.dtype == dtype and not a.weak_type and bool((a == b).all())


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("units", [False, True])
def test_states_are_strongly_typed(name, units):
    physical: dict[str, Any] = {"V_th": 1 * u.mV, "A2": -0.1 * u.mA} if units else {}
    names = {f.name for f in dataclasses.fields(nn.GIF)} if name == "GIF" else {"V_th"} if name in NEURONS else set()
    module = MODULES[name](**{k: v for k, v in physical.items() if k in names})
    shape = (2,) if name == "LeakyRateReadout" else (2, 3)
    for state in (module.init_state(shape), module.init_state(shape, jnp.float32)):
        assert not any(leaf.weak_type for leaf in jax.tree.leaves(state))
        assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(module.init_state(shape, jnp.float32)))


class Network(eqx.Module):
    layer: eqx.nn.Linear
    neuron: Any
    readout: eqx.nn.Linear

    def __call__(self, x, state):
        spikes, state = self.neuron(self.layer(x), state)
        return self.readout(spikes), state


def network(neuron, n_in=3, n=8):
    keys = jr.split(jr.key(0), 2)
    return Network(eqx.nn.Linear(n_in, n, key=keys[0]), neuron, eqx.nn.Linear(n, 2, key=keys[1]))


def loss_step(model, state, x, y):
    out, state = model(x, state)
    return jnp.mean((out - y) ** 2), state


@pytest.mark.parametrize("transform", [jax.jit, eqx.filter_jit], ids=["jit", "filter_jit"])
def test_constants_stay_where_the_model_is_carried(transform):
    """The whole of learning in one `jax.jit`, the model in the carry of a loop: only arrays are trained."""
    model = network(nn.LIF(tau=jnp.full(8, 10.0)))
    xs, ys = jr.normal(jr.key(2), (12, 3)), jr.normal(jr.key(3), (12, 2))
    online, optimiser = etr.etrace_grad(loss_step, etr.DRTRL()), optax.sgd(0.1)

    def epoch(model):
        state = model.neuron.init_state(8)
        moments = optimiser.init(eqx.filter(model, eqx.is_inexact_array))

        def tick(carry, now):
            model, moments, state, trace = carry
            grads, state, trace = online(model, state, trace, *now)
            updates, moments = optimiser.update(grads, moments)
            return (eqx.apply_updates(model, updates), moments, state, trace), None

        begin = (model, moments, state, online.init(model, state, xs[0], ys[0]))
        return jax.lax.scan(tick, begin, (xs, ys))[0][0]

    learned = transform(epoch)(model)
    assert {k: v for k, v in numbers(learned.neuron).items() if k != "tau"} == {"R": 20.0, "V_th": 1.0, "dt": 1.0}
    assert bool((learned.neuron.tau != model.neuron.tau).any())


@pytest.mark.parametrize("name", NEURONS)
def test_a_default_neuron_fires_behind_a_linear_layer_and_learns(name):
    """100 channels of spikes, 0.2 per step: neurons fire, and weights have a gradient, which is that of BPTT."""
    model = network(NEURONS[name](), 100, 64)
    xs = jr.bernoulli(jr.key(1), 0.2, (100, 100)).astype(float)
    ys = jr.normal(jr.key(2), (100, 2))
    state = model.neuron.init_state(64)

    def tick(state, x):
        spikes, state = model.neuron(model.layer(x), state)
        return state, (spikes, state.V)

    spikes, V = jax.lax.scan(tick, state, xs)[1]
    assert 0.02 < spikes.mean() < 0.3 and (spikes.sum(0) > 0).mean() > 0.4
    assert model.neuron.surrogate.derivative(V - 1.0).mean() > 0.03
    online = etr.etrace_grad(loss_step, etr.DRTRL())
    grads = eqx.filter_jit(online.scan)(model, state, online.init(model, state, xs[0], ys[0]), xs, ys)[0]
    # The weights of a fifth of the units sum to so little that these never come near the threshold.
    assert (jnp.abs(grads.layer.weight).max(1) > 0).mean() > 0.7
    assert relative(grads.layer.weight, bptt(loss_step, model, state, xs, ys).layer.weight) < 1e-9

"""Losses of one step, against optax and loops, and their online gradients against BPTT."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from oracle import bptt, relative

import eqx_etrace as etr
from eqx_etrace import losses, nn

pytestmark = pytest.mark.outside_sample  # what is tested hardly depends on the version of JAX

RNG = np.random.default_rng(9)


def normal(*shape):
    return jnp.asarray(RNG.normal(size=shape))


@pytest.mark.parametrize("lanes", [(), (2, 3)])
def test_cross_entropy_is_that_of_a_loop(lanes):
    logits, label = 3 * normal(*lanes, 5), jnp.asarray(RNG.integers(0, 5, lanes))
    weight = RNG.uniform(0, 2, lanes)
    total = 0.0
    for lane in np.ndindex(*lanes):
        p = np.exp(logits[lane]) / np.exp(logits[lane]).sum()
        total -= float(weight[lane]) * math.log(p[label[lane]]) / max(1, math.prod(lanes))
    assert losses.cross_entropy(logits, label, jnp.asarray(weight)) == pytest.approx(total, rel=1e-12)
    wanted = optax.softmax_cross_entropy_with_integer_labels(logits, label).mean()
    assert losses.cross_entropy(logits, label) == pytest.approx(float(wanted), rel=1e-12)
    found = jax.grad(losses.cross_entropy)(logits, label)
    by_optax = jax.grad(lambda y: optax.softmax_cross_entropy_with_integer_labels(y, label).mean())(logits)
    np.testing.assert_allclose(found, by_optax, rtol=1e-10, atol=1e-14)


def test_large_logits_are_no_trouble():
    logits, label = jnp.asarray([[1e4, 0.0, -1e4], [-jnp.inf, 0.0, 0.0]]), jnp.asarray([2, 1])
    value, slope = jax.value_and_grad(losses.cross_entropy)(logits, label)
    assert value == pytest.approx((2e4 + math.log(2)) / 2)
    np.testing.assert_allclose(slope, [[0.5, 0.0, -0.5], [0.0, -0.25, 0.25]])
    assert losses.cross_entropy(jnp.asarray([5.0, 1.0], jnp.float16), 0).dtype == jnp.float16


@pytest.mark.parametrize("weight", [jnp.asarray([1.0, 0.0]), jnp.asarray([True, False]), jnp.asarray([1, 0])])
def test_what_is_not_asked_for_has_no_part(weight):
    """Whatever its label and its logits are."""
    logits, label = jnp.asarray([[0.3, 1.2], [jnp.inf, jnp.nan]]), jnp.asarray([1, -1])
    value, slope = jax.value_and_grad(losses.cross_entropy)(logits, label, weight)
    assert value == pytest.approx(math.log(1 + math.exp(0.3 - 1.2)) / 2)
    assert slope[0].all() and not slope[1].any()
    assert losses.cross_entropy(logits, label, 0.0) == 0.0


@pytest.mark.parametrize("label", [-1, 3])
def test_a_traced_label_that_is_no_class_spoils_the_loss(label):
    """And is not taken for another class."""
    assert jnp.isnan(jax.jit(losses.cross_entropy)(normal(3), jnp.asarray(label)))


@pytest.mark.parametrize(("tau", "dt"), [(10.0, 1.0), (4, 0.5)])
def test_van_rossum_is_the_distance_of_filtered_trains(tau, dt):
    """The paper's: each spike a kernel, the squared difference of the two sums, over time."""
    one, two = RNG.random((2, 60, 3)) < 0.1
    time = dt * np.arange(60)
    wanted = 0.0
    for unit in range(3):
        f, g = np.zeros(60), np.zeros(60)
        for train, smooth in ((one, f), (two, g)):
            for spike in time[train[:, unit]]:
                smooth += (time >= spike) * np.exp(-np.maximum(time - spike, 0) / tau)
        wanted += dt / tau * ((f - g) ** 2).sum()
    distance = losses.VanRossum(tau, dt)
    d, total = distance.init_state(3), 0.0
    for z, target in zip(jnp.asarray(one, float), jnp.asarray(two, float), strict=True):
        loss, d = distance(z, target, d)
        total += float(loss)
    assert total == pytest.approx(wanted, rel=1e-12)


def test_van_rossum_of_single_spikes():
    """One spike against none is 1/2 as steps become short; two far apart are 1."""
    distance = losses.VanRossum(tau=10.0, dt=0.1)

    def between(one, two):
        one, two = (jnp.zeros((4000, 1)).at[jnp.asarray(spikes, int)].set(1.0) for spikes in (one, two))

        def body(d, now):
            loss, d = distance(now[0], now[1], d)
            return d, loss

        return float(jax.lax.scan(body, distance.init_state(1), (one, two))[1].sum())

    assert between([5], []) == pytest.approx(0.01 / (1 - math.exp(-0.02)), rel=1e-9)
    assert between([5], []) == pytest.approx(0.5, abs=0.006)
    assert between([5], [2000]) == pytest.approx(1.0, abs=0.011)
    assert between([5], [5]) == 0.0
    assert distance.init_state((2, 3), jnp.float16).dtype == jnp.float16


def network(recurrent):
    distance, neuron = losses.VanRossum(tau=8.0), nn.LIF(tau=10.0, R=10.0)

    def loss_step(model, state, x, target):
        n, d = state
        back = model["back"] @ neuron.spike(n) if recurrent else 0.0
        z, n = neuron(model["w"] @ x + back, n)
        loss, d = distance(z, target, d)
        return loss, (n, d)

    model = {"w": normal(4, 3), **({"back": 0.3 * normal(4, 4)} if recurrent else {})}
    return loss_step, model, (neuron.init_state(4), distance.init_state(4))


@pytest.mark.parametrize("window", [0, 5])
def test_an_online_gradient_of_the_distance_is_that_of_bptt(window):
    """Of units without recurrent weights, and the report says so before."""
    xs, targets = 2 * normal(25, 3), jnp.asarray(RNG.random((25, 4)) < 0.2, float)
    loss_step, model, state = network(False)
    online = etr.etrace_grad(loss_step, etr.DRTRL(), window=window)
    graph = online.graph(model, state, xs[0], targets[0])
    assert all(row.exact for row in graph.report(etr.DRTRL()).rows)
    assert len(graph.hidden_groups) == 1 and graph.hidden_groups[0].num_states == 2
    found, _, _ = online.scan(model, state, online.init(model, state, xs[0], targets[0]), xs, targets)
    wanted = bptt(loss_step, model, state, xs, targets)
    assert abs(wanted["w"]).max() > 1e-2 and relative(found["w"], wanted["w"]) < 1e-12


def test_with_recurrent_weights_the_report_says_that_it_is_not():
    loss_step, model, state = network(True)
    report = etr.compile_graph(loss_step, model, state, jnp.ones(3), jnp.ones(4)).report(etr.DRTRL())
    assert not any(row.exact for row in report.rows)


def test_cross_entropy_in_a_step_is_exact():
    """With weights by lane, in a batch."""
    xs, labels, asked = 2 * normal(12, 2, 3), jnp.asarray([1, 0]), jnp.asarray(RNG.random((12, 2)) < 0.5)

    def loss_step(w, r, x, asked):
        r = 0.9 * r + jnp.tanh(x @ w.T)
        return losses.cross_entropy(r, labels, asked), r

    w, r = normal(4, 3), jnp.zeros((2, 4))
    online = etr.etrace_grad(loss_step, etr.DRTRL())
    found, _, _ = online.scan(w, r, online.init(w, r, xs[0], asked[0]), xs, asked)
    assert relative(found, bptt(loss_step, w, r, xs, asked)) < 1e-12


Y, L = jnp.ones((2, 3)), jnp.asarray([0, 1])
ROSSUM = losses.VanRossum(5.0)
WRONG = {
    "a one-hot code": (lambda: losses.cross_entropy(Y, jnp.eye(3)[:2]), "not its one-hot code|type"),
    "one label for two lanes": (lambda: losses.cross_entropy(Y, L[0]), r"one label for each lane, \[2\]|type"),
    "labels along the wrong axis": (lambda: losses.cross_entropy(Y.T, L), r"`label` has the shape \[2\]|type"),
    "no such class": (lambda: losses.cross_entropy(Y, L + 2), "`label` is 3, and there are 3 classes, 0 to 2"),
    "a class below zero": (lambda: losses.cross_entropy(Y, L - 1), "`label` is -1.*pass a `weight` of 0"),
    "weights of other lanes": (lambda: losses.cross_entropy(Y, L, jnp.ones(3)), r"one for each lane, \[2\]"),
    "weights of classes": (lambda: losses.cross_entropy(Y, L, Y), r"`weight` has the shape \[2, 3\]"),
    "no time constant": (lambda: losses.VanRossum(0.0), "`tau` of `VanRossum` is 0.0; it must be finite and longer"),
    "an endless step": (lambda: losses.VanRossum(1.0, math.inf), "`dt` of `VanRossum` is inf"),
    "a trained time constant": (lambda: losses.VanRossum(jnp.ones(())), "it is a constant|type"),  # type: ignore[arg-type]
    "a target of other units": (lambda: ROSSUM(jnp.ones(3), jnp.ones(4), jnp.ones(3)), "all must be alike|type"),
    "a state of other units": (lambda: ROSSUM(jnp.ones(3), jnp.ones(3), jnp.ones(1)), "init_state.spikes.shape|type"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_no_loss_is_said(what):
    make, said = WRONG[what]
    with pytest.raises((TypeError, ValueError), match=said):
        make()


def test_labels_of_any_integer_dtype():
    """A label of 8 bits, and more classes than such a number can say."""
    for dtype, classes in ((jnp.uint8, 256), (jnp.int8, 128), (jnp.uint8, 300)):
        loss = losses.cross_entropy(jnp.zeros(classes), jnp.asarray(100, dtype))
        assert float(loss) == pytest.approx(float(np.log(classes)))


def test_numbers_that_are_no_spikes_are_said():
    distance = losses.VanRossum(tau=10.0)
    with pytest.raises(TypeError, match=r"must be a float|Expected type"):
        distance(jnp.zeros(2, jnp.uint8), jnp.ones(2, jnp.uint8), distance.init_state(2))
    with pytest.raises(TypeError, match=r"must be floats|Expected type"):
        losses.cross_entropy(jnp.zeros(3, int), 1)

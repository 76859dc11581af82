"""The loop of `OnlineLearner` against one written out in Python."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import eqx_etrace as etr

T = 12


class Network(eqx.Module):
    cell: eqx.nn.Linear
    readout: eqx.nn.Linear
    activation: Any  # no array: a scan cannot carry it

    def __call__(self, x, h):
        h = 0.9 * h + 0.1 * self.activation(self.cell(x))
        return self.readout(h), h


def loss_step(model, state, x, y):
    out, state = model(x, state)
    return jnp.mean((out - y) ** 2), state


@pytest.fixture
def setting(key):
    keys = jax.random.split(key, 4)
    model = Network(eqx.nn.Linear(3, 5, key=keys[0]), eqx.nn.Linear(5, 2, key=keys[1]), jax.nn.tanh)
    return model, jnp.zeros(5), jax.random.normal(keys[2], (T, 3)), jax.random.normal(keys[3], (T, 2))


def by_hand(online, optimiser, every, model, state, xs, ys):
    """The model, and the losses."""
    trace = online.init(model, state, xs[0], ys[0])
    moments, losses = optimiser.init(eqx.filter(model, eqx.is_inexact_array)), []
    for begin in range(0, T, every):
        piece = slice(begin, begin + every)
        (values, grads), state, trace = online.scan(model, state, trace, xs[piece], ys[piece])
        updates, moments = optimiser.update(grads, moments, eqx.filter(model, eqx.is_inexact_array))
        model = eqx.apply_updates(model, updates)
        losses += list(values)
    return model, jnp.stack(losses)


def arrays(tree):
    return jax.tree.leaves(eqx.filter(tree, eqx.is_array))


def same(a, b):
    return all(bool(jnp.allclose(x, y, rtol=1e-12, atol=1e-12)) for x, y in zip(arrays(a), arrays(b), strict=True))


@pytest.mark.parametrize(("every", "window"), [(1, 0), (3, 1), (None, 4)])
def test_it_is_the_loop_by_hand(setting, every, window):
    model, state, xs, ys = setting
    online, optimiser = etr.etrace_value_and_grad(loss_step, etr.DRTRL(), window=window), optax.sgd(1e-2, momentum=0.9)
    learner = etr.OnlineLearner(online, optimiser, every)
    begin = learner.init(model, state, xs[0], ys[0])
    after, losses = eqx.filter_jit(learner.scan)(begin, xs, ys)
    expected, values = by_hand(online, optimiser, every or T, *setting)
    assert same(after.model, expected) and same(losses, values)
    assert not same(after.model, model)
    assert after.model.activation is jax.nn.tanh


def test_a_call_is_a_step_of_the_scan(setting):
    model, state, xs, ys = setting
    learner = etr.OnlineLearner(etr.etrace_value_and_grad(loss_step, etr.DRTRL()), optax.sgd(1e-2, momentum=0.9))
    learning = begin = learner.init(model, state, xs[0], ys[0])
    losses = []
    for x, y in zip(xs[:3], ys, strict=False):
        learning, loss = eqx.filter_jit(learner)(learning, x, y)
        losses.append(loss)
    expected, values = learner.scan(begin, xs[:3], ys[:3])
    assert same(learning, expected) and same(jnp.stack(losses), values)


def test_pieces_are_the_scan(setting):
    """Of five steps, the last of two; `tqdm` sees how many."""
    model, state, xs, ys = setting
    learner = etr.OnlineLearner(etr.etrace_value_and_grad(loss_step, etr.DRTRL()), optax.sgd(1e-2))
    begin = learner.init(model, state, xs[0], ys[0])
    chunks = learner.chunks(begin, xs, ys, steps=5)
    pieces = list(chunks)
    assert len(chunks) == len(pieces) == 3
    assert [len(losses) for _, losses in pieces] == [5, 5, 2]
    expected, losses = learner.scan(begin, xs, ys)
    assert same(pieces[-1][0], expected) and same(jnp.concatenate([v for _, v in pieces]), losses)
    assert same(list(chunks), pieces)  # it can be gone through again


def test_metrics_come_along(setting):
    model, state, xs, ys = setting

    def with_metric(model, state, x, y):
        loss, state = loss_step(model, state, x, y)
        return (loss, {"error": jnp.sqrt(loss)}), state

    online = etr.etrace_value_and_grad(with_metric, etr.DRTRL(), has_aux=True)
    for every in (1, 3, None):
        learner = etr.OnlineLearner(online, optax.sgd(1e-2), every)
        _, (losses, metrics) = learner.scan(learner.init(model, state, xs[0], ys[0]), xs, ys)
        assert losses.shape == metrics["error"].shape == (T,)
        assert same(metrics["error"], jnp.sqrt(losses))


@pytest.mark.parametrize("every", [1, 3])
def test_complex_parameters_go_down(every):
    """As their real and imaginary parts do."""

    def of_complex(m, h, x):
        h = m["a"] * h + m["b"] * x
        return jnp.abs(h - (1 + 2j) * x) ** 2, h

    def of_parts(m, h, x):
        return of_complex({name: jax.lax.complex(*part) for name, part in m.items()}, h, x)

    model = {"a": jnp.asarray(0.1 + 0.1j), "b": jnp.asarray(0.3 - 0.2j)}
    parts = {name: (value.real, value.imag) for name, value in model.items()}
    xs, learned, lost = jnp.linspace(1.0, 0.5, T).astype(complex), [], []
    for step, m in ((of_complex, model), (of_parts, parts)):
        learner = etr.OnlineLearner(etr.etrace_value_and_grad(step, etr.DRTRL()), optax.sgd(0.05), every)
        learning, losses = learner.scan(learner.init(m, jnp.zeros((), complex), xs[0]), xs)
        learned.append(learning.model)
        lost.append(losses)
    for name, value in learned[0].items():
        np.testing.assert_allclose(value, jax.lax.complex(*learned[1][name]), rtol=1e-12)
    np.testing.assert_allclose(*lost, rtol=1e-12)
    assert lost[0][-1] < lost[0][0] / 2


def test_a_restart_keeps_what_was_learned_alone(setting, key):
    model, state, xs, ys = setting
    rules = etr.DRTRL(), etr.PPProp(0.9), etr.SnAp(2), etr.UORO(key)
    for rule in rules:
        learner = etr.OnlineLearner(etr.etrace_value_and_grad(loss_step, rule), optax.sgd(1e-2, momentum=0.9))
        learning, _ = learner.scan(learner.init(model, state, xs[0], ys[0]), xs, ys)
        again = learner.restart(learning, state)
        fresh = learner.online.init(learning.model, state, xs[0], ys[0])
        assert same(again.model, learning.model) and same(again.moments, learning.moments)
        is_random = rule is rules[-1]
        kept = [(a, b) for a, b in zip(arrays(again.trace), arrays(fresh), strict=True) if eqx.is_inexact_array(a)]
        assert all(bool((a == b).all()) for a, b in kept) and kept
        assert same(
            learner.scan(again, xs, ys)[0].model,
            learner.scan(learning._replace(state=state, trace=fresh), xs, ys)[0].model,
        ) == (not is_random)


def test_a_restart_where_a_flag_says_so(setting):
    """Learners side by side, of which one has a new sequence."""
    model, state, xs, ys = setting
    learner = etr.OnlineLearner(etr.etrace_value_and_grad(loss_step, etr.DRTRL()), optax.sgd(1e-2))
    learning, _ = learner.scan(learner.init(model, state, xs[0], ys[0]), xs, ys)
    arrays_of, rest = eqx.partition(learning, eqx.is_array)
    two = jax.tree.map(lambda a: jnp.stack([a, a]), arrays_of)

    def restarted(one, done):
        return eqx.filter(learner.restart(eqx.combine(one, rest), state + 1, done), eqx.is_array)

    found = jax.jit(jax.vmap(restarted))(two, jnp.asarray([True, False]))
    assert same(jax.tree.map(lambda a: a[0], found), learner.restart(learning, state + 1))
    assert same(jax.tree.map(lambda a: a[1], found), learning)
    assert same(learner.restart(learning, state + 1, False), learning)


def test_seeds_side_by_side(setting):
    """Mapped over models, and differentiated by the learning rate."""
    _, state, xs, ys = setting
    learner = etr.OnlineLearner(etr.etrace_value_and_grad(loss_step, etr.DRTRL()), optax.sgd(1e-2))

    def train(seed):
        keys = jax.random.split(seed)
        model = Network(eqx.nn.Linear(3, 5, key=keys[0]), eqx.nn.Linear(5, 2, key=keys[1]), jax.nn.tanh)
        return learner.scan(learner.init(model, state, xs[0], ys[0]), xs, ys)[1]

    seeds = jax.random.split(jax.random.key(7), 3)
    assert same(jax.vmap(train)(seeds), jnp.stack([train(seed) for seed in seeds]))

    def after(rate):
        tuned = etr.OnlineLearner(learner.online, optax.sgd(rate))
        model = Network(eqx.nn.Linear(3, 5, key=seeds[0]), eqx.nn.Linear(5, 2, key=seeds[1]), jax.nn.tanh)
        return tuned.scan(tuned.init(model, state, xs[0], ys[0]), xs, ys)[1].sum()

    slope, near = jax.grad(after)(0.1), (after(0.1 + 1e-5) - after(0.1 - 1e-5)) / 2e-5
    assert float(slope) == pytest.approx(float(near), rel=1e-6)


LEARNER: Any = etr.OnlineLearner
ONLINE = etr.etrace_value_and_grad(loss_step, etr.DRTRL())
WRONG = {
    "without the loss": (
        lambda: etr.OnlineLearner(etr.etrace_grad(loss_step, etr.DRTRL()), optax.sgd(1.0)),
        "found etrace_grad",
    ),
    "the step": (lambda: LEARNER(loss_step, optax.sgd(1.0)), "found a `function`|Expected type"),
    "a function for an optimiser": (lambda: etr.OnlineLearner(ONLINE, optax.sgd), "as `optax.adam"),
    "no steps": (lambda: etr.OnlineLearner(ONLINE, optax.sgd(1.0), 0), "at least 1 step"),
    "half steps": (lambda: LEARNER(ONLINE, optax.sgd(1.0), 1.5), "must be an integer|Expected type"),
    "a window that a step has not": (
        lambda: etr.OnlineLearner(etr.etrace_value_and_grad(loss_step, etr.DRTRL(), window=8), optax.sgd(1.0)),
        "Pass `every=8` or more",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_learn_is_said(what):
    make, said = WRONG[what]
    with pytest.raises((TypeError, ValueError), match=said):
        make()


def test_sequences_that_do_not_fit_are_said(setting):
    model, state, xs, ys = setting
    learner = etr.OnlineLearner(ONLINE, optax.sgd(1.0), 5)
    learning = learner.init(model, state, xs[0], ys[0])
    with pytest.raises(ValueError, match="2 would be left over"):
        learner.scan(learning, xs, ys)
    with pytest.raises(ValueError, match="`every=5`"):
        learner(learning, xs[0], ys[0])
    with pytest.raises(ValueError, match="at least 1"):
        learner.chunks(learning, xs, ys, steps=0)
    with pytest.raises(ValueError, match="A piece has 7 steps, and an update takes 5"):
        learner.chunks(learning, xs, ys, steps=7)
    with pytest.raises(ValueError, match="The inputs have 12 steps"):
        learner.chunks(learning, xs, ys, steps=5)
    with pytest.raises(ValueError, match=r"The state has \[2, 5\], the one before \[5\]"):
        learner.restart(learning, jnp.zeros((2, 5)))


def test_moments_of_another_optimiser_or_model_are_said(setting):
    model, state, xs, ys = setting
    learner = etr.OnlineLearner(ONLINE, optax.sgd(1e-2, momentum=0.9))
    learning = learner.init(model, state, xs[0], ys[0])
    plain = etr.OnlineLearner(ONLINE, optax.sgd(1e-2)).init(model, state, xs[0], ys[0])
    with pytest.raises(ValueError, match="made by another optimiser"):
        learner.scan(learning._replace(moments=plain.moments), xs, ys)
    with pytest.raises(ValueError, match="other parameters, sizes or constants"):
        smaller = eqx.tree_at(lambda m: m.readout, model, eqx.nn.Linear(5, 1, key=jax.random.key(0)))
        learner.scan(learning._replace(model=smaller), xs, ys)

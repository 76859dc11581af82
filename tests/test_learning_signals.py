"""Credit that comes from elsewhere: guessed, rewarded later, sent back through other weights."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from oracle import bptt, relative

import eqx_etrace as etr
from eqx_etrace import nn

RNG = np.random.default_rng(5)


def normal(*shape):
    return jnp.asarray(RNG.normal(size=shape))


def test_a_synthetic_gradient_of_a_linear_network_becomes_the_true_one():
    """h' = J h and the loss |C h'|^2 / 2: all later losses owe P h to a state, with P = J^T (C^T C + P) J."""
    n = 5
    J, C = normal(n, n), normal(2, n)
    J = 0.6 * J / np.abs(np.linalg.eigvals(J)).max()
    P = jnp.zeros((n, n))
    for _ in range(200):
        P = J.T @ (C.T @ C + P) @ J

    def loss_step(model, h, x):
        h = model @ h + x
        return 0.5 * jnp.sum((C @ h) ** 2), h

    step, optimiser = etr.synthetic_value_and_grad(loss_step), optax.sgd(0.05)

    def one(carry, start):
        """From a state drawn at random, so that all of the guess is asked."""
        learner, moments = carry
        (_, (_, on_learner)), _ = step(J, learner, start, jnp.zeros(n))
        updates, moments = optimiser.update(on_learner, moments)
        return (eqx.apply_updates(learner, updates), moments), None

    learner = etr.SyntheticGradient(jnp.zeros(n))
    (learner, _), _ = jax.lax.scan(one, (learner, optimiser.init(eqx.filter(learner, eqx.is_array))), normal(6000, n))
    assert relative(learner.weight, P) < 1e-3
    assert jnp.abs(learner.bias).max() < 1e-3

    # Right guesses make the sum over steps that of BPTT, here for a start of which nothing else is left.
    right = eqx.tree_at(lambda m: m.weight, learner, P)
    h, total = normal(n), 0.0
    first = h
    for _ in range(60):
        (_, (grads, _)), h = step(J, right, h, jnp.zeros(n))
        total = total + grads
    assert relative(total, bptt(loss_step, J, first, jnp.zeros((200, n)))) < 1e-6


def test_a_zero_guess_is_truncated_bptt():
    W, xs = 0.4 * normal(4, 7), normal(10, 3)

    def loss_step(model, state, x):
        h = jnp.tanh(model["w"] @ jnp.concatenate([state["h"], x]))
        return jnp.sum(jnp.sin(h)), {"h": h, "t": state["t"] + 1}

    state, model = {"h": jnp.zeros(4), "t": jnp.zeros((), int)}, {"w": W, "n": 3}
    learner, step = etr.SyntheticGradient(state), etr.synthetic_value_and_grad(loss_step)
    online = etr.etrace_value_and_grad(loss_step, etr.NoTrace())
    trace, other = online.init(model, state, xs[0]), state
    for x in xs:
        (loss, (grads, on_learner)), state = step(model, learner, state, x)
        (wanted, same), other, trace = online(model, other, trace, x)
        assert loss == wanted and relative(grads["w"], same["w"]) < 1e-12 and grads["n"] is None
        assert jax.tree.structure(on_learner) == jax.tree.structure(learner)
    assert state["t"] == 10


def test_scores_of_lanes_and_of_one():
    model = {"w": normal(3, 2), "name": "policy"}
    grads, decay, reward = [{"w": normal(4, 3, 2), "name": None} for _ in range(3)], 0.9, normal(4)
    lanes, alone = etr.Scores.of(model, lanes=4), [etr.Scores.of(model) for _ in range(4)]
    for t, g in enumerate(grads):
        by_lane = jnp.where(jnp.arange(4) == t, 0.0, decay)  # an episode of lane t begins
        lanes = lanes.after(g, by_lane)
        alone = [s.after({"w": g["w"][i], "name": None}, float(by_lane[i])) for i, s in enumerate(alone)]
    found = lanes.times(reward)["w"]
    np.testing.assert_allclose(found, sum(s.times(reward[i])["w"] for i, s in enumerate(alone)), rtol=1e-12)
    np.testing.assert_allclose(lanes.times(2.0)["w"], 2 * lanes.values["w"].sum(0), rtol=1e-12)
    with pytest.raises(ValueError, match="one per lane: 4 lanes"):
        lanes.times(jnp.ones(3))
    with pytest.raises(ValueError, match=r"must be \[4, 3, 2\], that of the model, with an axis of 4 lanes in front"):
        lanes.after({"w": normal(3, 2), "name": None}, 0.9)
    with pytest.raises(ValueError, match="first part"):
        lanes.after(({"w": normal(3, 2), "name": None}, ()), 0.9)
    with pytest.raises(ValueError, match="must lie in"):
        alone[0].after({"w": normal(3, 2), "name": None}, 1.5)
    with pytest.raises(ValueError, match="counts lanes"):
        etr.Scores.of(model, lanes=0)


def test_feedback_goes_back_through_other_weights():
    W, B, x, y_bar = normal(2, 5), normal(5, 2), normal(3, 5), normal(3, 2)
    y, pull = jax.vjp(lambda layer, x: layer(x), nn.FeedbackLinear(W, B), x)
    on_layer, on_x = pull(y_bar)
    np.testing.assert_array_equal(y, x @ W.T)
    np.testing.assert_allclose(on_x, y_bar @ B.T, rtol=1e-12)
    np.testing.assert_allclose(on_layer.weight, y_bar.T @ x, rtol=1e-12)
    assert not on_layer.feedback.any()
    on_learned, _ = jax.vjp(lambda layer, x: layer(x), nn.FeedbackLinear(W, B, learned=True), x)[1](y_bar)
    np.testing.assert_allclose(on_learned.feedback, on_layer.weight.T, rtol=1e-12)
    with pytest.raises(ValueError, match=r"must be \[in, out\], \[5, 2\]"):
        nn.FeedbackLinear(W, W)


def leaky(layer):
    def step(model, state, x, y):
        v, r = state
        z = jnp.tanh(0.8 * v + model["w"] @ x)
        r = 0.7 * r + (model["out"](z) if isinstance(layer, nn.FeedbackLinear) else model["out"] @ z)
        return jnp.sum((r - y) ** 2), (z, r)

    return step, {"w": normal(5, 3), "out": layer}


@pytest.mark.parametrize("learned", [False, True])
def test_a_leaky_readout_with_feedback_is_filtered(learned):
    """Exact at every window, for the gradient that goes back through B; Kolen and Pollack's gradients stay alike."""
    layer = nn.FeedbackLinear(normal(2, 5), normal(5, 2), learned)
    step, model = leaky(layer)
    state, xs, ys = (jnp.zeros(5), jnp.zeros(2)), normal(12, 3), normal(12, 2)
    for rule in (etr.DRTRL(), etr.EProp()):
        online = etr.etrace_grad(step, rule)
        assert all(row.exact for row in online.graph(model, state, xs[0], ys[0]).report(rule).rows)
        wanted = bptt(step, model, state, xs, ys)
        for window in (0, 4):
            trace = online.init(model, state, xs[0], ys[0])
            found, _, _ = online.scan(model, state, trace, xs, ys, window=window)
            assert relative(found["w"], wanted["w"]) < 1e-12
            assert relative(found["out"].weight, wanted["out"].weight) < 1e-12
            if learned:
                assert relative(found["out"].feedback, found["out"].weight.T) < 1e-12
    plain, same = leaky(model["out"].weight)
    other = bptt(plain, {**same, "w": model["w"]}, state, xs, ys)
    assert relative(wanted["w"], other["w"]) > 1e-2 and relative(wanted["out"].weight, other["out"]) < 1e-12


def test_kolen_and_pollack_align_feedback():
    """With one optimiser and weight decay B - W^T shrinks by 1 - decay at every update, whatever the gradients."""
    layer = nn.FeedbackLinear(normal(2, 5), normal(5, 2), learned=True)
    optimiser = optax.chain(optax.add_decayed_weights(0.5), optax.sgd(0.1))
    moments, apart = optimiser.init(eqx.filter(layer, eqx.is_array)), layer.feedback - layer.weight.T
    for _ in range(20):
        x, y = normal(5), normal(2)
        grads = jax.grad(lambda layer, x=x, y=y: jnp.sum((layer(x) - y) ** 2))(layer)
        updates, moments = optimiser.update(grads, moments, eqx.filter(layer, eqx.is_array))
        layer = eqx.apply_updates(layer, updates)
    np.testing.assert_allclose(layer.feedback - layer.weight.T, 0.95**20 * apart, rtol=1e-9)


def test_the_rate_penalty_is_that_of_squared_distances():
    """With the average over all steps; as the cotangent that NEST's code puts on spikes."""
    w, xs, target = normal(6, 3), normal(20, 3), 0.3

    def rates(w):
        return jax.nn.sigmoid(xs @ w.T)

    def squared(w):
        return 0.5 * 2.0 * jnp.sum((rates(w).mean(0) - target) ** 2)

    def by_step(w):
        average = rates(w).mean(0)
        return sum(2.0 / 20 * nn.rate_penalty(z, average, target) for z in rates(w))

    np.testing.assert_allclose(jax.grad(by_step)(w), jax.grad(squared)(w), rtol=1e-12)


def test_alif_follows_its_equations():
    neuron = nn.ALIF(tau=8.0, tau_a=30.0, beta=0.4, V_th=1.2, V_reset=0.1, V_rest=0.2, R=1.5, dt=0.5)
    state, V, a, spikes = neuron.init_state(3), np.full(3, 0.2), np.zeros(3), []
    for current in RNG.uniform(0, 4, size=(80, 3)):
        z, state = neuron(jnp.asarray(current), state)
        old = (1.2 + 0.4 * a <= V).astype(float)
        V, a = V - 1.1 * old, np.exp(-0.5 / 30.0) * a + old
        rest = 0.2 + 1.5 * current
        V = rest + (V - rest) * np.exp(-0.5 / 8.0)
        np.testing.assert_allclose(state.V, V, rtol=1e-9)
        np.testing.assert_allclose(state.a, a, rtol=1e-9)
        spikes.append(z)
        np.testing.assert_array_equal(z, 1.2 + 0.4 * a <= V)
    assert 0.02 < np.mean(spikes) < 0.6


@pytest.mark.parametrize(("t_ref", "apart"), [(0.0, 1), (1.0, 1), (3.0, 3), (5.0, 5)])
def test_refractory_time_forbids_spikes(t_ref, apart):
    """A refractory time of k steps forbids spikes in the k - 1 after a spike."""
    neuron = nn.Refractory(nn.LIF(reset="hard"), t_ref)
    state, spikes = neuron.init_state(1), []
    for _ in range(40):
        z, state = neuron(jnp.asarray([4.0]), state)
        spikes.append(float(z[0]))
    assert np.diff(np.flatnonzero(spikes)).tolist() == [apart] * (len(np.flatnonzero(spikes)) - 1)
    assert sum(spikes) > 5


def test_a_refractory_unit_has_no_slope():
    neuron = nn.Refractory(nn.LIF(), 4.0)

    def spikes(V, steps):
        return neuron.emitted(neuron.init_state(1)._replace(neuron=nn.NeuronState(V), steps=steps)).sum()

    slope = jax.grad(spikes)(jnp.asarray([1.0]), jnp.asarray([0]))
    assert slope > 0 and jax.grad(spikes)(jnp.asarray([1.0]), jnp.asarray([2])) == 0
    for wrong, error in [(-1.0, ValueError), (True, TypeError), (jnp.ones(()), TypeError)]:
        with pytest.raises(error):
            nn.Refractory(nn.LIF(), wrong)


NEURONS = [nn.LIF, nn.GIF, nn.ALIF, lambda **k: nn.Refractory(nn.ALIF(**k), 3.0)]


@pytest.mark.sweep(2)
@pytest.mark.parametrize("make", NEURONS)
def test_gradients_of_reset_and_recurrence_are_options(make):
    """Without both a recurrent network is one that e-prop differentiates exactly; with either it is not."""
    w, back, read, xs = normal(6, 3), 0.5 * normal(6, 6), normal(2, 6), normal(15, 3)

    def network(neuron):
        def step(model, state, x):
            z, new = neuron(model["w"] @ x + model["back"] @ neuron.spike(state), state)
            return jnp.sum((read @ z) ** 2), new

        return step

    model = {"w": 0.6 * w, "back": 0.3 * back}
    exact = {}
    for reset in (False, True):
        for recurrent in (False, True):
            neuron = make(reset_gradient=reset, recurrent_gradient=recurrent)
            step, state = network(neuron), neuron.init_state(6)
            online = etr.etrace_grad(step, etr.EProp())
            trace = online.init(model, state, xs[0])
            found, _, _ = online.scan(model, state, trace, xs)
            wanted = bptt(step, model, state, xs)
            exact[reset, recurrent] = online.graph(model, state, xs[0]).report(etr.EProp()).rows[0].exact
            if exact[reset, recurrent]:
                assert relative(found["back"], wanted["back"]) < 1e-12
    assert exact == {(False, False): True, (True, False): True, (False, True): False, (True, True): False}


def test_scores_are_the_backward_view_of_lambda_returns():
    """At fixed weights sum_t delta_t E_t is sum_t (G_t - v_t) dv_t/dtheta, with the lambda-returns of an episode."""
    gamma, lam, steps = 0.9, 0.7, 12
    xs, rewards, state = normal(steps, 3), RNG.normal(size=steps), jnp.zeros(4)
    model = {"a": jnp.full(4, 0.8), "w": normal(4, 3), "r": normal(4)}

    def value(m, h, x):
        h = m["a"] * h + m["w"] @ x
        return m["r"] @ jnp.tanh(h), h

    def values_of(m):
        return jax.lax.scan(lambda h, x: value(m, h, x)[::-1], state, xs)[1]

    v, slopes = np.asarray(values_of(model)), jax.jacrev(values_of)(model)
    returns, ahead = np.zeros(steps), 0.0
    for t in reversed(range(steps)):  # the episode ends after the last step
        behind = v[t + 1] if t + 1 < steps else 0.0
        ahead = returns[t] = rewards[t] + gamma * ((1 - lam) * behind + lam * ahead)
    critic = etr.etrace_vjp(value, etr.DRTRL())
    trace, scores, h, total = (
        critic.init(model, state, xs[0]),
        etr.Scores.of(model),
        state,
        jax.tree.map(jnp.zeros_like, model),
    )
    for t in range(steps):
        _, h, trace, pull = critic(model, h, trace, xs[t])
        scores = scores.after(pull(jnp.ones(()))[0], gamma * lam)
        behind = v[t + 1] if t + 1 < steps else 0.0
        here = scores.times(rewards[t] + gamma * behind - v[t])
        total = jax.tree.map(jnp.add, total, here)
    for name, found in total.items():
        wanted = np.tensordot(returns - v, np.asarray(slopes[name]), 1)
        assert relative(found, wanted) < 1e-12

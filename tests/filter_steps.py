"""Steps whose readouts read a group by a fixed linear map, and what is exact of each; the table of `test_filters`."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

import eqx_etrace as etr

N, K, OUT, B, T = 5, 4, 3, 2, 9
spike = etr.nn.Triangular()


def normal(number: int, *shape: int) -> jax.Array:
    return jax.random.normal(jax.random.key(number), shape)


def parameters() -> dict[str, jax.Array]:
    return {
        "w": normal(0, N, K),
        "u": normal(1, N, N) / 2,
        "o": normal(2, OUT, N),
        "p": normal(3, OUT, OUT) / 2,
        "kappa": jnp.asarray(0.8),
        "each": jnp.asarray([0.7, 0.8, 0.9]),
        "lane": jnp.asarray([0.6, 0.9]),
        "theta": normal(4, N) / 5,
        "gain": normal(5, OUT),
    }


def lif(m, V, x):
    return 0.9 * V + x @ m["w"].T - spike(V - 1)


def out(r, y):
    return jnp.sum((r - y) ** 2)


def leaky(m, s, x, y):
    V, r = s
    V = lif(m, V, x)
    r = 0.8 * r + spike(V - 1) @ m["o"].T
    return out(r, y), (V, r)


def leaky_that_reads_the_old_state(m, s, x, y):
    V, r = s
    new = 0.8 * r + spike(V - 1) @ m["o"].T
    return out(r, y), (lif(m, V, x), new)


def leak_that_is_trained(m, s, x, y):
    V, r = s
    V = lif(m, V, x)
    r = m["kappa"] * r + (1 - m["kappa"]) * (spike(V - 1) @ m["o"].T + m["gain"])
    return out(r, y), (V, r)


def leak_of_every_lane(m, s, x, y):
    V, r = s
    V = lif(m, V, x)
    r = m["lane"][:, None] * r + spike(V - 1) @ m["o"].T
    return out(r, y), (V, r)


def leak_of_every_output(m, s, x, y):
    V, r = s
    V = lif(m, V, x)
    r = m["each"] * r + spike(V - 1) @ m["o"].T
    return out(r, y), (V, r)


def leak_that_the_units_decide(m, s, x, y):
    """One leak for every output; but what decides it meets another output in each."""
    V, r = s
    V = lif(m, V, x)
    r = jax.nn.sigmoid(V.mean()) * r + spike(V - 1) @ m["o"].T
    return out(r, y), (V, r)


def outputs_that_feed_each_other(m, s, x, y):
    V, r = s
    V = lif(m, V, x)
    r = 0.8 * r + r @ m["p"].T + spike(V - 1) @ m["o"].T
    return out(r, y), (V, r)


def reset_between_sequences(m, s, x, y):
    V, r = s
    done = x[:, 0] > 0.8
    V = lif(m, jnp.where(done[:, None], 0.0, V), x)
    r = 0.8 * jnp.where(done[:, None], 0.0, r) + spike(V - 1) @ m["o"].T
    return out(r, y), (V, r)


def held_lanes(m, s, x, y):
    V, r = s
    hold = x[:, 1:2] > 0.5
    new = lif(m, V, x)
    read = 0.8 * r + spike(new - 1) @ m["o"].T
    V, r = jnp.where(hold, V, new), jnp.where(hold, r, read)
    return out(r, y), (V, r)


def two_states_of_a_readout(m, s, x, y):
    V, i, r = s
    V = lif(m, V, x)
    i = 0.7 * i + spike(V - 1) @ m["o"].T
    r = m["kappa"] * r + 0.3 * i
    return out(r, y), (V, i, r)


def resonating_readout(m, s, x, y):
    """Two states that feed each other: c is a full matrix."""
    V, a, b = s
    V = lif(m, V, x)
    z = spike(V - 1) @ m["o"].T
    a, b = 0.8 * a - 0.4 * b + z, 0.4 * a + 0.8 * b
    return out(b, y), (V, a, b)


def filter_behind_a_filter(m, s, x, y):
    V, i, r = s
    V = lif(m, V, x)
    i = 0.7 * i + spike(V - 1) @ m["u"].T
    r = 0.8 * r + i @ m["o"].T
    return out(r, y), (V, i, r)


def nonlinear_behind_a_filter(m, s, x, y):
    """r reads tanh(i): what V's weights do to r through old values of i is dropped, and said to be."""
    V, i, r = s
    V = lif(m, V, x)
    i = 0.7 * i + spike(V - 1) @ m["u"].T
    r = 0.8 * r + jnp.tanh(i) @ m["o"].T
    return out(r, y), (V, i, r)


def adaptive(m, s, x, y):
    V, a, r = s
    z = jax.lax.stop_gradient(spike(V - 1 - a))
    V = 0.9 * V + x @ m["w"].T + z @ m["u"].T - z
    a = 0.95 * a + 0.2 * spike(V - 1 - a)
    r = 0.8 * r + spike(V - 1 - a) @ m["o"].T
    return out(r, y), (V, a, r)


def synapse_and_neuron(m, s, x, y):
    g, V, r = s
    g = 0.7 * g + x @ m["w"].T
    V = 0.9 * V + g - spike(V - 1)
    r = 0.8 * r + spike(V - 1) @ m["o"].T
    return out(r, y), (g, V, r)


def recurrent(m, s, x, y):
    V, r = s
    V = 0.9 * V + x @ m["w"].T + spike(V - 1) @ m["u"].T
    r = 0.8 * r + spike(V - 1) @ m["o"].T
    return out(r, y), (V, r)


def encoder_without_a_state(m, s, x, y):
    r = 0.8 * s + jnp.tanh(x @ m["w"].T) @ m["o"].T
    return out(r, y), r


def two_layers_of_an_encoder(m, s, x, y):
    r = 0.8 * s + jnp.tanh(jnp.tanh(x @ m["w"].T) @ m["u"].T) @ m["o"].T
    return out(r, y), r


def two_linear_maps(m, s, x, y):
    V, r = s
    V = lif(m, V, x)
    r = 0.8 * r + (spike(V - 1) @ m["u"].T) @ m["o"].T
    return out(r, y), (V, r)


def threshold_that_only_the_readout_sees(m, s, x, y):
    V, r = s
    V = 0.9 * V + x @ m["w"].T
    r = 0.8 * r + spike(V - 1 - m["theta"]) @ m["o"].T
    return out(r, y), (V, r)


def gain_of_every_output(m, s, x, y):
    V, r = s
    V = lif(m, V, x)
    r = 0.8 * r + m["gain"] * (spike(V - 1) @ m["o"].T)
    return out(r, y), (V, r)


def residual(m, s, x, y):
    V, h, r = s
    V = lif(m, V, x)
    h = jnp.tanh(0.5 * h + jax.lax.stop_gradient(V) @ m["u"].T)
    r = 0.8 * r + (spike(V - 1) + h) @ m["o"].T
    return out(r, y), (V, h, r)


def side_by_side(m, s, x, y):
    V, h, r = s
    V = lif(m, V, x)
    h = jnp.tanh(0.5 * h + x @ m["w"].T)
    r = 0.8 * r + jnp.concatenate([spike(V - 1), h], -1) @ jnp.concatenate([m["o"], m["p"] @ m["o"]], -1).T
    return out(r, y), (V, h, r)


def one_output(m, s, x, y):
    V, r = s
    V = lif(m, V, x)
    r = 0.8 * r + spike(V - 1) @ m["o"][:1].T
    return out(r, y[:, :1]), (V, r)


def mean_of_all(m, s, x, y):
    V, r = s
    V = lif(m, V, x)
    r = 0.8 * r + spike(V - 1).mean(-1)
    return out(r, y[:, 0]), (V, r)


def fed_back(m, s, x, y):
    V, r = s
    V = 0.9 * V + x @ m["w"].T + jnp.tanh(r) @ m["o"]
    r = 0.8 * r + spike(V - 1) @ m["o"].T
    return out(r, y), (V, r)


def weights_that_change(m, s, x, y):
    V, r = s
    V = lif(m, V, x)
    r = 0.8 * r + spike(V - 1) @ (m["o"] * x[0, 0]).T
    return out(r, y), (V, r)


def weights_that_one_state_makes(m, s, x, y):
    V, r = s
    V = lif(m, V, x)
    r = 0.8 * r + spike(V - 1) @ (m["o"] * jnp.tanh(r[0, 0])).T
    return out(r, y), (V, r)


def leak_by_activity(m, s, x, y):
    V, r = s
    V = lif(m, V, x)
    z = spike(V - 1)
    r = jax.nn.sigmoid(z.mean()) * r + z @ m["o"].T
    return out(r, y), (V, r)


def saturating(m, s, x, y):
    V, r = s
    V = lif(m, V, x)
    r = jnp.tanh(0.8 * r + spike(V - 1) @ m["o"].T)
    return out(r, y), (V, r)


def integrates_old_and_new(m, s, x, y):
    """Two entrances into one readout: spikes of this step, and the membrane of the last."""
    V, r = s
    new = lif(m, V, x)
    r = 0.8 * r + spike(new - 1) @ m["o"].T + V @ (2 * m["o"]).T
    return out(r, y), (new, r)


def permuted(m, s, x, y):
    V, r = s
    V = lif(m, V, x)
    r = 0.8 * r + V[:, ::-1]
    return jnp.sum(r**2 * m["theta"]), (V, r)


def last_activations(m, s, x, y):
    """h is stored, and nobody reads it in the next step: what is cut on the way to it still counts."""
    h, r = s
    h = jnp.tanh(jnp.tanh(x @ m["w"].T) @ m["u"].T)
    r = 0.8 * r + h @ m["o"].T
    return out(r, y), (h, r)


def half_of_a_product(m, s, x, y):
    V, r = s
    V = lif(m, V, x)
    _, z = jnp.split(V @ m["u"], [2], axis=1)
    r = 0.8 * r + z
    return out(r, y), (V, r)


def equal_and_not_the_same(m, s, x, y):
    V, r = s
    V = lif(m, V, x)
    leak = jnp.arctan2(jnp.array([0.0, -0.0, 0.0]), -(m["kappa"] ** 2)) / 4
    r = leak * r + V @ m["o"].T
    return out(r, y), (V, r)


def state_of_one(m, s, x, y):
    """The readout and the neurons keep the same number of units, and share no position."""
    V, r = s
    V = lif(m, V, x)
    r = 0.8 * r + V @ m["u"].T
    return jnp.sum(r**2), (V, r)


ALL = {"w"}
V, R = (B, N), (B, OUT)
CASES: dict[Callable[..., Any], tuple[tuple[tuple[int, ...], ...], set[str], set[str]]] = {
    # the shapes of the states; what is exact with filters, and without, of the parameters that are not zero
    leaky: ((V, R), {"w", "o"}, {"o"}),
    leaky_that_reads_the_old_state: ((V, R), {"w", "o"}, {"o"}),
    leak_that_is_trained: ((V, R), {"w", "o", "kappa", "gain"}, {"o", "kappa", "gain"}),
    leak_of_every_lane: ((V, R), {"w", "o", "lane"}, {"o", "lane"}),
    leak_of_every_output: ((V, R), {"o", "each"}, {"o", "each"}),
    outputs_that_feed_each_other: ((V, R), set(), set()),
    reset_between_sequences: ((V, R), {"w", "o"}, {"o"}),
    held_lanes: ((V, R), {"w", "o"}, {"o"}),
    two_states_of_a_readout: ((V, R, R), {"w", "o", "kappa"}, {"o", "kappa"}),
    resonating_readout: ((V, R, R), {"w", "o"}, {"o"}),
    filter_behind_a_filter: ((V, V, R), {"w", "u", "o"}, {"o"}),
    nonlinear_behind_a_filter: ((V, V, R), {"u", "o"}, {"o"}),
    adaptive: ((V, V, R), {"w", "u", "o"}, {"o"}),
    synapse_and_neuron: ((V, V, R), {"w", "o"}, {"o"}),
    recurrent: ((V, R), {"o"}, {"o"}),
    encoder_without_a_state: ((R,), {"w", "o"}, {"o"}),
    two_layers_of_an_encoder: ((R,), {"u", "o"}, {"o"}),
    two_linear_maps: ((V, R), {"w", "u", "o"}, {"o"}),
    threshold_that_only_the_readout_sees: ((V, R), {"w", "theta", "o"}, {"o"}),
    gain_of_every_output: ((V, R), {"o", "gain"}, {"o", "gain"}),
    residual: ((V, V, R), {"w", "u", "o"}, {"o"}),
    side_by_side: ((V, V, R), {"w", "o", "p"}, {"o", "p"}),
    one_output: ((V, (B, 1)), {"w", "o"}, {"o"}),
    mean_of_all: ((V, (B,)), {"w"}, set()),
    fed_back: ((V, R), set(), set()),
    weights_that_change: ((V, R), set(), set()),
    weights_that_one_state_makes: ((V, R), set(), set()),
    leak_by_activity: ((V, R), {"o"}, {"o"}),
    saturating: ((V, R), {"o"}, {"o"}),
    integrates_old_and_new: ((V, R), {"w", "o"}, {"o"}),
    permuted: ((V, V), {"w", "theta"}, {"w", "theta"}),
    last_activations: ((V, R), {"u", "o"}, {"o"}),
    half_of_a_product: ((V, R), {"u", "w"}, {"u"}),
    equal_and_not_the_same: ((V, R), {"o"}, {"o"}),
    state_of_one: ((V, V), {"w", "u"}, {"u"}),
}


def inputs_of(shapes: tuple[tuple[int, ...], ...]) -> tuple[Any, Any, tuple[jax.Array, jax.Array]]:
    every = [0.3 * normal(20 + i, *shape) for i, shape in enumerate(shapes)]
    state = tuple(every) if len(every) > 1 else every[0]
    return parameters(), state, (normal(30, T, B, K), normal(31, T, B, OUT))

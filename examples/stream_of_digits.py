"""A stream of handwritten digits, a spiking network that reads it, and two ways to learn from it.

The digits come one after the other, the upper half and then the lower half, each held for a few milliseconds, and
nothing is ever reset. At every millisecond the network says which digit it sees and is told the right one. The online
learner changes its weights at every millisecond. Backpropagation through time (BPTT) has to stop somewhere, and makes
one update for all steps of a stretch.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import eqx_etrace as etr

PIXELS = 32  # of a half
HOLD = 8  # ms for which each half is shown
STEPS = 2 * HOLD  # ms per digit
LANES = 32  # streams that are read side by side


# The network: pure functions of a module and an explicit state.


class State(NamedTuple):
    neu: etr.nn.NeuronState
    out: etr.nn.ReadoutState


class SpikingRNN(eqx.Module):
    syn: eqx.nn.Linear
    neu: etr.nn.LIF
    out: etr.nn.LeakyRateReadout

    def __init__(self, n_in: int, n_rec: int, n_out: int, *, key: PRNGKeyArray) -> None:
        syn, out = jr.split(key)
        self.syn = eqx.nn.Linear(n_in + n_rec, n_rec, key=syn)
        self.neu = etr.nn.LIF(tau=5.0, R=20.0)
        self.out = etr.nn.LeakyRateReadout(n_rec, n_out, tau=10.0, key=out)

    def init_state(self) -> State:
        return State(self.neu.init_state(self.out.weight.shape[1]), self.out.init_state())

    def __call__(self, x: Float[Array, " n_in"], state: State) -> tuple[Float[Array, " n_out"], State]:
        current = self.syn(jnp.concatenate([x, self.neu.spike(state.neu)]))
        spikes, neu = self.neu(current, state.neu)
        logits, out = self.out(spikes, state.out)
        return logits, State(neu, out)


def loss_step(
    model: SpikingRNN, state: State, x: Float[Array, "lanes n_in"], label: Int[Array, " lanes"]
) -> tuple[Float[Array, ""], State]:
    logits, state = jax.vmap(model)(x, state)
    return optax.softmax_cross_entropy_with_integer_labels(logits, label).mean(), state


def at_rest(model: SpikingRNN, lanes: int) -> State:
    return jax.tree.map(lambda s: jnp.broadcast_to(s, (lanes, *s.shape)), model.init_state())


# Two ways to learn a stretch of the stream. Both take and return what they carry on to the next one.


class Learner(NamedTuple):
    start: Callable[[SpikingRNN, Array, Array], Any]
    """What is carried, before the first step."""
    learn: Callable[..., tuple[Any, Array]]
    """Of a stretch: (carry, xs, labels) -> (carry, losses), the time axis first."""


def online_learner(optimiser: optax.GradientTransformation, static: SpikingRNN) -> Learner:
    online = etr.etrace_value_and_grad(loss_step, etr.DRTRL())

    def start(model: SpikingRNN, x: Array, label: Array) -> Any:
        state = at_rest(model, len(label))
        arrays = eqx.filter(model, eqx.is_inexact_array)
        return arrays, optimiser.init(arrays), state, online.init(model, state, x, label)

    def tick(carry: Any, now: tuple[Array, Array]) -> tuple[Any, Array]:
        arrays, moments, state, trace = carry
        (loss, gradients), state, trace = online(eqx.combine(arrays, static), state, trace, *now)
        updates, moments = optimiser.update(gradients, moments, arrays)
        return (eqx.apply_updates(arrays, updates), moments, state, trace), loss

    return Learner(start, lambda carry, xs, labels: jax.lax.scan(tick, carry, (xs, labels)))


def bptt_learner(optimiser: optax.GradientTransformation, static: SpikingRNN) -> Learner:
    def start(model: SpikingRNN, x: Array, label: Array) -> Any:
        arrays = eqx.filter(model, eqx.is_inexact_array)
        return arrays, optimiser.init(arrays), at_rest(model, len(label))

    def learn(carry: Any, xs: Array, labels: Array) -> tuple[Any, Array]:
        arrays, moments, state = carry

        def total(arrays: Any) -> Any:
            def tick(state: State, now: tuple[Array, Array]) -> tuple[State, Array]:
                loss, state = loss_step(eqx.combine(arrays, static), state, *now)
                return state, loss

            state_at_end, losses = jax.lax.scan(tick, state, (xs, labels))
            return losses.mean(), (losses, state_at_end)

        gradients, (losses, state) = jax.grad(total, has_aux=True)(arrays)
        updates, moments = optimiser.update(gradients, moments, arrays)
        return (eqx.apply_updates(arrays, updates), moments, state), losses

    return Learner(start, learn)


LEARNERS = {"online": online_learner, "BPTT": bptt_learner}


def memory(make: Callable[..., Learner], model: SpikingRNN, steps: int) -> int:
    """Bytes that it takes to learn from a stretch of so many steps: what is carried, and what XLA sets aside."""
    learner = make(optax.adam(1e-3), eqx.filter(model, eqx.is_inexact_array, inverse=True))
    carry = learner.start(model, jnp.zeros((LANES, PIXELS)), jnp.zeros(LANES, jnp.int32))
    xs, labels = (
        jax.ShapeDtypeStruct((steps, LANES, PIXELS), jnp.float32),
        jax.ShapeDtypeStruct((steps, LANES), jnp.int32),
    )
    compiled = jax.jit(learner.learn, donate_argnums=0).lower(carry, xs, labels).compile()
    analysis = compiled.memory_analysis()
    assert analysis is not None, "this backend does not say"
    return sum(leaf.nbytes for leaf in jax.tree.leaves(carry)) + analysis.temp_size_in_bytes


# Data: a stream, and held-out digits that are read as one, too.


class Digits(NamedTuple):
    images: np.ndarray
    labels: np.ndarray

    def stream(self, which: Int[np.ndarray, "count lanes"]) -> tuple[Array, Array]:
        """Halves, each held, digit after digit: (time, lanes, pixels) and (time, lanes)."""
        halves = self.images[which].reshape(*which.shape, 2, PIXELS).repeat(HOLD, axis=2)
        return jnp.asarray(halves.swapaxes(1, 2).reshape(-1, which.shape[1], PIXELS)), jnp.asarray(
            self.labels[which].repeat(STEPS, axis=0)
        )


def load(seed: int) -> tuple[Digits, Digits]:
    pixels, labels = load_digits(return_X_y=True)
    images, labels = np.asarray(pixels, np.float32).reshape(-1, 8, 8) / 16, np.asarray(labels, np.int32)
    seen, held_out = train_test_split(np.arange(len(labels)), test_size=0.25, random_state=seed, stratify=labels)
    return Digits(images[seen], labels[seen]), Digits(images[held_out], labels[held_out])


@eqx.filter_jit
def respond(model: SpikingRNN, xs: Float[Array, "time lanes n_in"]) -> tuple[Array, Array]:
    """The logits and the spikes of every step."""

    def tick(state: State, x: Array) -> tuple[State, tuple[Array, Array]]:
        logits, state = jax.vmap(model)(x, state)
        return state, (logits, model.neu.spike(state.neu))

    return jax.lax.scan(tick, at_rest(model, xs.shape[1]), xs)[1]


def accuracy(model: SpikingRNN, data: Digits) -> float:
    """How often the last millisecond of a digit names it, in a stream of digits never seen."""
    xs, labels = data.stream(np.arange(len(data.labels) // LANES * LANES).reshape(-1, LANES))
    logits, _ = respond(model, xs)
    return float((logits.argmax(-1) == labels)[STEPS - 1 :: STEPS].mean())

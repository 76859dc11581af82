"""What the tasks with cues share: spikes for cues, a recurrent spiking network with adaptive thresholds, its training.

Network and numbers: Bellec et al., "A solution to the learning dilemma for recurrent networks of spiking neurons",
Nature Communications 2020, and its published code. 50 LIF and 50 ALIF neurons, refractory for 5 ms, that hear 40 inputs
and each other, a leaky readout of two logits, a pull of every unit towards 10 Hz. Batches of 64 sequences, Adam at
0.005.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax
from harness import Budget, descend, Fit, fit, Gradient, Outcome, start
from jaxtyping import Array, Bool, Float, Int

import eqx_etrace as etr

LANES, GROUP = 64, 10
RATE = 0.04  # spikes per ms of an input that is active
UNITS, ADAPTING = 100, 50
TAU = 20.0
LEAK = math.exp(-1 / TAU)


class Batch(NamedTuple):
    """Sequences by time."""

    spikes: Float[Array, "time lanes inputs"]
    label: Int[Array, "time lanes"]
    asked: Float[Array, " time"]
    """1 while the answer is asked for, 0 elsewhere."""


def spikes_of(key: Array, groups: list[Bool[Array, "lanes time"]]) -> Float[Array, "time lanes inputs"]:
    """Poisson spikes of three groups of ten inputs, each active where it is said, and of ten that always fire a bit."""
    active = [RATE * group for group in groups]
    chance = jnp.stack([*active, jnp.full(groups[0].shape, RATE / 4)], axis=-1).repeat(GROUP, axis=-1)
    return jr.bernoulli(key, chance).swapaxes(0, 1).astype(jnp.float32)


class State(NamedTuple):
    units: etr.nn.RefractoryState
    logits: Float[Array, "lanes sides"]
    rates: Float[Array, " units"]
    """Spikes per step, of the batch before: what the penalty on rates compares with its target."""


class Network(eqx.Module):
    into: Float[Array, "units inputs"]
    back: Float[Array, "units units"]
    out: Float[Array, "sides units"]
    bias: Float[Array, " sides"]

    def __init__(self, key: Array):
        into, back, out = jr.split(key, 3)
        self.into = jr.normal(into, (UNITS, 4 * GROUP)) / math.sqrt(4 * GROUP)
        self.back = jr.normal(back, (UNITS, UNITS)) / math.sqrt(UNITS)
        self.out = jr.normal(out, (2, UNITS)) / math.sqrt(UNITS)
        self.bias = jnp.zeros(2)


def neuron(tau_a: float, all_credit: bool) -> etr.nn.Refractory:
    """Half of the units adapt. A spike of size 1 lifts V by its weight.

    BPTT takes all credit, through recurrent spikes and through the reset. (Without that through the reset, recurrent
    spikes excite and nothing answers: gradients grow by 1e10 in a sequence, and it does not learn.)
    """
    beta = 1.7 * (1 - math.exp(-1 / tau_a)) / (1 - LEAK)
    alif = etr.nn.ALIF(
        tau=TAU,
        tau_a=tau_a,
        beta=jnp.where(jnp.arange(UNITS) < UNITS - ADAPTING, 0.0, beta),
        V_th=0.6,
        R=1 / (1 - LEAK),
        leaky_reset=False,
        reset_gradient=all_credit,
        recurrent_gradient=all_credit,
    )
    return etr.nn.Refractory(alif, t_ref=5.0)


def loss_step_of(units: etr.nn.Refractory, steps: int, asked_steps: int) -> Callable[..., Any]:
    """The cross entropy while the answer is asked for, and a pull of every unit towards 10 Hz."""
    others = 1 - jnp.eye(UNITS)

    def loss_step(model: Network, state: State, spikes: Array, label: Array, asked: Array) -> Any:
        current = spikes @ model.into.T + units.spike(state.units) @ (model.back * others).T
        z, after = units(current, state.units)
        logits = LEAK * state.logits + z @ model.out.T
        answer = logits + model.bias
        wrong = optax.softmax_cross_entropy_with_integer_labels(answer, label).mean()
        rates = etr.nn.rate_penalty(z.mean(0), state.rates, 0.01)
        loss = asked * wrong / asked_steps + 2 / steps * rates
        return (loss, (jax.nn.softmax(answer), z.mean(0))), State(after, logits, state.rates)

    return loss_step


METHODS = {
    "e-prop": Gradient(etr.EProp(), window=250),
    "BPTT": Gradient(),
    "no trace": Gradient(etr.NoTrace(), window=1),
}


@dataclasses.dataclass(frozen=True)
class Cues:
    """A task of this kind: how batches are drawn, and how long to train."""

    draw: Callable[[Array], Batch]
    steps: int
    asked: int
    tau_a: float
    updates: int

    def train(self, method: str, seed: int, budget: Budget) -> Outcome:
        """By one update per batch; the score is that of batches never seen."""
        begin, batches, held_out = jr.split(jr.key(seed), 3)
        units = neuron(self.tau_a, all_credit=method == "BPTT")
        loss_step = loss_step_of(units, self.steps, self.asked)
        optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.005))

        def respond(gradient: Gradient, model: Any, rates: Array, batch: Batch) -> tuple[Any, Array, Array]:
            state = State(units.init_state((LANES, UNITS)), jnp.zeros((LANES, 2)), rates)
            (_, (answers, spikes)), grads, _ = gradient(loss_step, model, state, *batch)
            said = answers[-self.asked :].mean(0).argmax(-1)
            return grads, spikes.mean(0), (said == batch.label[0]).mean()

        def update(at: Fit, key: Array) -> tuple[Fit, Array]:
            grads, rates, right = respond(METHODS[method], at.model, at.memory, self.draw(key))
            return descend(optimiser, at, grads, rates), right

        at, curve = start(optimiser, Network(begin), jnp.full(UNITS, 0.01)), []
        label = f"{method} {seed}"
        for done, now, right in fit(update, at, batches, budget.of(self.updates, 2), budget, label):
            curve.append((done * LANES, 100 * float(right.mean())))
            at = now
        # No gradient is needed here, and XLA leaves out what is not.
        score = jax.jit(lambda key: respond(Gradient(), at.model, at.memory, self.draw(key))[2])
        tested = [score(key) for key in jr.split(held_out, budget.of(16, 1))]
        return Outcome(100 * float(jnp.stack(tested).mean()), curve)

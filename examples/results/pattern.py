"""Pattern generation: one second of a sum of four sines, from 100 spiking neurons that hear noise.

The input is 100 Poisson spike trains of 50 Hz, drawn once and played again in every update. 100 LIF neurons (30 ms,
threshold 0.03 mV) hear them and each other, and one leaky readout (30 ms) is to follow the target: sines of 1000, 500,
333 and 200 ms, amplitudes 0.5 to 2 and phases drawn per seed, shifted to begin at 0 and scaled to at most 1. A penalty
pulls all rates towards 10 Hz.

Task, network and numbers: the tutorial `eprop_supervised_regression_sine-waves_bsshslm_2020` of NEST, after Bellec et
al., "A solution to the learning dilemma for recurrent networks of spiking neurons", Nature Communications 2020. They
descend plainly; here it is Adam, whose rate falls to 0 along a cosine, from the best of 0.001, 0.003 and 0.01 on
seed 100. BPTT takes all credit, through recurrent spikes and through the reset. Without that through the reset its
gradient grows with each step back, and overflows within the second.
"""

import math
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import optax
from harness import Budget, descend, Fit, fit, Gradient, Outcome, start, Task
from jaxtyping import Array, Float

import eqx_etrace as etr

STEPS, INPUTS, UNITS = 1000, 100, 100
INPUT_RATE, TARGET_RATE, PENALTY = 0.05, 0.01, 300.0  # spikes per ms; what NEST calls c_reg
TAU, V_TH = 30.0, 0.03
LEAK = math.exp(-1 / TAU)
PERIODS = 1000, 500, 333, 200
UPDATES = 2000


def sines(key: Array) -> Float[Array, " time"]:
    """The target of one seed."""
    for_size, for_phase = jr.split(key)
    size = jr.uniform(for_size, (len(PERIODS),), minval=0.5, maxval=2.0)
    phase = jr.uniform(for_phase, (len(PERIODS),), maxval=2 * math.pi)
    t = jnp.arange(STEPS)[:, None]
    total = (size * jnp.sin(phase + 2 * math.pi * t / jnp.array(PERIODS))).sum(1)
    total = total - total[0]
    return total / abs(total).max()


class State(NamedTuple):
    units: etr.nn.NeuronState
    out: Float[Array, " one"]
    rates: Float[Array, " units"]
    """Spikes per step, of the update before: what the penalty on rates compares with its target."""


class Network(eqx.Module):
    into: Float[Array, "units inputs"]
    back: Float[Array, "units units"]
    out: eqx.nn.Linear | etr.nn.FeedbackLinear

    def __init__(self, random_feedback: bool, key: Array):
        into, back, out, feedback = jr.split(key, 4)
        self.into = jr.normal(into, (UNITS, INPUTS)) / math.sqrt(INPUTS)
        self.back = jr.normal(back, (UNITS, UNITS)) / math.sqrt(UNITS)
        weight = jr.normal(out, (1, UNITS)) / math.sqrt(UNITS)
        if random_feedback:
            self.out = etr.nn.FeedbackLinear(weight, jr.normal(feedback, (UNITS, 1)) / math.sqrt(UNITS))
        else:
            linear = eqx.nn.Linear(UNITS, 1, use_bias=False, key=out)
            self.out = eqx.tree_at(lambda layer: layer.weight, linear, weight)


def loss_step_of(neuron: etr.nn.LIF) -> Any:
    """Half the squared error, and the penalty on rates; the mean over time is what is descended."""
    others = 1 - jnp.eye(UNITS)

    def loss_step(model: Network, state: State, spikes: Array, target: Array) -> Any:
        current = model.into @ spikes + (model.back * others) @ neuron.spike(state.units)
        z, units = neuron(current, state.units)
        out = LEAK * state.out + (1 - LEAK) * model.out(z)
        wrong = 0.5 * (out[0] - target) ** 2
        rates = PENALTY / STEPS * etr.nn.rate_penalty(z, state.rates, TARGET_RATE)
        return ((wrong + rates) / STEPS, (wrong, z)), State(units, out, state.rates)

    return loss_step


RATES = {"e-prop": 0.003, "e-prop, random feedback": 0.003, "BPTT": 0.003, "no trace": 0.001}
METHODS = {
    "e-prop": Gradient(etr.EProp(), window=250),
    "e-prop, random feedback": Gradient(etr.EProp(), window=250),
    "BPTT": Gradient(),
    "no trace": Gradient(etr.NoTrace(), window=1),
}


def train(method: str, seed: int, budget: Budget) -> Outcome:
    begin, noise, pattern, steps = jr.split(jr.key(seed), 4)
    spikes = jr.bernoulli(noise, INPUT_RATE, (STEPS, INPUTS)).astype(jnp.float32)
    target = sines(pattern)
    all_credit = method == "BPTT"
    neuron = etr.nn.LIF(
        tau=TAU, V_th=V_TH, R=1.0, leaky_reset=False, reset_gradient=all_credit, recurrent_gradient=all_credit
    )
    loss_step = loss_step_of(neuron)
    model = Network("random" in method, begin)
    updates = budget.of(UPDATES, 10)
    adam = optax.adam(optax.cosine_decay_schedule(RATES[method], updates))
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), adam)

    def respond(at: Fit) -> tuple[Any, Array, Array]:
        state = State(neuron.init_state(UNITS), jnp.zeros(1), at.memory)
        (_, (wrong, z)), grads, _ = METHODS[method](loss_step, at.model, state, spikes, target)
        return grads, z.mean(0), 2 * wrong.mean() / target.var()

    def update(at: Fit, key: Array) -> tuple[Fit, Array]:
        del key  # the same second every time
        grads, rates, score = respond(at)
        return descend(optimiser, at, grads, rates), score

    at = start(optimiser, model, jnp.full(UNITS, TARGET_RATE))
    curve: list[tuple[int, float]] = []
    for done, after, score in fit(update, at, steps, updates, budget, f"{method} {seed}"):
        curve.append((done, float(score.mean())))
        at = after
    return Outcome(float(eqx.filter_jit(respond)(at)[2]), curve)


PATTERN = Task(
    name="pattern",
    title="Pattern generation",
    measure="NMSE",
    seen="updates",
    chance=1.0,
    is_logarithmic=True,
    methods=tuple(METHODS),
    train=train,
    about=__doc__,
    decimals=3,
)

"""Evidence accumulation: which side did most of seven cues come from, a second ago?

Seven cues of 100 ms, one every 150 ms, each from the left or the right, then a silence of 1,050 ms, then 150 ms in
which a third group of inputs asks for the answer. A cue is ten inputs that fire at 40 Hz, and ten more fire at 10 Hz
all the time. One side is given 70 % of the cues on average. 50 LIF and 50 ALIF neurons, whose thresholds remember for
2 s.

Task, network and numbers: Bellec et al., "A solution to the learning dilemma for recurrent networks of spiking
neurons", Nature Communications 2020, figure 4, and its published code.
"""

import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax
from harness import Budget, descend, Fit, fit, Gradient, Outcome, start, Task
from jaxtyping import Array, Float, Int

import eqx_etrace as etr

CUES, CUE, EVERY, RECALL, LANES = 7, 100, 150, 150, 64
STEPS = CUES * EVERY + 1050 + RECALL
GROUP, RATE = 10, 0.04  # inputs of a group, spikes per ms of one that is active
UNITS, ADAPTING = 100, 50
TAU, TAU_A = 20.0, 2000.0
LEAK, FADE = math.exp(-1 / TAU), math.exp(-1 / TAU_A)
BETA = 1.7 * (1 - FADE) / (1 - LEAK)


class Batch(NamedTuple):
    spikes: Float[Array, "time lanes inputs"]
    label: Int[Array, "time lanes"]
    asked: Float[Array, " time"]


def draw(key: Array, lanes: int = LANES) -> Batch:
    """Sequences, their answers, and when these are asked for."""
    side, cue, noise = jr.split(key, 3)
    mostly = jnp.where(jr.bernoulli(side, 0.5, (lanes, 1)), 0.7, 0.3)
    cues = jr.bernoulli(cue, mostly, (lanes, CUES)).astype(int)
    t = jnp.arange(STEPS)
    is_cue = (t < CUES * EVERY) & (t % EVERY >= EVERY - CUE)
    shown = cues[:, jnp.minimum(t // EVERY, CUES - 1)]
    asked = t >= STEPS - RECALL
    groups = [is_cue & (shown == 0), is_cue & (shown == 1), jnp.broadcast_to(asked, shown.shape)]
    chance = jnp.stack([*(RATE * g for g in groups), jnp.full(shown.shape, RATE / 4)], axis=-1).repeat(GROUP, axis=-1)
    label = jnp.broadcast_to((cues.sum(1) > CUES // 2).astype(int), (STEPS, lanes))
    return Batch(jr.bernoulli(noise, chance).swapaxes(0, 1).astype(jnp.float32), label, asked.astype(jnp.float32))


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


def neuron(all_credit: bool) -> etr.nn.Refractory:
    """Half of the units adapt. A spike of size 1 lifts V by its weight.

    BPTT takes all credit, through recurrent spikes and through the reset. (Without that through the reset, recurrent
    spikes excite and nothing answers: gradients grow by 1e10 in a sequence, and it does not learn.)
    """
    beta = jnp.where(jnp.arange(UNITS) < UNITS - ADAPTING, 0.0, BETA)
    alif = etr.nn.ALIF(
        tau=TAU,
        tau_a=TAU_A,
        beta=beta,
        V_th=0.6,
        R=1 / (1 - LEAK),
        leaky_reset=False,
        reset_gradient=all_credit,
        recurrent_gradient=all_credit,
    )
    return etr.nn.Refractory(alif, t_ref=5.0)


def loss_step_of(units: etr.nn.Refractory) -> Any:
    """The cross entropy while the answer is asked for, and a pull of every unit towards 10 Hz."""
    others = 1 - jnp.eye(UNITS)

    def loss_step(model: Network, state: State, spikes: Array, label: Array, asked: Array) -> Any:
        current = spikes @ model.into.T + units.spike(state.units) @ (model.back * others).T
        z, after = units(current, state.units)
        logits = LEAK * state.logits + z @ model.out.T
        answer = logits + model.bias
        wrong = optax.softmax_cross_entropy_with_integer_labels(answer, label).mean()
        rates = etr.nn.rate_penalty(z.mean(0), state.rates, 0.01)
        loss = asked * wrong / RECALL + 2 / STEPS * rates
        return (loss, (jax.nn.softmax(answer), z.mean(0))), State(after, logits, state.rates)

    return loss_step


METHODS = {
    "e-prop": Gradient(etr.EProp(), window=250),
    "BPTT": Gradient(),
    "no trace": Gradient(etr.NoTrace(), window=1),
}


def train(method: str, seed: int, budget: Budget) -> Outcome:
    begin, batches, held_out = jr.split(jr.key(seed), 3)
    units = neuron(all_credit=method == "BPTT")
    loss_step = loss_step_of(units)
    model = Network(begin)
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.005))

    def respond(model: Network, rates: Array, batch: Batch) -> Any:
        state = State(units.init_state((LANES, UNITS)), jnp.zeros((LANES, 2)), rates)
        (_, (answers, spikes)), grads, _ = METHODS[method](loss_step, model, state, *batch)
        said = answers[-RECALL:].mean(0).argmax(-1)
        return grads, spikes.mean(0), (said == batch.label[0]).mean()

    def update(at: Fit, key: Array) -> tuple[Fit, Array]:
        grads, rates, right = respond(at.model, at.memory, draw(key))
        return descend(optimiser, at, grads, rates), right

    @jax.jit
    def score(model: Network, rates: Array, key: Array) -> Array:
        return respond(model, rates, draw(key))[2]

    at = start(optimiser, model, jnp.full(UNITS, 0.01))
    curve: list[tuple[int, float]] = []
    for done, now, right in fit(update, at, batches, budget.of(150, 2), budget, f"{method} {seed}"):
        curve.append((done * LANES, 100 * float(right.mean())))
        at = now
    tested = [score(at.model, at.memory, key) for key in jr.split(held_out, budget.of(16, 1))]
    return Outcome(100 * float(jnp.stack(tested).mean()), curve)


EVIDENCE = Task(
    name="evidence",
    title="Evidence accumulation",
    measure="right, %",
    seen="sequences",
    chance=50.0,
    methods=tuple(METHODS),
    train=train,
)

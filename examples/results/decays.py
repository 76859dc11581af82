"""Learned decays: an outer gradient goes through whole runs of online learning.

In a run, four leaky units and a readout begin anew and see one sequence of 800 steps once, with an update at every
step. Each run has a target of its own: a direction in a stream of eight white inputs, in a response that rises with a
time constant of 3 steps and falls with one of 10, bent by tanh. The score is the NMSE of the trained network on the
200 steps after, where nothing is learned: while it learns, a readout that follows the target step by step seems good.

What a run does not train is common to all: the leak of each unit, which begins between 1 and 4 steps, and two rates of
plain descent, for input weights and readout. The outer loop learns them by Adam (rate 0.1), by the gradient of the
geometric mean of the scores of 16 runs: through the units, the traces and all updates. Decays are sigmoids, rates
exponentials. By BPTT there is an update every ten steps, with the gradient of these ten.

After Xu, van Hasselt and Silver, "Meta-gradient reinforcement learning", NeurIPS 2018, who learn a discount through
online updates, and Perez-Nieves et al., "Neural heterogeneity promotes robust learning", Nature Communications 2021,
who learn time constants. The task is made up here, and it is the fourth design: on seed 100, with targets that fell
without rising and scores of the steps during learning, "no trace" was as good or better. There the inputs of the last
step alone say most of the target. Chosen on seed 100, too: length and width; of outer rates 0.1 alone was tried.
"""

import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax
from harness import Budget, descend, Fit, fit, Outcome, start, Task
from jaxtyping import Array, Float

import eqx_etrace as etr

INPUTS, UNITS, STEPS, AFTER = 8, 4, 800, 200
FALL, RISE = math.exp(-1 / 10), math.exp(-1 / 3)  # decays of the target
FASTEST, SLOWEST = 1.0, 4.0  # time constants of the units before the outer loop
RUNS, TESTED, SEGMENT = 16, 256, 10
UPDATES, RATE = 100, 0.1
WARM_UP = 100  # steps of input before a run


# One run


class Network(eqx.Module):
    """What a run trains."""

    into: Float[Array, "units inputs"]
    out: Float[Array, " units"]


class Held(eqx.Module):
    """What it does not: squashed."""

    leak: Float[Array, " units"]
    decay: Float[Array, ""]
    """Of the trace, where the rule is `PPProp`."""
    log_rates: Network
    """One for each array."""

    @classmethod
    def begin(cls) -> "Held":
        leak = jnp.exp(-1 / jnp.geomspace(FASTEST, SLOWEST, UNITS))
        rates = Network(jnp.log(jnp.asarray(0.1)), jnp.log(jnp.asarray(0.1)))
        return cls(jax.scipy.special.logit(leak), jnp.zeros(()), rates)


class Run(NamedTuple):
    """Where it begins, and its data."""

    network: Network
    inputs: Float[Array, "time inputs"]
    targets: Float[Array, " time"]


def draw(key: Array) -> Run:
    """A task, and weights to begin with."""
    for_direction, for_inputs, for_network = jr.split(key, 3)
    direction = jr.normal(for_direction, (INPUTS,))
    inputs = jr.normal(for_inputs, (WARM_UP + STEPS + AFTER, INPUTS))
    kernel = FALL ** jnp.arange(WARM_UP) - RISE ** jnp.arange(WARM_UP)
    projected = inputs @ direction / jnp.linalg.norm(direction)
    targets = jnp.tanh(jnp.convolve(projected, kernel / jnp.linalg.norm(kernel))[: len(inputs)])
    network = Network(jr.normal(for_network, (UNITS, INPUTS)) / math.sqrt(INPUTS), jnp.zeros(UNITS))
    return Run(network, inputs[WARM_UP:], targets[WARM_UP:])


def loss_step_of(leak: Float[Array, " units"]) -> Any:
    """Units of unit variance, however they leak."""

    def loss_step(network: Network, h: Array, x: Array, target: Array) -> Any:
        h = leak * h + jnp.sqrt(1 - leak**2) * (network.into @ x)
        return 0.5 * (network.out @ jnp.tanh(h) / math.sqrt(UNITS) - target) ** 2, h

    return loss_step


class Method(NamedTuple):
    """How a run learns, and what the outer loop does."""

    rule: Any = None
    """From a decay to a rule."""
    every: int = 1
    leaks_learned: bool = True

    def score(self, held: Held, run: Run) -> Float[Array, ""]:
        """NMSE of the network that a run has trained, on the steps after it, where nothing is learned."""
        loss_step = loss_step_of(jax.nn.sigmoid(held.leak))
        rule = self.rule(jax.nn.sigmoid(held.decay))
        online = etr.etrace_value_and_grad(loss_step, rule, window=self.every)
        rates = jax.tree.map(jnp.exp, held.log_rates)
        learner = etr.OnlineLearner(online, sgd(rates), every=self.every)
        learning = learner.init(run.network, jnp.zeros(UNITS), run.inputs[0], run.targets[0])
        (inputs, inputs_after), (targets, after) = (jnp.split(x, [STEPS]) for x in (run.inputs, run.targets))
        learned, _ = learner.scan(learning, inputs, targets)

        def body(h: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
            return loss_step(learned.model, h, *now)[::-1]

        _, losses = jax.lax.scan(body, learned.state, (inputs_after, after))
        return 2 * losses.mean() / (after**2).mean()

    def mean_score(self, held: Held, key: Array, runs: int) -> Float[Array, ""]:
        """Of many tasks: a geometric mean, which a few runs that diverge do not rule."""
        if not self.leaks_learned:
            held = eqx.tree_at(lambda h: (h.leak, h.decay), held, replace_fn=jax.lax.stop_gradient)
        scores = jax.vmap(lambda key: self.score(held, draw(key)))(jr.split(key, runs))
        return jnp.exp(jnp.log(scores).mean())


def sgd(rates: Network) -> optax.GradientTransformation:
    """Plain descent, with a rate for each array."""

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        del params
        return jax.tree.map(lambda rate, g: -rate * g, rates, updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


METHODS = {
    "online, learned leaks": Method(lambda decay: etr.DRTRL()),
    "online, fixed leaks": Method(lambda decay: etr.DRTRL(), leaks_learned=False),
    "PPProp, learned leaks and decay": Method(lambda decay: etr.PPProp(decay)),
    "BPTT, learned leaks": Method(lambda decay: etr.NoTrace(), every=SEGMENT),
    "no trace, learned leaks": Method(lambda decay: etr.NoTrace()),
}


def train(name: str, seed: int, budget: Budget) -> Outcome:
    tasks, held_out = jr.split(jr.key(seed))
    method, held = METHODS[name], Held.begin()
    adam = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(RATE))
    optimiser = optax.apply_if_finite(adam, max_consecutive_errors=UPDATES)
    value_and_grad = jax.value_and_grad(method.mean_score)

    def update(at: Fit, key: Array) -> tuple[Fit, Array]:
        score, grads = value_and_grad(at.model, key, RUNS)
        return descend(optimiser, at, grads), score

    at = start(optimiser, held)
    curve: list[tuple[int, float]] = []
    for done, after, score in fit(update, at, tasks, budget.of(UPDATES, 4), budget, f"{name} {seed}"):
        curve.append((done * RUNS, float(score.mean())))
        at = after
    return Outcome(float(jax.jit(method.mean_score, static_argnums=2)(at.model, held_out, TESTED)), curve)


DECAYS = Task(
    name="decays",
    title="Learned decays",
    measure="NMSE",
    seen="runs",
    chance=1.0,
    methods=tuple(METHODS),
    train=train,
    about=__doc__,
    decimals=3,
)

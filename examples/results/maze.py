"""A T-maze: what was seen in the first step says which way to turn at the end of the corridor.

An agent goes along a corridor of twenty steps. Only at its beginning it sees where the goal is, 011 or 110; then it
sees 101, and 010 at the junction. It may go north, east, south or west. The goal pays 4; the other side of the
junction, and standing still at a wall, -0.1. Either side ends the episode; the next begins in the same lane with an
empty state.

Maze, rewards, discount 0.98 and lambda 0.8: Bakker, "Reinforcement learning with long short-term memory", NIPS 2001,
section 4.1. There an LSTM learns advantages. Here 32 units whose gates see the input alone (the minimal GRU of Feng et
al., 2024) lead to a policy and a value. All methods are actor-critics, in 32 mazes at once: online there is an update
at every step, the error of temporal differences times the traces of both scores; by BPTT there is one every 32 steps,
with advantages by the same lambda, which is the same gradient where parameters stand still. Adam, with the best rate of
0.0005, 0.001 and 0.002 online (seed 101), of 0.003, 0.01, 0.03, 0.05 and 0.1 by BPTT (seeds 100 to 103, where 0.03
solves the maze each time); a small reward for entropy.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax
from harness import Budget, descend, Fit, fit, Outcome, start, Task
from jaxtyping import Array, Bool, Float, Int

import eqx_etrace as etr

LENGTH, LANES, SEGMENT = 20, 32, 32
GAMMA, LAMBDA = 0.98, 0.8
GOAL, WALL = 4.0, -0.1
NORTH, EAST, SOUTH, WEST = range(4)
UNITS, GATE = 32, 0.0  # units; the bias of their gates in the beginning
ENTROPY, BY_VALUE = 0.05, 0.5  # weights beside that of the policy
UPDATES = 800  # segments
TESTED, PATIENCE = 1024, 100  # lanes of the test, and the steps they have


# The maze


class Maze(NamedTuple):
    """Lanes of it."""

    place: Int[Array, " lanes"]
    is_north: Bool[Array, " lanes"]
    """Where the goal is."""


def enter(key: Array, lanes: int) -> Maze:
    """At the beginning of the corridor, goals drawn."""
    return Maze(jnp.zeros(lanes, int), jr.bernoulli(key, 0.5, (lanes,)))


def observe(maze: Maze) -> Float[Array, "lanes 3"]:
    """What is seen."""
    seen = jnp.where(maze.is_north[:, None], jnp.array([0, 1, 1]), jnp.array([1, 1, 0]))
    seen = jnp.where((maze.place > 0)[:, None], jnp.array([1, 0, 1]), seen)
    return jnp.where((maze.place == LENGTH)[:, None], jnp.array([0, 1, 0]), seen).astype(jnp.float32)


def go(
    maze: Maze, action: Int[Array, " lanes"], key: Array
) -> tuple[Maze, Float[Array, " lanes"], Bool[Array, " lanes"]]:
    """One step: the maze, the reward, and whether the episode is over; then the maze is a new one."""
    turned = (action == NORTH) | (action == SOUTH)
    over = turned & (maze.place == LENGTH)
    right = over & ((action == NORTH) == maze.is_north)
    place = jnp.clip(maze.place + (action == EAST) - (action == WEST), 0, LENGTH)
    failed = ~right & (place == maze.place)
    again = enter(key, len(place))
    after = Maze(jnp.where(over, 0, place), jnp.where(over, again.is_north, maze.is_north))
    return after, GOAL * right + WALL * failed, over


# The agent


class Agent(eqx.Module):
    gate: eqx.nn.Linear
    content: eqx.nn.Linear
    mixed: eqx.nn.Linear
    policy: eqx.nn.Linear
    value: eqx.nn.Linear

    def __init__(self, key: Array):
        gate, content, mixed, policy, value = jr.split(key, 5)
        linear = eqx.nn.Linear(3, UNITS, key=gate)
        self.gate = eqx.tree_at(lambda layer: layer.bias, linear, GATE * jnp.ones(UNITS))
        self.content = eqx.nn.Linear(3, UNITS, key=content)
        self.mixed = eqx.nn.Linear(UNITS + 3, UNITS, key=mixed)
        self.policy = eqx.nn.Linear(UNITS, 4, key=policy)
        self.value = eqx.nn.Linear(UNITS, "scalar", key=value)


class Said(NamedTuple):
    logits: Float[Array, "*lanes 4"]
    value: Float[Array, "*lanes"]


def look(agent: Agent, h: Float[Array, " units"], seen: Float[Array, " 3"], begins: Bool[Array, ""]) -> Any:
    """One step of one lane: what the agent says, and its new state."""
    h = jnp.where(begins, 0.0, h)
    write = jax.nn.sigmoid(agent.gate(seen))
    h = (1 - write) * h + write * jnp.tanh(agent.content(seen))
    mixed = jnp.tanh(agent.mixed(jnp.concatenate([h, seen])))
    return Said(agent.policy(mixed), agent.value(mixed)), h


look_in_lanes = jax.vmap(look, in_axes=(None, 0, 0, 0))


def entropy(logits: Float[Array, "*lanes 4"]) -> Float[Array, "*lanes"]:
    """Of the policy."""
    return -(jax.nn.softmax(logits) * jax.nn.log_softmax(logits)).sum(-1)


class Walk(NamedTuple):
    """Where the lanes are."""

    maze: Maze
    h: Float[Array, "lanes units"]
    begins: Bool[Array, " lanes"]

    @classmethod
    def of(cls, key: Array, lanes: int) -> "Walk":
        """At the beginning."""
        return cls(enter(key, lanes), jnp.zeros((lanes, UNITS)), jnp.ones(lanes, bool))


class Step(NamedTuple):
    """One step of all lanes, by time."""

    said: Said
    action: Int[Array, "*time lanes"]
    reward: Float[Array, "*time lanes"]
    over: Bool[Array, "*time lanes"]


def act(said: Said, h: Array, walk: Walk, key: Array) -> tuple[Walk, Step]:
    """Draw actions, and do them."""
    for_action, for_goal = jr.split(key)
    action = jr.categorical(for_action, said.logits)
    maze, reward, over = go(walk.maze, action, for_goal)
    return Walk(maze, h, over), Step(said, action, reward, over)


def walk_on(agent: Agent, walk: Walk, keys: Array) -> tuple[Walk, Step]:
    """Some steps, without learning."""

    def body(walk: Walk, key: Array) -> tuple[Walk, Step]:
        said, h = look_in_lanes(agent, walk.h, observe(walk.maze), walk.begins)
        return act(said, h, walk, key)

    return jax.lax.scan(body, walk, keys)


# By BPTT, a segment at a time


def gradient_of_segment(agent: Agent, walk: Walk, keys: Array) -> tuple[Agent, tuple[Walk, Step]]:
    """To be descended: advantages by lambda times the scores of policy and value."""

    def total(agent: Agent) -> tuple[Array, tuple[Walk, Step]]:
        end, steps = walk_on(agent, walk, keys)
        ahead, _ = look_in_lanes(agent, end.h, observe(end.maze), end.begins)
        values = jax.lax.stop_gradient(jnp.concatenate([steps.said.value, ahead.value[None]]))
        goes_on = GAMMA * (1 - steps.over)
        errors = steps.reward + goes_on * values[1:] - values[:-1]

        def back(later: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
            error, goes_on = now
            advantage = error + goes_on * LAMBDA * later
            return advantage, advantage

        _, advantages = jax.lax.scan(back, jnp.zeros(len(walk.begins)), (errors, goes_on), reverse=True)
        chosen = jnp.take_along_axis(jax.nn.log_softmax(steps.said.logits), steps.action[..., None], axis=-1)[..., 0]
        gained = advantages * (chosen + BY_VALUE * steps.said.value) + ENTROPY * entropy(steps.said.logits)
        return -gained.mean(1).sum(), (end, steps)

    return eqx.filter_grad(total, has_aux=True)(agent)


# Online, an update at every step


class Online(NamedTuple):
    """What goes from step to step, beside the agent."""

    walk: Walk
    trace: Any
    scores: etr.Scores
    before: Step


class OnlineActorCritic(NamedTuple):
    optimiser: optax.GradientTransformation
    rule: Any

    def begin(self, agent: Agent, walk: Walk) -> Online:
        """Traces and scores are zero, and nothing was done that could have been wrong."""
        policy, lanes = etr.etrace_vjp(look, self.rule), len(walk.begins)
        trace = jax.vmap(policy.init, in_axes=(None, 0, 0, 0))(agent, walk.h, observe(walk.maze), walk.begins)
        said, zeros = Said(jnp.zeros((lanes, 4)), jnp.zeros(lanes)), jnp.zeros(lanes)
        step = Step(said, jnp.zeros(lanes, int), zeros, jnp.ones(lanes, bool))
        return Online(walk, trace, etr.Scores.of(agent, lanes=lanes), step)

    def gradient(self, agent: Agent, at: Online, key: Array) -> tuple[Agent, Online]:
        """Look, judge the step before by what is seen now, act. The gradient is to be descended."""
        policy = jax.vmap(etr.etrace_vjp(look, self.rule), in_axes=(None, 0, 0, 0, 0))
        seen, begins, lanes = observe(at.walk.maze), at.walk.begins, len(at.walk.begins)
        said, h, trace, pull = policy(agent, at.walk.h, at.trace, seen, begins)
        error = at.before.reward + GAMMA * (1 - at.before.over) * said.value - at.before.said.value
        judged = at.scores.times(error / lanes)
        walk, step = act(said, h, at.walk, key)
        chosen = jax.nn.one_hot(step.action, 4) - jax.nn.softmax(said.logits)
        score, _ = jax.vmap(lambda p, on: p(on))(pull, Said(chosen, jnp.full(lanes, BY_VALUE)))
        scores = at.scores.after(score, GAMMA * LAMBDA * (1 - begins))
        of_entropy = jax.vmap(jax.grad(entropy))(said.logits)
        curious, _ = jax.vmap(lambda p, on: p(on))(pull, Said(of_entropy, jnp.zeros(lanes)))
        grads = jax.tree.map(lambda j, c: -j - ENTROPY * c.mean(0), judged, curious)
        return grads, Online(walk, trace, scores, step)

    def update(self, at: Fit, keys: Array) -> tuple[Fit, Step]:
        """A segment, with an update at every step."""

        def body(at: Fit, key: Array) -> tuple[Fit, Step]:
            grads, memory = self.gradient(at.model, at.memory, key)
            return descend(self.optimiser, at, grads, memory), memory.before

        return jax.lax.scan(body, at, keys)


# Train and test

METHODS = {"online": etr.DRTRL(), "BPTT": None, "no trace": etr.NoTrace()}
RATES = {"online": 0.002, "BPTT": 0.03, "no trace": 0.001}


def train(method: str, seed: int, budget: Budget) -> Outcome:
    begin, place, steps, held_out = jr.split(jr.key(seed), 4)
    agent, walk, rule = Agent(begin), Walk.of(place, LANES), METHODS[method]
    optimiser = optax.chain(optax.clip_by_global_norm(10.0), optax.adam(RATES[method]))
    online = OnlineActorCritic(optimiser, rule)

    def update(at: Fit, key: Array) -> tuple[Fit, Array]:
        keys = jr.split(key, SEGMENT)
        if rule:
            at, done = online.update(at, keys)
        else:
            grads, (walk, done) = gradient_of_segment(at.model, at.memory, keys)
            at = descend(optimiser, at, grads, walk)
        return at, jnp.stack([(done.reward == GOAL).sum(), done.over.sum()])

    at = start(optimiser, agent, online.begin(agent, walk) if rule else walk)
    curve: list[tuple[int, float]] = []
    for done, after, counts in fit(update, at, steps, budget.of(UPDATES, 10), budget, f"{method} {seed}", every=20):
        right, over = counts.sum(0)
        curve.append((done * SEGMENT * LANES, 100 * float(right) / max(1, int(over))))
        at = after
    return Outcome(100 * float(test(at.model, held_out)), curve)


@jax.jit
def test(agent: Agent, key: Array) -> Float[Array, ""]:
    """How many find the goal in their first episode, in time."""
    place, steps = jr.split(key)
    _, done = walk_on(agent, Walk.of(place, TESTED), jr.split(steps, PATIENCE))
    first = done.over.argmax(0)
    return jnp.take_along_axis(done.reward == GOAL, first[None], axis=0).mean()


MAZE = Task(
    name="maze",
    title="A T-maze",
    measure="goals found, %",
    seen="steps",
    chance=50.0,
    methods=tuple(METHODS),
    train=train,
    about=__doc__,
)

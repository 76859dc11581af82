"""Text, letter by letter: the documentation topics of Python's standard library, read once, side by side.

The text is `pydoc_data.topics`, which every Python has: its topics in alphabetical order. It differs from version to
version; the table was made with that of Python 3.11.7, of 465,048 characters. A character that comes less than 20
times counts as one and the same symbol, which leaves 96 symbols. The last tenth is held out.

32 lanes read 32 places of the text, nothing is ever reset, and all of it is read once. A GRU of 128 units and a linear
readout guess the next character. The rules make an update at every step, or every 8; BPTT is truncated: an update
every 8 or 64 steps, by the mean over them, and the state goes on. The score is in bits per character of the text held
out, read in 32 lanes by the weights in the end. All symbols alike, chance, is log2(96) = 6.58 bits; the entropy of the
symbols by their frequency is 4.69.

Adam, the global norm of a gradient clipped at 1. The learning rate of each method is the best of
GRID after half of the text, on seed 100: of the lower three for an update at every step, else of the upper three.

The task is the usual one: Mikolov et al., "Subword language modeling with neural networks", 2012.
"""

import functools
import math
from collections import Counter
from pydoc_data.topics import topics
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from harness import Budget, Outcome, Task
from jaxtyping import Array, Float, Int

import eqx_etrace as etr

LANES, UNITS, RARE = 32, 128, 20
PIECE = 1280  # steps that one point of the curve stands for
SETTLE = 50  # steps of the text held out that are not counted: the state begins at nothing
GRID = (0.001, 0.003, 0.01, 0.03)


# The text


class Text(NamedTuple):
    learn: Int[np.ndarray, "time lanes"]
    held_out: Int[np.ndarray, "time lanes"]
    symbols: int


@functools.cache
def read() -> Text:
    """The text by lanes: each lane is a stretch of it."""
    whole = "\n".join(topics[name] for name in sorted(topics))
    often = sorted(c for c, times in Counter(whole).items() if times >= RARE)
    number = {c: i for i, c in enumerate(often)}
    codes = np.array([number.get(c, len(often)) for c in whole])
    cut = len(codes) * 9 // 10
    return Text(_side_by_side(codes[:cut]), _side_by_side(codes[cut:]), len(often) + 1)


def _side_by_side(codes: Int[np.ndarray, " characters"]) -> Int[np.ndarray, "time lanes"]:
    length = len(codes) // LANES
    return codes[: length * LANES].reshape(LANES, length).T


# The network


class Network(eqx.Module):
    cell: eqx.nn.GRUCell
    readout: eqx.nn.Linear
    symbols: int = eqx.field(static=True)

    def __init__(self, symbols: int, key: Array):
        cell, readout = jr.split(key)
        self.cell = eqx.nn.GRUCell(symbols, UNITS, key=cell)
        self.readout = eqx.nn.Linear(UNITS, symbols, key=readout)
        self.symbols = symbols

    def __call__(self, now: Int[Array, ""], h: Float[Array, " units"]) -> tuple[Array, Array]:
        h = self.cell(jax.nn.one_hot(now, self.symbols), h)
        return self.readout(h), h


def loss_step(model: Network, state: Array, now: Array, after: Array) -> tuple[Array, Array]:
    logits, state = jax.vmap(model)(now, state)
    return optax.softmax_cross_entropy_with_integer_labels(logits, after).mean(), state


# Learning


class Method(NamedTuple):
    """A rule, how many steps make an update, and the learning rate."""

    rule: Any
    every: int
    rate: float


METHODS = {
    "DRTRL": Method(etr.DRTRL(), 1, 0.003),
    "DRTRL, every 8": Method(etr.DRTRL(), 8, 0.01),
    "no trace": Method(etr.NoTrace(), 1, 0.003),
    "BPTT, every 8": Method(etr.NoTrace(), 8, 0.01),
    "BPTT, every 64": Method(etr.NoTrace(), 64, 0.01),
}


def learner_of(method: Method) -> etr.OnlineLearner:
    """Without a trace a window is truncated BPTT."""
    online = etr.etrace_value_and_grad(loss_step, method.rule, window=method.every)
    # A gradient is of the sum over `every` steps: the clip is to see their mean.
    optimiser = optax.chain(optax.scale(1 / method.every), optax.clip_by_global_norm(1.0), optax.adam(method.rate))
    return etr.OnlineLearner(online, optimiser, every=method.every)


@eqx.filter_jit
def bits(model: Network, text: Int[Array, "time lanes"]) -> Array:
    """Per character, by weights that stand still."""

    def body(state: Array, now: Any) -> tuple[Array, Array]:
        loss, state = loss_step(model, state, *now)
        return state, loss

    losses = jax.lax.scan(body, jnp.zeros((LANES, UNITS)), (text[:-1], text[1:]))[1]
    return losses[SETTLE:].mean() / math.log(2)


def train(name: str, seed: int, budget: Budget) -> Outcome:
    return train_by(METHODS[name], seed, budget, f"{name} {seed}")


def train_by(method: Method, seed: int, budget: Budget, label: str = "") -> Outcome:
    """The text once, in pieces."""
    text = read()
    pieces = budget.of((len(text.learn) - 1) // PIECE, 1)
    steps = budget.of(PIECE, 64)
    learn = jnp.asarray(text.learn[: pieces * steps + 1])
    held_out = jnp.asarray(text.held_out[: budget.of(len(text.held_out), 200)])
    learner = learner_of(method)
    begin = learner.init(Network(text.symbols, jr.key(seed)), jnp.zeros((LANES, UNITS)), learn[0], learn[1])
    curve: list[tuple[int, float]] = []
    with budget.bar(total=pieces, desc=label, mininterval=1.0, leave=False) as bar:
        for learning, _ in learner.chunks(begin, learn[:-1], learn[1:], steps=steps):
            curve.append(((len(curve) + 1) * steps * LANES, float(bits(learning.model, held_out))))
            bar.update()
    return Outcome(curve[-1][1], curve)


TEXT = Task(
    name="text",
    title="Text, letter by letter",
    measure="bits per character",
    seen="characters",
    chance=math.log2(read().symbols),
    methods=tuple(METHODS),
    train=train,
    about=__doc__,
    decimals=2,
)

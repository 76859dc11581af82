"""Chaotic series without end: what comes a few steps on, of a system of which one number is seen?

- Henon map: x' = 1 - 1.4 x^2 + y, y' = 0.3 x. x is seen; what comes 2 steps on is asked for.
- Mackey-Glass: dx/dt = 0.2 x(t - 17) / (1 + x(t - 17)^10) - 0.1 x, by Euler steps of 0.1, seen once in 1; 17 on.
- Lorenz: sigma 10, rho 28, beta 8/3, by Runge-Kutta steps of 0.02. x is seen; 10 steps (0.2) on.

Eight lanes are eight paths of one system from starting points of their own. Nothing is ever reset. A leaky tanh network
of 24 units, fully connected, whose leaks are learned, and a linear readout; loss: the mean squared error. Online rules
make an update at every step. BPTT is truncated: an update every 32 steps, by the mean over them, and the state goes on.

The stream has 16,000 steps. The score is the error over the variance (NMSE) on eight other paths of 2,000 steps, from
which nothing is learned. At a constant learning rate it goes up and down, so it is the mean of five times, each after
another 800 steps of the stream, the last at its end. Chance, 1, is to say the mean of the series. The best guess by
the present value alone has 0.27 (Henon), 0.61 (Mackey-Glass) and 0.32 (Lorenz).

Adam. Each method has, for each series, the best learning rate of GRID on seed 100. RTRL and OK(8), which take longest,
were tried at the lower four; OK(8) has RTRL's rate on Lorenz.

Series: Henon, Communications in Mathematical Physics 1976; Mackey and Glass, Science 1977, with the numbers of Jaeger
and Haas, Science 2004; Lorenz, Journal of the Atmospheric Sciences 1963.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from harness import Budget, Outcome, Task
from jaxtyping import Array, Float

import eqx_etrace as etr

LANES, UNITS = 8, 24
STEPS, PIECE, TEST, SETTLE = 16_000, 800, 2000, 100
LAST = 5  # pieces, the mean of whose errors is the score
SPAN = 32  # steps of BPTT
GRID = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03)


# The series, in double precision: rounded to single, a chaotic orbit may close


def henon(rng: np.random.Generator, steps: int) -> Float[np.ndarray, "steps lanes"]:
    x, y = rng.uniform(-0.1, 0.1, (2, LANES))
    seen = []
    for _ in range(1000 + steps):
        x, y = 1 - 1.4 * x**2 + y, 0.3 * x
        seen.append(x)
    return np.array(seen[1000:])


def mackey_glass(rng: np.random.Generator, steps: int) -> Float[np.ndarray, "steps lanes"]:
    past = list(rng.uniform(0.8, 1.2, (170, LANES)))
    x = past[-1]
    for t in range(10 * (1000 + steps)):
        late = past[t]
        x = x + 0.1 * (0.2 * late / (1 + late**10) - 0.1 * x)
        past.append(x)
    return np.array(past[170 + 10_000 :: 10])


def lorenz(rng: np.random.Generator, steps: int, dt: float = 0.02) -> Float[np.ndarray, "steps lanes"]:
    def flow(at: np.ndarray) -> np.ndarray:
        x, y, z = at
        return np.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z])

    at = rng.normal(0, 5, (3, LANES)) + np.array([[0.0], [0.0], [25.0]])
    seen = []
    for _ in range(1000 + steps):
        a = flow(at)
        b = flow(at + dt / 2 * a)
        c = flow(at + dt / 2 * b)
        at = at + dt / 6 * (a + 2 * b + 2 * c + flow(at + dt * c))
        seen.append(at[0])
    return np.array(seen[1000:])


class Series(NamedTuple):
    """How to draw it, how far ahead to look, its mean and standard deviation, and a learning rate for each method."""

    draw: Callable[[np.random.Generator, int], np.ndarray]
    ahead: int
    mean: float
    std: float
    rates: dict[str, float]


def pairs(series: Series, rng: np.random.Generator, steps: int) -> tuple[Array, Array]:
    """What is seen at each step, and what is asked for."""
    path = jnp.asarray((series.draw(rng, steps + series.ahead) - series.mean) / series.std, jnp.float32)
    return path[: -series.ahead], path[series.ahead :]


# The network


class Network(eqx.Module):
    """A leaky tanh network; how slow each unit is, is learned. One step forgets 5 % to 95 % at the beginning."""

    into: Float[Array, " units"]
    back: Float[Array, "units units"]
    bias: Float[Array, " units"]
    slow: Float[Array, " units"]
    readout: eqx.nn.Linear

    def __init__(self, key: Array):
        into, back, readout = jr.split(key, 3)
        self.into = jr.normal(into, (UNITS,))
        self.back = jr.normal(back, (UNITS, UNITS)) / math.sqrt(UNITS)
        self.bias = jnp.zeros(UNITS)
        self.slow = jnp.linspace(-3, 3, UNITS)
        self.readout = eqx.nn.Linear(UNITS, "scalar", key=readout)

    def __call__(self, x: Float[Array, ""], h: Float[Array, " units"]) -> tuple[Array, Array]:
        kept = jax.nn.sigmoid(self.slow)
        h = kept * h + (1 - kept) * jnp.tanh(self.into * x + self.back @ h + self.bias)
        return self.readout(h), h


def loss_step(model: Network, state: Array, x: Array, y: Array) -> tuple[Array, Array]:
    said, state = jax.vmap(model)(x, state)
    return jnp.mean((said - y) ** 2), state


# Learning


class Method(NamedTuple):
    """A rule, and how many steps make an update."""

    rule: Any
    every: int = 1


METHODS = {
    "RTRL": Method(etr.RTRL()),
    "OK(8)": Method(etr.OK(8, jr.key(0))),
    "DRTRL": Method(etr.DRTRL()),
    "SnAp-1": Method(etr.SnAp(1)),
    "PPProp": Method(etr.PPProp(0.9)),
    "no trace": Method(etr.NoTrace()),
    "BPTT": Method(etr.NoTrace(), SPAN),
}


def learner_of(method: Method, rate: float) -> etr.OnlineLearner:
    """Without a trace, a window is truncated BPTT."""
    online = etr.etrace_value_and_grad(loss_step, method.rule, window=method.every)
    return etr.OnlineLearner(online, optax.adam(rate), every=method.every)


@eqx.filter_jit
def error(model: Network, xs: Array, ys: Array) -> Array:
    """By weights that stand still, after a while."""

    def body(state: Array, now: Any) -> tuple[Array, Array]:
        loss, state = loss_step(model, state, *now)
        return state, loss

    losses = jax.lax.scan(body, jnp.zeros((LANES, UNITS)), (xs, ys))[1]
    return losses[SETTLE:].mean() / ys[SETTLE:].var()


def train(series: Series, name: str, seed: int, budget: Budget) -> Outcome:
    return train_at(series, name, series.rates[name], seed, budget)


def train_at(series: Series, name: str, rate: float, seed: int, budget: Budget) -> Outcome:
    """One stream, and the error on another after every piece."""
    pieces, steps = budget.of(STEPS // PIECE, 1), budget.of(PIECE, 320)
    xs, ys = pairs(series, np.random.default_rng([seed, 0]), pieces * steps)
    test = pairs(series, np.random.default_rng([seed, 1]), TEST)
    learner = learner_of(METHODS[name], rate)
    begin = learner.init(Network(jr.key(seed)), jnp.zeros((LANES, UNITS)), xs[0], ys[0])
    curve: list[tuple[int, float]] = []
    with budget.bar(total=pieces, desc=f"{name} {seed}", mininterval=1.0, leave=False) as bar:
        for learning, _ in learner.chunks(begin, xs, ys, steps=steps):
            curve.append(((len(curve) + 1) * steps, float(error(learning.model, *test))))
            bar.update()
    last = [found for _, found in curve[-LAST:]]
    return Outcome(sum(last) / len(last), curve)


def task(name: str, title: str, series: Series) -> Task:
    return Task(
        name=name,
        title=title,
        measure="error over variance",
        seen="steps",
        chance=1.0,
        is_logarithmic=True,
        methods=tuple(METHODS),
        train=functools.partial(train, series),
        about=__doc__,
        decimals=4,
    )


# Learning rates, in the order of METHODS


def _rates(*found: float) -> dict[str, float]:
    return dict(zip(METHODS, found, strict=True))


HENON_SERIES = Series(henon, 2, 0.257, 0.721, _rates(0.003, 0.003, 0.003, 0.003, 0.001, 0.003, 0.03))
MACKEY_SERIES = Series(mackey_glass, 17, 0.93, 0.226, _rates(0.0001, 0.0001, 0.0001, 0.0003, 0.0003, 0.0003, 0.003))
LORENZ_SERIES = Series(lorenz, 10, 0.0, 7.92, _rates(0.0003, 0.0003, 0.001, 0.001, 0.0003, 0.001, 0.01))

HENON = task("henon", "The Henon map", HENON_SERIES)
MACKEY_GLASS = task("mackey_glass", "Mackey-Glass", MACKEY_SERIES)
LORENZ = task("lorenz", "Lorenz", LORENZ_SERIES)

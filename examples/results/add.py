"""The Add ladder: the more a rule keeps of the past, the better it learns which two old bits make the target.

One unbroken stream of 20,000 steps in four lanes. At every step comes a random bit, and a target bit whose chance
depends on the bits of six and ten steps ago. A tanh network of 32 units, of whose recurrent weights one in ten is
there. The score is the cross entropy over the last tenth of the stream: each target is predicted, then learned from.
Whoever knows nothing of the past has 0.6616 nats, whoever knows the bit of six steps ago 0.5192, and both 0.4545.

Online rules make an update at every step. BPTT is truncated: an update every 32 steps, by the mean over them, and the
state goes on. Adam, the global norm of a gradient clipped at 1. The learning rate of each method is the best of
GRID on seed 100; SnAp-3 and RTRL, which take longest, were tried up to 0.008.

Task and ladder: Menick et al., "Practical real time recurrent learning with a sparse approximation", ICLR 2021; the
task and the network are those of `examples/sparsity_ladder.py`.
"""

import importlib
import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import optax
from harness import Budget, Outcome, Task

import eqx_etrace as etr

sys.path.insert(0, str(Path(__file__).parent.parent))
ladder: Any = importlib.import_module("sparsity_ladder")

SPAN = 32  # steps of BPTT
PIECE = 800  # steps that one point of the curve stands for
GRID = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032)


class Method(NamedTuple):
    """A rule, how many steps make an update, and the learning rate."""

    rule: Any
    every: int
    rate: float


METHODS = {
    "no trace": Method(etr.NoTrace(), 1, 0.008),
    "SnAp-1": Method(etr.SnAp(1), 1, 0.001),
    "SnAp-2": Method(etr.SnAp(2), 1, 0.004),
    "SnAp-3": Method(etr.SnAp(3), 1, 0.002),
    "DRTRL": Method(etr.DRTRL(), 1, 0.002),
    "RTRL": Method(etr.RTRL(), 1, 0.004),
    "BPTT": Method(etr.NoTrace(), SPAN, 0.016),
}


def learner_of(method: Method, loss_step: Any) -> etr.OnlineLearner:
    """Without a trace a window is truncated BPTT."""
    online = etr.etrace_value_and_grad(loss_step, method.rule, window=method.every)
    # A gradient is of the sum over `every` steps: the clip is to see their mean.
    optimiser = optax.chain(optax.scale(1 / method.every), optax.clip_by_global_norm(1.0), optax.adam(method.rate))
    return etr.OnlineLearner(online, optimiser, every=method.every)


def train(name: str, seed: int, budget: Budget) -> Outcome:
    return train_by(METHODS[name], seed, budget, f"{name} {seed}")


def train_by(method: Method, seed: int, budget: Budget, label: str = "") -> Outcome:
    """One stream."""
    pieces = budget.of(25, 2)
    rng = np.random.default_rng(seed)
    mask = (rng.random((ladder.UNITS, ladder.UNITS)) < ladder.DENSITY).astype(np.float32)
    model = ladder.Network(mask, rng)
    xs, ys = (jnp.asarray(part, jnp.float32) for part in ladder.add_task(rng, pieces * PIECE))
    learner = learner_of(method, ladder.step_with(mask))
    begin = learner.init(model, jnp.zeros((ladder.BATCH, ladder.UNITS)), xs[0], ys[0])
    found: list[np.ndarray] = []
    curve: list[tuple[int, float]] = []
    with budget.bar(total=pieces, desc=label, mininterval=1.0, leave=False) as bar:
        for _, losses in learner.chunks(begin, xs, ys, steps=PIECE):
            found.append(np.asarray(losses))
            curve.append((len(found) * PIECE, float(losses.mean())))
            bar.update()
    last = np.concatenate(found)[-pieces * PIECE // 10 :]
    return Outcome(float(last.mean()), curve)


ADD = Task(
    name="add",
    title="The Add ladder",
    measure="cross entropy, nats",
    seen="steps",
    chance=0.6616,
    methods=tuple(METHODS),
    train=train,
    about=__doc__,
    decimals=4,
)

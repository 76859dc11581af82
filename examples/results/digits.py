"""Sequential digits: handwritten digits read one pixel at a time, and named after the last.

The 1,797 images of 8 x 8 pixels that come with scikit-learn, as sequences of 64 numbers; a quarter is held out. A layer
of 64 recurrent units and a readout, which is asked after the last pixel alone: all that is learned of the pixels before
is credit through time. Two kinds of units: recurrent trace units, which are linear and each by itself, so that the
trace holds all credit; and a GRU, whose units hear each other.

The task is that of Le, Jaitly and Hinton, "A simple way to initialize recurrent networks of rectified linear units",
2015, with smaller images. Cells: Elelimy et al., NeurIPS 2024; Cho et al., 2014.

The learning rate, 1e-2 of 1e-3, 3e-3, 1e-2 and 3e-2, is the best for BPTT of the GRU on seed 100; all others
use it, too.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from harness import Budget, descend, Fit, fit, Gradient, Outcome, start, Task
from jaxtyping import Array, Float, Int
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import eqx_etrace as etr

PIXELS, UNITS, CLASSES, LANES, RATE = 64, 64, 10, 64, 1e-2


class Network(eqx.Module):
    cell: etr.nn.RTUCell | eqx.nn.GRUCell
    readout: eqx.nn.Linear

    def __init__(self, is_gated: bool, key: Array):
        cell, readout = jr.split(key)
        self.cell = eqx.nn.GRUCell(1, UNITS, key=cell) if is_gated else etr.nn.RTUCell(1, UNITS, key=cell)
        self.readout = eqx.nn.Linear(UNITS if is_gated else 2 * UNITS, CLASSES, key=readout)

    def init_state(self) -> Any:
        """Of one lane."""
        return jnp.zeros(UNITS) if isinstance(self.cell, eqx.nn.GRUCell) else self.cell.init_state()

    def __call__(self, x: Float[Array, " pixel"], state: Any) -> tuple[Float[Array, " classes"], Any]:
        if isinstance(self.cell, eqx.nn.GRUCell):
            state = self.cell(x, state)
            return self.readout(state), state
        out, state = self.cell(x, state)
        return self.readout(out), state


def loss_step(model: Network, state: Any, x: Array, label: Array, asked: Array) -> Any:
    """The cross entropy of a batch, where the answer is asked for."""
    logits, state = jax.vmap(model)(x, state)
    wrong = optax.softmax_cross_entropy_with_integer_labels(logits, label).mean()
    return (asked * wrong, logits.argmax(-1)), state


def load(seed: int) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """(images, labels), seen and held out; images by pixel."""
    pixels, labels = load_digits(return_X_y=True)
    images, labels = jnp.asarray(np.asarray(pixels) / 16, jnp.float32), jnp.asarray(labels, jnp.int32)
    seen, held_out = train_test_split(np.arange(len(labels)), test_size=0.25, random_state=seed, stratify=labels)
    return (images[seen], labels[seen]), (images[held_out], labels[held_out])


METHODS = {
    "trace units, online": (False, Gradient(etr.DRTRL(), window=8)),
    "trace units, BPTT": (False, Gradient()),
    "GRU, online": (True, Gradient(etr.DRTRL(), window=8)),
    "GRU, BPTT": (True, Gradient()),
    "GRU, no trace": (True, Gradient(etr.NoTrace(), window=8)),
}


def sequences(images: Float[Array, "lanes pixels"], labels: Int[Array, " lanes"]) -> tuple[Array, Array, Array]:
    """A batch by time: pixels, labels, and where the answer is asked for."""
    asked = (jnp.arange(PIXELS) == PIXELS - 1).astype(jnp.float32)
    return images.T[..., None], jnp.broadcast_to(labels, (PIXELS, len(labels))), asked


def train(method: str, seed: int, budget: Budget) -> Outcome:
    is_gated, gradient = METHODS[method]
    (images, labels), held_out = load(seed)
    begin, batches = jr.split(jr.key(seed))
    model, updates = Network(is_gated, begin), budget.of(3000, 20)
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(optax.cosine_decay_schedule(RATE, updates)))

    def at_rest(lanes: int) -> Any:
        return jax.tree.map(lambda s: jnp.broadcast_to(s, (lanes, *s.shape)), model.init_state())

    def update(at: Fit, key: Array) -> tuple[Fit, Array]:
        which = jr.randint(key, (LANES,), 0, len(labels))
        (losses, _), grads, _ = gradient(loss_step, at.model, at_rest(LANES), *sequences(images[which], labels[which]))
        return descend(optimiser, at, grads), losses.sum()

    @eqx.filter_jit
    def accuracy(model: Network) -> Array:
        xs, ys, asked = sequences(*held_out)
        body = lambda state, now: loss_step(model, state, *now)[::-1]  # noqa: E731
        (_, said) = jax.lax.scan(body, at_rest(len(held_out[1])), (xs, ys, asked))[1]
        return (said[-1] == held_out[1]).mean()

    curve = [(0, 100 * float(accuracy(model)))]
    for done, at, _ in fit(update, start(optimiser, model), batches, updates, budget, f"{method} {seed}", every=100):
        curve.append((done * LANES, 100 * float(accuracy(at.model))))
    return Outcome(curve[-1][1], curve)


DIGITS = Task(
    name="digits",
    title="Sequential digits",
    measure="right, %",
    seen="digits",
    chance=10.0,
    methods=tuple(METHODS),
    train=train,
    about=__doc__,
)

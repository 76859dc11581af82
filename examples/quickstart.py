"""Train a recurrent spiking network online: its weights change at every time step.

It reads handwritten digits one row of pixels at a time, each row held for a few milliseconds, and is asked at every
millisecond which digit it sees. The same network is then trained by backpropagation through time (BPTT) on the same
batches in the same order, with one update per sequence instead of one per step. Each way has its own learning rate, the
best of three on a quarter of the training digits of seed 0, whose held-out digits took no part in it.

python examples/quickstart.py --epochs 30 --seed 0 --out quickstart.png
"""

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import matplotlib
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from tqdm import tqdm

import eqx_etrace as etr

matplotlib.use("Agg")
import matplotlib.pyplot as plt

HOLD = 4  # ms for which each row of pixels is shown
STEPS = 8 * HOLD
BATCH = 32
RATES = {"online": 2e-4, "BPTT": 2.5e-3}  # of 1e-4, 2e-4, 4e-4 and of 2.5e-3, 5e-3, 1e-2


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
    model: SpikingRNN, state: State, x: Float[Array, "batch n_in"], label: Int[Array, " batch"]
) -> tuple[tuple[Float[Array, ""], Float[Array, "batch n_out"]], State]:
    logits, state = jax.vmap(model)(x, state)
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, label).mean()
    return (loss, logits), state


def batched_state(model: SpikingRNN, batch: int) -> State:
    return jax.tree.map(lambda s: jnp.broadcast_to(s, (batch, *s.shape)), model.init_state())


# Two ways to train it. Both take a batch of sequences, the time axis first, and return the loss and the last logits.


def online_trainer(optimiser: optax.GradientTransformation) -> Callable[..., Any]:
    online = etr.etrace_value_and_grad(loss_step, etr.DRTRL(), has_aux=True)

    @eqx.filter_jit
    def train(model: SpikingRNN, opt_state: optax.OptState, xs: Array, label: Array) -> Any:
        state = batched_state(model, len(label))
        trace = online.init(model, state, xs[0], label)
        arrays, static = eqx.partition(model, eqx.is_inexact_array)

        def tick(carry, x):
            arrays, opt_state, state, trace = carry
            model = eqx.combine(arrays, static)
            ((loss, logits), grads), state, trace = online(model, state, trace, x, label)
            updates, opt_state = optimiser.update(grads, opt_state, arrays)
            return (eqx.apply_updates(arrays, updates), opt_state, state, trace), (loss, logits)

        (arrays, opt_state, _, _), (losses, logits) = jax.lax.scan(tick, (arrays, opt_state, state, trace), xs)
        return eqx.combine(arrays, static), opt_state, losses.mean(), logits[-1]

    return train


def bptt_trainer(optimiser: optax.GradientTransformation) -> Callable[..., Any]:
    @eqx.filter_value_and_grad(has_aux=True)
    def sequence_loss(model: SpikingRNN, xs: Array, label: Array) -> Any:
        def tick(state, x):
            aux, state = loss_step(model, state, x, label)
            return state, aux

        _, (losses, logits) = jax.lax.scan(tick, batched_state(model, len(label)), xs)
        return losses.mean(), logits[-1]

    @eqx.filter_jit
    def train(model: SpikingRNN, opt_state: optax.OptState, xs: Array, label: Array) -> Any:
        (loss, logits), grads = sequence_loss(model, xs, label)
        updates, opt_state = optimiser.update(grads, opt_state)
        return eqx.apply_updates(model, updates), opt_state, loss, logits

    return train


@eqx.filter_jit
def respond(
    model: SpikingRNN, xs: Float[Array, "time batch n_in"]
) -> tuple[Float[Array, "time batch n_out"], Float[Array, "time batch n_rec"]]:
    """The logits and the spikes of every step."""

    def tick(state, x):
        logits, state = jax.vmap(model)(x, state)
        return state, (logits, model.neu.spike(state.neu))

    return jax.lax.scan(tick, batched_state(model, xs.shape[1]), xs)[1]


# Data, the training loop, the figure.


class Digits(NamedTuple):
    images: np.ndarray
    labels: np.ndarray

    def sequences(self, which: np.ndarray) -> Float[Array, "time batch row"]:
        """Rows from the top, each held: the time axis first."""
        return jnp.asarray(self.images[which].repeat(HOLD, axis=1).swapaxes(0, 1))


class Record(NamedTuple):
    model: SpikingRNN
    losses: list[float]
    accuracy: list[float]
    seconds: float


def load(seed: int, samples: int | None) -> tuple[Digits, Digits]:
    pixels, labels = load_digits(return_X_y=True)
    images = np.asarray(pixels[:samples], np.float32).reshape(-1, 8, 8) / 16
    labels = np.asarray(labels[:samples], np.int32)
    train, held_out = train_test_split(np.arange(len(labels)), test_size=0.25, random_state=seed, stratify=labels)
    return Digits(images[train], labels[train]), Digits(images[held_out], labels[held_out])


def batches(size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    order = rng.permutation(size)
    for start in range(0, size - BATCH + 1, BATCH):
        yield order[start : start + BATCH]


def accuracy(model: SpikingRNN, data: Digits) -> float:
    """How often the last step names the digit."""
    logits, _ = respond(model, data.sequences(np.arange(len(data.labels))))
    return float((np.asarray(logits[-1]).argmax(-1) == data.labels).mean())


def fit(name: str, model: SpikingRNN, data: tuple[Digits, Digits], epochs: int) -> Record:
    train, held_out = data
    trainer, updates = (online_trainer, STEPS) if name == "online" else (bptt_trainer, 1)
    rate = optax.cosine_decay_schedule(RATES[name], epochs * (len(train.labels) // BATCH) * updates)
    optimiser = optax.adam(rate)
    update, opt_state = trainer(optimiser), optimiser.init(eqx.filter(model, eqx.is_inexact_array))
    rng, began = np.random.default_rng(0), time.perf_counter()
    losses, scores = [], [accuracy(model, held_out)]
    with tqdm(total=epochs * (len(train.labels) // BATCH), desc=name, unit="batch", mininterval=0.5) as bar:
        for _ in range(epochs):
            epoch = []
            for which in batches(len(train.labels), rng):
                label = jnp.asarray(train.labels[which])
                model, opt_state, loss, logits = update(model, opt_state, train.sequences(which), label)
                epoch.append(float(loss))
                bar.set_postfix(loss=f"{epoch[-1]:.3f}", accuracy=f"{float((logits.argmax(-1) == label).mean()):.2f}")
                bar.update()
            losses.append(float(np.mean(epoch)))
            scores.append(accuracy(model, held_out))
    return Record(model, losses, scores, time.perf_counter() - began)


def draw(records: dict[str, Record], chance: float, held_out: Digits, out: Path) -> None:
    fig, axes = plt.subplots(2, 2, figsize=(10, 7), layout="constrained")
    for name, record in records.items():
        epochs = np.arange(len(record.accuracy))
        axes[0, 0].plot(epochs[1:], record.losses, marker="o", label=name)
        axes[0, 1].plot(epochs, record.accuracy, marker="o", label=f"{name}: {record.accuracy[-1]:.1%}")
    axes[0, 0].set(title="Training loss", xlabel="epoch", ylabel="cross-entropy, mean over steps")
    axes[0, 1].axhline(chance, color="grey", linestyle="--", label=f"chance: {chance:.1%}")
    axes[0, 1].set(title="Held-out accuracy", xlabel="epoch", ylabel="accuracy at the last step", ylim=(0, 1.02))
    axes[0, 0].legend()
    axes[0, 1].legend(loc="center right")
    _draw_response(axes[1], records["online"].model, held_out)
    fig.savefig(out, dpi=120)
    plt.close(fig)


def _draw_response(axes: np.ndarray, model: SpikingRNN, held_out: Digits) -> None:
    """What the network does with a held-out digit that it reads correctly, the first there is."""
    logits, spikes = respond(model, held_out.sequences(np.arange(BATCH)))
    right = np.asarray(logits[-1].argmax(-1)) == held_out.labels[:BATCH]
    which = int(np.argmax(right))
    label, logits, spikes = int(held_out.labels[which]), logits[:, which : which + 1], spikes[:, which : which + 1]
    when, unit = np.nonzero(np.asarray(spikes[:, 0]))
    axes[0].scatter(when, unit, s=6, marker="|", color="black")
    axes[0].set(title=f"Spikes while it reads a {label} (online)", xlabel="time (ms)", ylabel="unit")
    for digit, chance in enumerate(np.asarray(jax.nn.softmax(logits[:, 0])).T):
        mine = digit == label
        axes[1].plot(chance, color="C0" if mine else "lightgrey", linewidth=2.5 if mine else 1, zorder=2 + mine)
    axes[1].text(0.5, 0.92, f"blue: the right answer, {label}", transform=axes[1].transAxes, ha="center")
    axes[1].set(title="What it takes the digit for", xlabel="time (ms)", ylabel="probability", ylim=(-0.02, 1.12))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train a recurrent spiking network online on handwritten digits.")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0, help="of the weights and of the split")
    parser.add_argument("--samples", type=int, default=None, help="use only the first so many digits")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("quickstart.png"))
    return parser.parse_args()


def main() -> None:
    options = parse()
    data = train, held_out = load(options.seed, options.samples)
    model = SpikingRNN(8, 100, 10, key=jr.key(options.seed))

    x, label = train.sequences(np.arange(BATCH))[0], jnp.asarray(train.labels[:BATCH])
    online = etr.etrace_value_and_grad(loss_step, etr.DRTRL(), has_aux=True)
    graph = online.graph(model, batched_state(model, BATCH), x, label)
    graph.show_graph()
    print(f"\n{graph.report(etr.DRTRL())}\n")

    records = {name: fit(name, model, data, options.epochs) for name in RATES}
    chance = float((held_out.labels == np.bincount(train.labels).argmax()).mean())
    spikes = respond(records["online"].model, held_out.sequences(np.arange(len(held_out.labels))))[1]
    print(f"\n{len(train.labels)} digits to train on, {len(held_out.labels)} held out, {STEPS} steps each.")
    for name, record in records.items():
        print(f"{name:>8}: {record.accuracy[-1]:.1%} of the held-out digits, {record.seconds:.0f} s")
    print(f"{'chance':>8}: {chance:.1%} (always the commonest digit)")
    print(f"Spikes per unit and step, online: {float(spikes.mean()):.3f}")
    draw(records, chance, held_out, options.out)
    print(f"Figure: {options.out}")


if __name__ == "__main__":
    main()

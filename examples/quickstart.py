"""A recurrent spiking network learns an endless stream of handwritten digits while it reads it, beside BPTT.

The online network makes one update per millisecond, BPTT one per digit. Each has its own learning rate, the best of
four on a quarter of the training digits of seed 0, whose held-out digits took no part in it. Then both are compiled
for longer and longer stretches of the stream, and XLA is asked how much memory they take.

python examples/quickstart.py --digits 80000 --seed 0 --out quickstart.png
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import matplotlib
import numpy as np
import optax
from stream_of_digits import (
    accuracy,
    at_rest,
    Digits,
    LANES,
    Learner,
    LEARNERS,
    load,
    loss_step,
    memory,
    PIXELS,
    respond,
    SpikingRNN,
    STEPS,
)
from tqdm import tqdm

import eqx_etrace as etr

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import matplotlib.ticker

UPDATES = {"online": STEPS, "BPTT": 1}  # per digit
RATES = {"online": 2e-4, "BPTT": 1.25e-3}  # of 1e-4, 2e-4, 4e-4, 8e-4 and of 1.25e-3, 2.5e-3, 5e-3, 1e-2
LOOK = 100  # digits of a lane between two looks at the accuracy
LENGTHS = [16, 64, 256, 1024, 4096, 16384]  # ms for which memory is measured


class Record(NamedTuple):
    model: SpikingRNN
    digits: list[int]
    """How many had been read at each look."""
    accuracy: list[float]
    seconds: float


def follow(name: str, model: SpikingRNN, data: tuple[Digits, Digits], digits: int) -> Record:
    """Learn the stream, and look now and then."""
    seen, held_out = data
    count, rng = digits // LANES, np.random.default_rng(0)
    optimiser = optax.adam(optax.cosine_decay_schedule(RATES[name], count * UPDATES[name]))
    static = eqx.filter(model, eqx.is_inexact_array, inverse=True)
    learner = LEARNERS[name](optimiser, static)

    def next_digits():
        return seen.stream(rng.integers(len(seen.labels), size=(1, LANES)))

    xs, labels = next_digits()
    carry = jax.tree.map(jnp.copy, learner.start(model, xs[0], labels[0]))  # it is given away
    learn = jax.jit(learner.learn, donate_argnums=0).lower(carry, xs, labels).compile()
    when, scores, began = [0], [accuracy(model, held_out)], time.perf_counter()
    for number in tqdm(range(1, count + 1), desc=name, unit="digit", unit_scale=LANES, mininterval=0.5):
        carry, _ = learn(carry, xs, labels)
        xs, labels = next_digits()
        if number % LOOK == 0 or number == count:
            model = eqx.combine(carry[0], static)
            when.append(number * LANES)
            scores.append(accuracy(model, held_out))
    return Record(model, when, scores, time.perf_counter() - began)


def measure(make: Callable[..., Learner], model: SpikingRNN, lengths: list[int]) -> dict[int, float]:
    """Megabytes, by the length of a stretch."""
    return {steps: memory(make, model, steps) / 1e6 for steps in lengths}


def draw(
    records: dict[str, Record], sizes: dict[str, dict[int, float]], chance: float, data: Digits, out: Path
) -> None:
    fig, axes = plt.subplots(2, 2, figsize=(10, 7), layout="constrained")
    for name, record in records.items():
        updates = f"{UPDATES[name]} update" + "s" * (UPDATES[name] > 1)
        axes[0, 0].plot(record.digits, record.accuracy, label=f"{name}, {updates} per digit: {record.accuracy[-1]:.0%}")
        lengths, found = list(sizes[name]), list(sizes[name].values())
        axes[0, 1].plot(lengths, found, marker="o", label=name)
        last = f"{found[-1]:.0f} MB", (lengths[-1], found[-1])
        axes[0, 1].annotate(*last, (-8, 8), textcoords="offset points", ha="right")
    axes[0, 0].axhline(chance, color="grey", linestyle="--", label=f"chance: {chance:.0%}")
    axes[0, 0].set(title="Digits never seen, named right", xlabel="digits of the stream so far", ylim=(0, 1.02))
    axes[0, 0].xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(5))
    axes[0, 0].xaxis.set_major_formatter("{x:,.0f}")
    axes[0, 0].legend(loc="lower right")
    axes[0, 1].set(title="Memory to learn from a stretch of the stream", xlabel="length of the stretch (ms)")
    axes[0, 1].set(ylabel="MB", ylim=(1, 4000), xscale="log", yscale="log")
    axes[0, 1].set_xticks(ticks := list(sizes["BPTT"]), [f"{n:,}" for n in ticks])
    axes[0, 1].minorticks_off()
    axes[0, 1].legend(loc="upper left")
    _draw_response(axes[1], records["online"].model, data)
    fig.savefig(out, dpi=120)
    plt.close(fig)


def _draw_response(axes: np.ndarray, model: SpikingRNN, data: Digits) -> None:
    """What the network does with four digits that it has never seen."""
    which = np.arange(4)
    logits, spikes = respond(model, data.stream(which[:, None])[0])
    when, unit = np.nonzero(np.asarray(spikes[:, 0]))
    axes[0].scatter(when, unit, s=4, marker="|", color="black")
    axes[0].set(title="Spikes while it reads four digits never seen", xlabel="time (ms)", ylabel="unit")
    axes[0].set(xticks=STEPS * np.arange(5))
    chances = np.asarray(jax.nn.softmax(logits[:, 0]))
    axes[1].plot(chances, color="lightgrey", linewidth=1)
    for number, label in enumerate(data.labels[which]):
        here = np.arange(number * STEPS, (number + 1) * STEPS)
        axes[1].plot(here, chances[here, label], color="C0", linewidth=2.5)
        axes[1].text(here.mean(), 1.05, str(label), ha="center")
    axes[1].set(title="What it takes them for (blue: the right answer)", xlabel="time (ms)")
    axes[1].set(ylabel="probability", ylim=(-0.02, 1.15), xticks=STEPS * np.arange(5))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A spiking network learns an endless stream of digits.")
    parser.add_argument("--digits", type=int, default=80000, help="of the stream, over all lanes")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and of the split")
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS, help="in ms, for which memory is measured")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("quickstart.png"))
    return parser.parse_args()


def main() -> None:
    options = parse()
    data = seen, held_out = load(options.seed)
    model = SpikingRNN(PIXELS, 100, 10, key=jr.key(options.seed))
    x, label = (part[0] for part in seen.stream(np.zeros((1, LANES), int)))
    print(f"{etr.compile_graph(loss_step, model, at_rest(model, LANES), x, label).report(etr.DRTRL())}\n")

    records = {name: follow(name, model, data, options.digits) for name in LEARNERS}
    sizes = {name: measure(make, model, options.lengths) for name, make in LEARNERS.items()}
    chance = float((held_out.labels == np.bincount(seen.labels).argmax()).mean())
    print("\nDigits never seen, named right, after " + f"{options.digits:,} of the stream:")
    for name, record in records.items():
        speed = 1e3 * record.seconds / (options.digits // LANES * STEPS)
        print(f"{name:>8}: {record.accuracy[-1]:.1%}, at {speed:.2f} ms per step of {LANES} streams, looks included")
    print(f"{'chance':>8}: {chance:.1%} (always the commonest digit)")
    print("Memory to learn from a stretch of " + ", ".join(f"{n:,}" for n in options.lengths) + " ms:")
    for name, found in sizes.items():
        print(f"{name:>8}: " + ", ".join(f"{size:.1f}" for size in found.values()) + " MB")
    draw(records, sizes, chance, held_out, options.out)
    print(f"Figure: {options.out}")


if __name__ == "__main__":
    main()

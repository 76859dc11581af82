"""Memory and time to learn from a stretch of a stream, against its length: online and by BPTT.

The network and the stream are those of the quickstart. The figure is README's.

python examples/against_length.py --out docs/against_length.svg
"""

import argparse
import time
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import matplotlib
import numpy as np
import optax
from stream_of_digits import LANES, LEARNERS, memory, PIXELS, SpikingRNN

matplotlib.use("Agg")
import matplotlib.pyplot as plt

LENGTHS = [16, 64, 256, 1024, 4096, 16384]


def milliseconds(model: SpikingRNN, steps: int, rounds: int) -> dict[str, float]:
    """Per step, of each way to learn; medians of rounds in turn."""
    xs = jr.bernoulli(jr.key(1), 0.4, (steps, LANES, PIXELS)).astype(jnp.float32)
    labels = jnp.zeros((steps, LANES), jnp.int32)
    runs = {}
    for name, make in LEARNERS.items():
        learner = make(optax.adam(1e-4), eqx.filter(model, eqx.is_inexact_array, inverse=True))
        carry = jax.tree.map(jnp.copy, learner.start(model, xs[0], labels[0]))
        runs[name] = jax.jit(learner.learn, donate_argnums=0).lower(carry, xs, labels).compile(), [carry], []
    for _ in range(rounds + 1):
        for run, carried, taken in runs.values():
            began = time.perf_counter()
            carried[0] = jax.block_until_ready(run(carried[0], xs, labels))[0]
            taken.append(1e3 * (time.perf_counter() - began) / steps)
    return {name: float(np.median(taken[1:])) for name, (_, _, taken) in runs.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="Memory and time against the length of a stretch.")
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent.parent / "docs" / "against_length.svg")
    options = parser.parse_args()
    model = SpikingRNN(PIXELS, 100, 10, key=jr.key(0))
    times = [milliseconds(model, steps, options.rounds) for steps in options.lengths]
    matplotlib.rcParams["svg.hashsalt"] = "against_length"
    fig, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    for name, make in LEARNERS.items():
        sizes = [memory(make, model, steps) / 1e6 for steps in options.lengths]
        print(f"{name:>8}: MB " + ", ".join(f"{s:.1f}" for s in sizes), end="; ms per step ")
        print(", ".join(f"{t[name]:.3f}" for t in times))
        axes[0].plot(options.lengths, sizes, marker="o", label=name)
        axes[0].annotate(
            f"{sizes[-1]:.0f} MB", (options.lengths[-1], sizes[-1]), (-6, 6), textcoords="offset points", ha="right"
        )
        axes[1].plot(options.lengths, [t[name] for t in times], marker="o", label=name)
    axes[0].set(title="Memory", ylabel="MB", yscale="log", ylim=(1, 4000))
    axes[1].set(title="Time per step, two CPU cores", ylabel="ms", ylim=(0, None))
    for ax in axes:
        ax.set(xscale="log", xlabel="time steps to learn from")
        ax.set_xticks(options.lengths, [f"{n:,}" for n in options.lengths])
        ax.minorticks_off()
        ax.legend(loc="upper left")
    fig.savefig(options.out, metadata={"Date": None})
    print(f"Figure: {options.out}")


if __name__ == "__main__":
    main()

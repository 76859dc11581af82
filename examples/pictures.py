"""The pictures of the page on traces.

python examples/pictures.py
"""

from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

DOCS = Path(__file__).parent.parent / "docs"
ARROW = {"arrowstyle": "-|>", "mutation_scale": 14, "linewidth": 1.6}


def two_ways() -> Figure:
    """Errors that go back, and a trace that goes forward."""
    fig, axes = plt.subplots(1, 2, figsize=(9, 2.6), layout="constrained")
    for ax, title in zip(axes, ["BPTT: errors go back, states are kept", "Online: a trace goes forward"], strict=True):
        ax.set(xlim=(-0.6, 3.6), ylim=(-0.9, 1.5), title=title)
        ax.axis("off")
        for t in range(4):
            _box(ax, t, 0, f"$h_{t}$", "C0" if ax is axes[0] or t == 3 else "lightgrey")
            ax.annotate("", (t, 0.95), (t, 0.3), arrowprops=ARROW | {"color": "grey"})
            ax.text(t, 1.05, rf"$\ell_{t}$", ha="center")
            if t:
                ax.annotate("", (t - 0.25, 0), (t - 0.75, 0), arrowprops=ARROW | {"color": "grey"})
    for t in range(3):
        axes[0].annotate("", (t + 0.15, -0.3), (t + 0.85, -0.3), arrowprops=ARROW | {"color": "C3"})
        axes[1].annotate("", (t + 0.75, -0.6), (t + 0.3, -0.6), arrowprops=ARROW | {"color": "C2"})
    axes[0].text(1.5, -0.65, "error", color="C3", ha="center")
    for t in range(4):
        _box(axes[1], t, -0.6, f"$J_{t}$", "C2" if t == 3 else "lightgrey")
    return fig


def _box(ax: Axes, x: float, y: float, text: str, colour: str) -> None:
    ax.text(x, y, text, ha="center", va="center", bbox={"boxstyle": "round", "facecolor": "white", "edgecolor": colour})


def jacobian() -> Figure:
    """What is kept of a Jacobian."""
    n = 8
    inside = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    kept = {
        "DRTRL: the diagonal": inside == 0,
        "blocks: what RTRL finds": np.kron(np.eye(2, dtype=bool), np.ones((4, 4), bool)),
        "RTRL: everything": np.ones((n, n), bool),
    }
    fig, axes = plt.subplots(1, 3, figsize=(9, 3), layout="constrained")
    for ax, (title, mask) in zip(axes, kept.items(), strict=True):
        ax.imshow(np.where(mask, 1.0, 0.12), cmap="Greens", vmin=0, vmax=1.4)
        ax.set(title=title, xticks=[], yticks=[], xlabel="old state", ylabel="new state")
    return fig


def one_trace() -> Figure:
    """An input, what a leaky unit makes of it, and its trace."""
    rng, steps = np.random.default_rng(3), 80
    spikes = (rng.random(steps) < 0.08).astype(float)
    trace = np.zeros(steps)
    for t in range(steps):
        trace[t] = 0.9 * (trace[t - 1] if t else 0) + spikes[t]
    fig, ax = plt.subplots(figsize=(9, 2.4), layout="constrained")
    ax.vlines(np.flatnonzero(spikes), -0.45, -0.15, color="black")
    ax.text(0, -0.38, "input", va="center")
    ax.fill_between(range(steps), trace, color="C2", alpha=0.4)
    ax.plot(trace, color="C2")
    ax.text(0, 0.25, "trace", color="C2")
    where = (38, trace[38]), (41, 1.9)
    ax.annotate(
        "an error here changes the weight by error x trace", *where, arrowprops=ARROW | {"color": "C3"}, color="C3"
    )
    ax.set(xlabel="step", yticks=[], ylim=(-0.6, 2.4))
    return fig


def main() -> None:
    matplotlib.rcParams["svg.hashsalt"] = "pictures"
    for make in (two_ways, jacobian, one_trace):
        make().savefig(DOCS / f"{make.__name__}.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()

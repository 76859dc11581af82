"""How neurons, synapses, cells and delays respond: the pictures of the page `docs/zoo.md`.

python examples/responses.py --out docs/zoo
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import matplotlib
import numpy as np

from eqx_etrace import nn

matplotlib.use("Agg")
import matplotlib.pyplot as plt

STYLE: Any = {
    "svg.hashsalt": "eqx_etrace",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
}
STEPS = 150


def follow(module: Any, inputs: Any, state: Any) -> tuple[np.ndarray, Any]:
    """The outputs of every step, and the states."""

    def body(state: Any, x: Any) -> tuple[Any, Any]:
        out, state = module(x, state)
        return state, (out, state)

    return jax.tree.map(np.asarray, jax.lax.scan(body, state, jnp.asarray(inputs))[1])


def grid(titles: list[str], columns: int, height: float) -> tuple[Any, list[Any]]:
    """A figure with a panel for each title."""
    rows = -(-len(titles) // columns)
    fig, axes = plt.subplots(rows, columns, figsize=(7, height * rows), layout="constrained", squeeze=False)
    panels = list(axes.flat)
    for ax, title in zip(panels, titles, strict=False):
        ax.set_title(title)
    for ax in panels[len(titles) :]:
        ax.set_axis_off()
    return fig, panels


NEURONS = {
    "IF": nn.IF(),
    "LIF": nn.LIF(),
    "LIF, hard reset": nn.LIF(reset="hard"),
    "LIF, the reset does not leak": nn.LIF(leaky_reset=False),
    "CuBaLIF": nn.CuBaLIF(),
    "ALIF, beta = 0.1": nn.ALIF(beta=0.1),
    "GIF, A2 = -0.02": nn.GIF(A2=-0.02),
    "Refractory(LIF(), t_ref=30.0)": nn.Refractory(nn.LIF(), 30.0),
}
CURRENT = {"CuBaLIF": 0.04}


def neurons() -> Any:
    """A current that is on for 100 ms: V in black, the threshold in grey, spikes as marks above."""
    fig, panels = grid(list(NEURONS), 2, 1.3)
    for ax, (name, neuron) in zip(panels, NEURONS.items(), strict=False):
        inputs = np.zeros((STEPS, 1))
        inputs[20:120] = CURRENT.get(name, 0.08)
        spikes, state = follow(neuron, inputs, neuron.init_state(1))
        inner = state.neuron if isinstance(neuron, nn.Refractory) else state
        base = neuron.neuron if isinstance(neuron, nn.Refractory) else neuron
        ax.plot(inner.V[:, 0], color="black", linewidth=1)
        ax.plot(np.broadcast_to(base.threshold(inner), (STEPS, 1)), color="grey", linewidth=0.8, linestyle="--")
        ax.plot(np.flatnonzero(spikes[:, 0]), np.full(int(spikes.sum()), 2.0), "|", color="C3", markersize=6)
        ax.axvspan(20, 120, color="C0", alpha=0.08, linewidth=0)
        ax.set(ylim=(-0.4, 2.2), xlim=(0, STEPS), yticks=[0, 1], ylabel="mV")
    for ax in panels[-2:]:
        ax.set_xlabel("ms")
    return fig


def synapses() -> Any:
    """What becomes of a single spike, which comes at 5 ms; then a train of them."""
    modules = {
        "Expon()": nn.Expon(),
        "Alpha()": nn.Alpha(),
        "DoubleExponential()": nn.DoubleExponential(),
        "Delay(20)": nn.Delay(20),
        "LearnedDelay, sigma=4": nn.LearnedDelay(jnp.full(1, 20.0), 40, sigma=4.0),
    }
    plastic = {
        "ShortTermPlasticity()": nn.ShortTermPlasticity(),
        "the same, depressing": nn.ShortTermPlasticity(0.5, 20.0, 500.0),
    }
    fig, panels = grid([*modules, *plastic], 4, 1.4)
    for ax, module in zip(panels, modules.values(), strict=False):
        impulse = np.zeros((60, 1))
        impulse[5] = 1.0
        ax.plot(follow(module, impulse, module.init_state(1))[0][:, 0], color="black", linewidth=1)
        ax.set(ylim=(0, 1.1), xlabel="ms")
    for ax, module in zip(panels[5:], plastic.values(), strict=False):
        train = np.zeros((300, 1))
        train[20:220:50] = 1.0
        release = follow(module, train, module.init_state(1))[0][:, 0]
        ax.vlines(np.flatnonzero(train), 0, release[train[:, 0] > 0], color="black")
        ax.set(ylim=(0, 0.75), xlim=(0, 240), xlabel="ms", ylabel="release")
    return fig


def surrogates() -> Any:
    """What stands in for the derivative of a spike."""
    shapes = {
        "Triangular()": nn.Triangular(),
        "Arctan()": nn.Arctan(),
        "Sigmoid()": nn.Sigmoid(),
        "SuperSpike()": nn.SuperSpike(),
        "Boxcar()": nn.Boxcar(),
        "Gaussian()": nn.Gaussian(),
        "MultiGaussian()": nn.MultiGaussian(),
        "StraightThrough()": nn.StraightThrough(),
    }
    fig, panels = grid(list(shapes), 4, 1.3)
    x = jnp.linspace(-2, 2, 401)
    for ax, surrogate in zip(panels, shapes.values(), strict=True):
        ax.plot(x, surrogate.derivative(x), color="black", linewidth=1)
        ax.axvline(0, color="grey", linewidth=0.6, linestyle="--")
        ax.set(ylim=(-0.1, 1.15), xticks=[-1, 0, 1])
    fig.supxlabel("above threshold, in units of V_th - V_reset", fontsize=8)
    return fig


def cells() -> Any:
    """Five units of each, and a pulse of three steps, then one of a quarter of its size."""
    kinds: dict[str, Callable[[Any], Any]] = {
        "RNNCell, leak 0.3": lambda key: nn.RNNCell(1, 5, leak=0.3, key=key),
        "IndRNNCell": lambda key: nn.IndRNNCell(1, 5, key=key),
        "MGUCell": lambda key: nn.MGUCell(1, 5, key=key),
        "MinGRUCell": lambda key: nn.MinGRUCell(1, 5, key=key),
        "MinLSTMCell": lambda key: nn.MinLSTMCell(1, 5, key=key),
        "LRUCell": lambda key: nn.LRUCell(1, 16, 5, key=key),
        "RTUCell": lambda key: nn.RTUCell(1, 4, key=key),
        "MLSTMCell": lambda key: nn.MLSTMCell(1, 5, 5, key=key),
    }
    fig, panels = grid(list(kinds), 4, 1.3)
    pulse = np.zeros((40, 1))
    pulse[5:8], pulse[25:28] = 2.0, 0.5
    for ax, make in zip(panels, kinds.values(), strict=True):
        cell = make(jr.key(3))
        ax.plot(follow(cell, pulse, cell.init_state())[0], linewidth=1)
        ax.axvspan(4.5, 7.5, color="grey", alpha=0.25, linewidth=0)
        ax.axvspan(24.5, 27.5, color="grey", alpha=0.1, linewidth=0)
    fig.supxlabel("steps", fontsize=8)
    return fig


PICTURES = {"neurons": neurons, "synapses": synapses, "surrogates": surrogates, "cells": cells}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/zoo"))
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    with plt.rc_context(STYLE):
        for name, draw in PICTURES.items():
            fig = draw()
            fig.savefig(out / f"{name}.svg", metadata={"Date": None})
            plt.close(fig)


if __name__ == "__main__":
    main()

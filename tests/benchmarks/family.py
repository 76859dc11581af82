"""Every rule beside BPTT: which way its gradient points, and how long it is.

    python tests/benchmarks/family.py --write

Three networks of 64 recurrent units at their first weights: leaky rate units, neurons with adaptive thresholds before a
leaky readout, a GRU. 128 steps, a target that depends on inputs of some steps before. The gradient of all weights of
the recurrent layer is that of the sum of the losses; cosine and ratio of norms to BPTT, mean and standard deviation
over five seeds, in double precision. `--write` puts the table and the picture into `docs/choosing.md`.
"""

import argparse
import functools
import pathlib
import re
from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import eqx_etrace as etr

jax.config.update("jax_enable_x64", True)

DOCS = pathlib.Path(__file__).parent.parent.parent / "docs"
UNITS, INPUTS, OUTPUTS, STEPS = 64, 16, 2, 128
WINDOWS = (0, 1, 8, 32)
LEAK = {"leaky rate": 0.9, "ALIF": float(np.exp(-1 / 20)), "GRU": 0.5}
"""Of a unit; of a GRU what its gate keeps at first."""


class Rate(eqx.Module):
    linear: eqx.nn.Linear
    readout: eqx.nn.Linear

    def __init__(self, key: jax.Array):
        k1, k2 = jax.random.split(key)
        linear = eqx.nn.Linear(UNITS + INPUTS, UNITS, key=k1)
        self.linear = eqx.tree_at(lambda m: m.weight, linear, 1.5 * UNITS**0.5 / 5 * linear.weight)
        self.readout = eqx.nn.Linear(UNITS, OUTPUTS, key=k2)

    def start(self) -> Any:
        return jnp.zeros(UNITS)

    def __call__(self, h: Any, x: Any) -> tuple[Any, Any]:
        h = LEAK["leaky rate"] * h + (1 - LEAK["leaky rate"]) * jnp.tanh(self.linear(jnp.concatenate([h, x])))
        return self.readout(h), h


class Spiking(eqx.Module):
    into: eqx.nn.Linear
    back: eqx.nn.Linear
    neuron: etr.nn.ALIF
    readout: etr.nn.LeakyRateReadout

    def __init__(self, key: jax.Array):
        k1, k2, k3 = jax.random.split(key, 3)
        into, back = eqx.nn.Linear(INPUTS, UNITS, key=k1), eqx.nn.Linear(UNITS, UNITS, use_bias=False, key=k2)
        self.into = eqx.tree_at(lambda m: m.weight, into, 1.5 * into.weight)
        self.back = eqx.tree_at(lambda m: m.weight, back, 0.5 * back.weight)
        self.neuron = etr.nn.ALIF()
        self.readout = etr.nn.LeakyRateReadout(UNITS, OUTPUTS, key=k3)

    def start(self) -> Any:
        return self.neuron.init_state(UNITS), self.readout.init_state()

    def __call__(self, state: Any, x: Any) -> tuple[Any, Any]:
        neuron, readout = state
        spikes, neuron = self.neuron(self.into(x) + self.back(self.neuron.spike(neuron)), neuron)
        out, readout = self.readout(spikes, readout)
        return out, (neuron, readout)


class Gated(eqx.Module):
    cell: eqx.nn.GRUCell
    readout: eqx.nn.Linear

    def __init__(self, key: jax.Array):
        k1, k2 = jax.random.split(key)
        cell = eqx.nn.GRUCell(INPUTS, UNITS, key=k1)
        self.cell = eqx.tree_at(lambda m: m.weight_hh, cell, 1.5 * cell.weight_hh)
        self.readout = eqx.nn.Linear(UNITS, OUTPUTS, key=k2)

    def start(self) -> Any:
        return jnp.zeros(UNITS)

    def __call__(self, h: Any, x: Any) -> tuple[Any, Any]:
        h = self.cell(x, h)
        return self.readout(h), h


NETWORKS: dict[str, Any] = {"leaky rate": Rate, "ALIF": Spiking, "GRU": Gated}
RULES: dict[str, Callable[[float, jax.Array], etr.AbstractRule]] = {
    "NoTrace": lambda leak, key: etr.NoTrace(),
    "OTTT": lambda leak, key: etr.OTTT(leak),
    "PPProp": lambda leak, key: etr.PPProp(leak),
    "RFLO": lambda leak, key: etr.RFLO(leak),
    "OTPE": lambda leak, key: etr.OTPE(leak),
    "DRTRL, EProp": lambda leak, key: etr.DRTRL(),
    "SnAp(1)": lambda leak, key: etr.SnAp(1),
    "UORO": lambda leak, key: etr.UORO(key),
    "KFRTRL": lambda leak, key: etr.KFRTRL(key),
    "OK(8)": lambda leak, key: etr.OK(8, key),
    "OSTL": lambda leak, key: etr.OSTL(),
    "RTRL": lambda leak, key: etr.RTRL(),
}


def loss_step(model: Any, state: Any, x: Any, y: Any) -> tuple[Any, Any]:
    out, state = model(state, x)
    return jnp.sum((out - y) ** 2), state


def data(name: str, key: jax.Array) -> tuple[Any, Any]:
    """Inputs, and a target made of those of up to twenty steps before."""
    k1, k2, k3 = jax.random.split(key, 3)
    noise = jax.random.normal(k1, (STEPS, INPUTS))
    smooth = low_pass(0.8, 0.6 * noise)
    xs = jax.random.bernoulli(k2, 0.15, (STEPS, INPUTS)).astype(noise.dtype) if name == "ALIF" else smooth
    heard = low_pass(0.9, 0.3 * xs)
    return xs, jnp.tanh(jnp.roll(heard, 10, 0) @ jax.random.normal(k3, (INPUTS, OUTPUTS)) / INPUTS**0.5)


def low_pass(leak: float, xs: jax.Array) -> jax.Array:
    def one(a: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        a = leak * a + x
        return a, a

    return jax.lax.scan(one, jnp.zeros(INPUTS), xs)[1]


def recurrent(gradient: Any) -> jax.Array:
    """Of all but the readout, in one vector."""
    kept = eqx.tree_at(lambda g: g.readout, gradient, None)
    return jnp.concatenate([g.ravel() for g in jax.tree.leaves(kept)])


def by_bptt(name: str, seed: jax.Array) -> jax.Array:
    model, (xs, ys) = NETWORKS[name](seed), data(name, seed)

    def total(model: Any) -> Any:
        def one(state: Any, now: Any) -> Any:
            loss, state = loss_step(model, state, *now)
            return state, loss

        return jax.lax.scan(one, model.start(), (xs, ys))[1].sum()

    return recurrent(eqx.filter_grad(total)(model))


def by_rule(name: str, rule: str, window: int, seed: jax.Array) -> jax.Array:
    model, (xs, ys) = NETWORKS[name](seed), data(name, seed)
    online = etr.etrace_grad(loss_step, RULES[rule](LEAK[name], seed), window=window)
    found, _, _ = online.scan(model, model.start(), online.init(model, model.start(), xs[0], ys[0]), xs, ys)
    return recurrent(found)


def memory(name: str, rule: str) -> int:
    key = jax.random.key(0)
    model, (xs, ys) = NETWORKS[name](key), data(name, key)
    graph = etr.compile_graph(loss_step, model, model.start(), xs[0], ys[0])
    return graph.report(RULES[rule](LEAK[name], key)).trace_bytes


Found = dict[tuple[str, str, int], tuple[np.ndarray, np.ndarray]]


def measure(seeds: int) -> Iterator[tuple[tuple[str, str, int], tuple[np.ndarray, np.ndarray]]]:
    """By network, rule and window: cosine and ratio of norms, by seed."""
    keys = jax.random.split(jax.random.key(0), seeds)
    for name in NETWORKS:
        wanted = np.asarray(jax.jit(jax.vmap(lambda key, name=name: by_bptt(name, key)))(keys))
        size = np.linalg.norm(wanted, axis=1)
        for rule in RULES:
            for window in WINDOWS:
                run = jax.jit(functools.partial(by_rule, name, rule, window))
                found = np.stack([np.asarray(run(key)) for key in keys])
                length = np.linalg.norm(found, axis=1)
                cosine = (found * wanted).sum(1) / np.maximum(length * size, 1e-300)
                yield (name, rule, window), (cosine, length / size)


def table(found: Found) -> str:
    """In Markdown, one for each network."""
    lines: list[str] = []
    for name in NETWORKS:
        head = "".join(f" window {w} |" for w in WINDOWS)
        lines += [
            "",
            f"**{name}**, cosine / ratio of norms:",
            "",
            f"| rule | memory |{head}",
            "|---|---|" + "---|" * len(WINDOWS),
        ]
        for rule in RULES:
            cells = [_cell(*found[name, rule, window]) for window in WINDOWS]
            lines.append(
                f"| `{rule.replace(', ', '`, `')}` | {memory(name, rule) / 1000:,.1f} kB | {' | '.join(cells)} |"
            )
    return "\n".join(lines)


def _cell(cosine: np.ndarray, ratio: np.ndarray) -> str:
    return f"{cosine.mean():.2f} ± {cosine.std():.2f} / {ratio.mean():.2f}"


def picture(found: Found, path: pathlib.Path) -> None:
    """Memory against fidelity, at windows 0 and 8."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, len(NETWORKS), figsize=(11, 3.8), layout="constrained", sharey=True)
    for ax, name in zip(axes, NETWORKS, strict=True):
        for number, rule in enumerate(RULES):
            size = max(memory(name, rule) / 1000, 0.1)
            first, later = (found[name, rule, window][0].mean() for window in (0, 8))
            marker = "os^Dv<>PX*hd"[number]
            ax.plot([size, size], [first, later], color=f"C{number % 10}", linewidth=1)
            ax.plot(size, first, marker, color=f"C{number % 10}", fillstyle="none", markersize=8)
            ax.plot(size, later, marker, color=f"C{number % 10}", markersize=8, label=rule)
        ax.set(xscale="log", title=name, xlabel="memory of the traces (kB)", ylim=(-0.05, 1.05))
        ax.grid(alpha=0.3)
    axes[0].set_ylabel("cosine with BPTT's gradient")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", fontsize=8)
    fig.savefig(path, metadata={"Date": None})


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    found: Found = {}
    for at, values in measure(options.seeds):
        found[at] = values
        print(*at, _cell(*values), flush=True)
    text = table(found)
    print(text)
    if options.write:
        page = DOCS / "choosing.md"
        parts = re.split(r"(<!-- measured -->\n|<!-- end -->)", page.read_text())
        page.write_text("".join([*parts[:2], text.strip() + "\n\n", *parts[3:]]))
        picture(found, DOCS / "family.svg")


if __name__ == "__main__":
    main()

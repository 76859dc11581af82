"""Exact RTRL of a dense network, beside the same written by hand step by step, and beside BPTT, against n.

    python tests/benchmarks/dense.py --units 64 96 128

A network without any structure: a tanh layer, or a GRU, 16 inputs, a linear readout of the new state, batch 1, a loss
at every step. By hand is the recursion e <- D (W e + ...) as a paper gives it, in plain JAX; for a GRU there is none.
It shares no code with the library, nor does BPTT. All give one summed gradient per call of n steps, checked to be
equal, and run in turn, round by round; the table has medians.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from history import add_option, History

import eqx_etrace as etr

N_IN, N_OUT = 16, 4


def tanh_layer(n: int) -> tuple[Any, Callable[..., Any]]:
    first, second = jax.random.split(jax.random.key(0))
    model = {"w": jax.random.normal(first, (n, n)) / n**0.5, "v": jax.random.normal(second, (n, N_IN)) / N_IN**0.5}
    return model, lambda m, h, x: jnp.tanh(m["w"] @ h + m["v"] @ x)


def gru(n: int) -> tuple[Any, Callable[..., Any]]:
    return eqx.nn.GRUCell(N_IN, n, key=jax.random.key(0)), lambda m, h, x: m(x, h)


CELLS = {"tanh": tanh_layer, "gru": gru}


def readout_loss(r: jax.Array, h: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.mean((r @ h - y) ** 2)


def by_hand(model: Any, state: jax.Array, xs: jax.Array, ys: jax.Array) -> Any:
    """e[i, q, k] <- f'_i (sum_j W_ij e[j, q, k] + d_iq x[k]), of the tanh layer."""
    m, n = model["cell"], state.size

    def step(carry, now):
        h, trace, total = carry
        x, y = now
        new = jnp.tanh(m["w"] @ h + m["v"] @ x)
        jacobian, entry = (1 - new**2)[:, None] * m["w"], jnp.diag(1 - new**2)
        met = {"w": h, "v": x}
        trace = {k: jnp.einsum("ij,jqk->iqk", jacobian, e) + entry[:, :, None] * met[k] for k, e in trace.items()}
        on_r, on_h = jax.grad(readout_loss, (0, 1))(model["r"], new, y)
        found = {"cell": {k: jnp.einsum("i,iqk->qk", on_h, e) for k, e in trace.items()}, "r": on_r}
        return (new, trace, jax.tree.map(jnp.add, total, found)), None

    trace = {"w": jnp.zeros((n, n, n)), "v": jnp.zeros((n, n, N_IN))}
    return jax.lax.scan(step, (state, trace, jax.tree.map(jnp.zeros_like, model)), (xs, ys))[0][2]


def bptt(loss_step: Callable[..., Any]) -> Callable[..., Any]:
    def run(model, state, xs, ys):
        def total(model):
            def body(state, now):
                loss, state = loss_step(model, state, *now)
                return state, loss

            return jax.lax.scan(body, state, (xs, ys))[1].sum()

        return eqx.filter_grad(total)(model)

    return run


def compare(name: str, n: int, rounds: int, history: History) -> None:
    cell_model, cell = CELLS[name](n)
    keys = jax.random.split(jax.random.key(1), 3)
    arrays, static = eqx.partition(cell_model, eqx.is_array)
    model = {"cell": arrays, "r": jax.random.normal(keys[0], (N_OUT, n)) / n**0.5}

    def loss_step(model, h, x, y):
        h = cell(eqx.combine(model["cell"], static), h, x)
        return readout_loss(model["r"], h, y), h

    state = jnp.zeros(n)
    xs, ys = jax.random.normal(keys[1], (n, N_IN)), jax.random.normal(keys[2], (n, N_OUT))
    online = etr.etrace_grad(loss_step, etr.RTRL())
    trace = online.init(model, state, xs[0], ys[0])
    # The trace is an argument, or XLA would know that it holds zeros; and it comes out, as one that goes on has it.
    runs = {"ours": lambda m, s, t, x, y: online.scan(m, s, t, x, y), "BPTT": bptt(loss_step)}
    if name == "tanh":
        runs["by hand"] = by_hand
    given = {k: (model, state, *([trace] if k == "ours" else []), xs, ys) for k in runs}
    compiled: dict[str, Any] = {k: jax.jit(run).lower(*given[k]).compile() for k, run in runs.items()}
    ours, exact = compiled["ours"](*given["ours"])[0], compiled["BPTT"](*given["BPTT"])
    pairs = zip(jax.tree.leaves(ours), jax.tree.leaves(exact), strict=True)
    worst = max(float(jnp.abs(a - b).max() / jnp.abs(b).max()) for a, b in pairs)
    assert worst < 1e-4, worst
    times: dict[str, list[float]] = {k: [] for k in runs}
    for _ in range(rounds):
        for k in runs:
            began = time.perf_counter()
            jax.block_until_ready(compiled[k](*given[k]))
            times[k].append((time.perf_counter() - began) / n * 1e3)
    setting = f"{name}, n = {n}, batch 1, {n} steps"
    shown = {k: statistics.median(v) for k, v in times.items()}
    for k in runs:
        if k != "ours":
            history.append(setting, "RTRL", times["ours"], k, times[k])
    hand = f"{shown['by hand']:>10.3f}{shown['by hand'] / shown['ours']:>8.1f}" if "by hand" in shown else " " * 18
    spread = f"{min(times['ours']):.3f} to {max(times['ours']):.3f}"
    print(
        f"{name:<6}{n:>6}{shown['ours']:>10.3f}{spread:>20}{hand}{shown['BPTT']:>10.4f}"
        f"{shown['ours'] / shown['BPTT']:>8.1f}{worst:>10.1e}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", nargs="+", type=int, default=[64, 96, 128])
    parser.add_argument("--cells", nargs="+", default=list(CELLS))
    parser.add_argument("--rounds", type=int, default=5)
    add_option(parser)
    options = parser.parse_args()
    history = History("dense", "ms per step", options.record, jax.devices()[0].device_kind)
    print(f"JAX {jax.__version__}, {jax.devices()[0].device_kind}, {options.rounds} rounds, load {history.load}")
    print("cell       n   ours ms          min to max   hand ms  faster   BPTT ms   ratio     error")
    for name in options.cells:
        for n in options.units:
            compare(name, n, options.rounds, history)


if __name__ == "__main__":
    main()

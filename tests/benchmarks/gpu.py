"""What an accelerator can do, and how much of it a step takes: one table, in less than five minutes.

    python tests/benchmarks/gpu.py

First it measures the device itself: how fast it copies a large array, and how fast it multiplies two matrices. Then it
times forward, BPTT and every rule at several windows, on the models of `models.py`. All methods of one row of settings
run in turn, round by round. Beside each time stands what the traces alone would take at the speed of a copy (one read
and one write of the trace per step, or per window), and the ratio to BPTT. With `--small` it is a check that the script
runs, on any device.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from models import data, loss_step, Network
from throughput import bptt, forward, online

import eqx_etrace as etr

RULES = {"DRTRL": etr.DRTRL(), "DRTRL in bfloat16": etr.DRTRL(trace_dtype=jnp.bfloat16), "PPProp": etr.PPProp(0.95)}


def seconds(run: Callable[[], Any], rounds: int) -> float:
    """The median over some rounds, the first not counted."""
    times = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        jax.block_until_ready(run())
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])


def copy_rate(size: int, rounds: int) -> float:
    """Bytes read and written per second, by an update in place."""
    update = jax.jit(lambda x: x * 0.5, donate_argnums=0)
    held = [jnp.ones(size, jnp.float32)]

    def run() -> Any:
        held[0] = update(held[0])
        return held[0]

    return 2 * 4 * size / seconds(run, rounds)


def product_rate(n: int, rounds: int) -> float:
    """Multiply-adds per second, in float32 as JAX multiplies it by default."""
    x = jnp.ones((n, n), jnp.float32)
    product = jax.jit(lambda x: x @ x)
    return n**3 / seconds(lambda: product(x), rounds)


class Method:
    """One compiled program, with the carry that it gives back to itself."""

    def __init__(self, name: str, run: Any, model: Any, state: Any, trace: Any, inputs: Any, passes: float):
        self.name, self.model, self.inputs, self.times = name, model, inputs, []
        self.carry = jax.tree.map(lambda x: x.copy(), (state, trace))
        self.bytes = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(trace)) * passes
        self.compiled = jax.jit(run, donate_argnums=(1, 2)).lower(model, *self.carry, *inputs).compile()
        self.time()
        self.times.clear()

    def time(self) -> None:
        began = time.perf_counter()
        _, *carry = jax.block_until_ready(self.compiled(self.model, *self.carry, *self.inputs))
        self.carry = tuple(carry)
        self.times.append((time.perf_counter() - began) / self.inputs[0].shape[0])


def methods(cell: str, n: int, batch: int, steps: int, windows: list[int]) -> list[Method]:
    whole = Network(cell, n)
    model, static = eqx.partition(whole, eqx.is_array)
    inputs = data(steps, batch)
    state = whole.cell.init_state((batch, n))
    found = [
        Method("forward", forward(static), model, state, (), inputs, 0),
        Method("BPTT", bptt(static), model, state, (), inputs, 0),
    ]
    for name, rule in RULES.items():
        trace = etr.etrace_grad(loss_step, rule).init(whole, state, *(x[0] for x in inputs))
        for window in windows:
            run = online(static, rule, window)
            found.append(Method(f"{name} window {window}", run, model, state, trace, inputs, 2 / max(window, 1)))
    return found


def table(title: str, found: list[Method], rounds: int, copied: float) -> None:
    for _ in range(rounds):
        for method in found:
            method.time()
    base = statistics.median(next(m for m in found if m.name == "BPTT").times)
    print(f"\n{title}\n{'method':<30}{'us per step':>13}{'min':>10}{'x BPTT':>9}{'copy, us':>10}{'x copy':>9}")
    for m in found:
        median, copy = statistics.median(m.times), m.bytes / copied
        ratio = f"{median / copy:9.2f}" if copy else f"{'-':>9}"
        row = f"{m.name:<30}{median * 1e6:>13.1f}{min(m.times) * 1e6:>10.1f}{median / base:>9.2f}{copy * 1e6:>10.1f}"
        print(row + ratio, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=270.0, help="no row of settings begins after so long")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--small", action="store_true", help="tiny sizes: does the script run?")
    options = parser.parse_args()
    began, device = time.perf_counter(), jax.devices()[0]
    size, n = (10_000, 64) if options.small else (2**28, 8192)
    copied, multiplied = copy_rate(size, options.rounds), product_rate(n, options.rounds)
    print(f"JAX {jax.__version__}, {device.device_kind}: copies {copied / 1e9:.1f} GB/s, ", end="")
    print(f"multiplies {2 * multiplied / 1e12:.3f} TFLOP/s")
    settings = [(512, 16), (1024, 64), (2048, 128)]
    for cell, (n, batch) in [(cell, at) for at in settings for cell in ("leaky", "alif", "gru")]:
        if time.perf_counter() - began > options.seconds:
            print(f"\nno time left for {cell}, n = {n}, batch {batch}")
            continue
        n, batch, steps = (8, 2, 16) if options.small else (n, batch, 128)
        found = methods(cell, n, batch, steps, [1, 32])
        table(f"{cell}, n = {n}, batch {batch}, T = {steps}", found, options.rounds, copied)
        if options.small:
            break
    print(f"\n{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()

"""Time and memory per step, side by side: forward, BPTT, and every rule at several windows.

    python tests/benchmarks/throughput.py --cells leaky gru --units 512 --batch 16

All methods of one row of settings are compiled first and then run in turn, round by round, so that a drift of the
machine meets all of them. Times are per step: median and minimum over the rounds, and the ratio of the medians to
BPTT's. `temp` is the temporary memory of the compiled program as XLA reports it, `compiled` adds the carried trace and
state; `measured` is how much the process grew during a run, plus that carry (Linux only). The second table gives the
same against the length T, for BPTT and `scan(window=32)`. `--braintrace PYTHON` names an interpreter that has
braintrace: its methods then run on the same weights and data, in a process of their own, in the same rounds.
"""

import argparse
import ctypes
import math
import pathlib
import statistics
import time
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from history import add_option, History
from models import data, loss_step, Network
from peer import Peer

import eqx_etrace as etr

RULES = {"DRTRL": etr.DRTRL(), "PPProp": etr.PPProp(0.95)}


def forward(static: Any) -> Callable[..., Any]:
    def run(model, state, trace, xs, ys):
        def step(state, now):
            loss, state = loss_step(eqx.combine(model, static), state, *now)
            return state, loss

        state, losses = jax.lax.scan(step, state, (xs, ys))
        return losses.sum(), state, trace

    return run


def bptt(static: Any) -> Callable[..., Any]:
    def run(model, state, trace, xs, ys):
        def total(model):
            loss, state_, _ = forward(static)(model, state, trace, xs, ys)
            return loss, state_

        gradient, last = jax.grad(total, has_aux=True)(model)
        return gradient, last, trace

    return run


def online(static: Any, rule: etr.AbstractRule, window: int) -> Callable[..., Any]:
    transform = etr.etrace_grad(loss_step, rule)

    def run(model, state, trace, xs, ys):
        gradient, state, trace = transform.scan(eqx.combine(model, static), state, trace, xs, ys, window=window)
        return eqx.filter(gradient, eqx.is_array), state, trace

    return run


class Method:
    """One compiled program, with the carry that it gives back to itself."""

    def __init__(self, name: str, run: Callable[..., Any], model: Any, state: Any, trace: Any, inputs: Any):
        self.name, self.model, self.inputs, self.times = name, model, inputs, []
        self.carry = jax.tree.map(lambda x: x.copy(), (state, trace))
        began = time.perf_counter()
        self.compiled = jax.jit(run, donate_argnums=(1, 2)).lower(model, *self.carry, *inputs).compile()
        self.compile_time = time.perf_counter() - began
        memory = self.compiled.memory_analysis()
        assert memory is not None, "this backend does not say how much memory a program takes"
        self.temporary, self.carried = memory.temp_size_in_bytes, memory.alias_size_in_bytes
        self.measured = self.carried + max(growth(self.run) for _ in range(2))
        self.times.clear()

    @property
    def cells(self) -> str:
        sizes = self.temporary, self.temporary + self.carried, self.measured
        return f"{self.compile_time:>11.2f}" + "".join(f"{size / 1e6:>13.1f}" for size in sizes)

    def run(self) -> None:
        _, *carry = jax.block_until_ready(self.compiled(self.model, *self.carry, *self.inputs))
        self.carry = tuple(carry)

    def time(self) -> None:
        began = time.perf_counter()
        self.run()
        self.times.append((time.perf_counter() - began) / self.inputs[0].shape[0] * 1e3)


def growth(run: Callable[[], None]) -> int:
    """By how many bytes the resident memory of this process grows, at the most, during a run."""

    def read(name: str) -> int:
        lines = pathlib.Path("/proc/self/status").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))

    ctypes.CDLL(None).malloc_trim(0)
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    before = read("VmRSS")
    run()
    return read("VmHWM") - before


def methods(cell: str, n: int, batch: int, length: int, windows: list[int], python: str | None = None) -> list[Any]:
    model, static = eqx.partition(Network(cell, n), eqx.is_array)
    inputs = data(length, batch)
    state = eqx.combine(model, static).cell.init_state((batch, n))
    first = [x[0] for x in inputs]
    runs: list[tuple[str, Callable[..., Any], Any]] = [("forward", forward(static), ()), ("BPTT", bptt(static), ())]
    for name, rule in RULES.items():
        trace = etr.etrace_grad(loss_step, rule).init(eqx.combine(model, static), state, *first)
        runs += [(f"{name} window {w}", online(static, rule, w), trace) for w in windows]
    ours = [Method(name, run, model, state, trace, inputs) for name, run, trace in runs]
    return ours + (Peer(python, cell, n, eqx.combine(model, static), inputs).methods() if python else [])


def report(title: str, found: list[Any], rounds: int, history: History) -> None:
    for _ in range(rounds):
        for method in found:
            method.time()
    counted = {m.name: m.times[1:] for m in found}
    base = statistics.median(counted["BPTT"])
    columns = {"median ms": 10, "min ms": 10, "max ms": 10, "x BPTT": 9, "compile s": 11}
    columns |= {"temp MB": 13, "compiled MB": 13, "measured MB": 13}
    print(f"\n{title}\n{'method':<28}" + "".join(name.rjust(width) for name, width in columns.items()))
    for m in found:
        median, least, most = statistics.median(counted[m.name]), min(counted[m.name]), max(counted[m.name])
        print(f"{m.name:<28}{median:>10.3f}{least:>10.3f}{most:>10.3f}{median / base:>9.2f}{m.cells}", flush=True)
        if m.name != "BPTT" and math.isfinite(median):  # a peer may refuse
            history.append(title, m.name, counted[m.name], "BPTT", counted["BPTT"])


def against_length(cell: str, n: int, batch: int, lengths: list[int], rounds: int, history: History) -> None:
    for length in lengths:
        model, static = eqx.partition(Network(cell, n), eqx.is_array)
        inputs = data(length, batch)
        state = eqx.combine(model, static).cell.init_state((batch, n))
        trace = etr.etrace_grad(loss_step, RULES["DRTRL"]).init(
            eqx.combine(model, static), state, *(x[0] for x in inputs)
        )
        found = [
            Method("BPTT", bptt(static), model, state, (), inputs),
            Method("DRTRL window 32", online(static, RULES["DRTRL"], 32), model, state, trace, inputs),
        ]
        report(f"{cell}, n = {n}, batch {batch}, T = {length}", found, rounds, history)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", nargs="+", default=["leaky", "alif", "gru"])
    parser.add_argument("--units", nargs="+", type=int, default=[128, 512, 1024])
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 16])
    parser.add_argument("--windows", nargs="+", type=int, default=[1, 8, 32, 128])
    parser.add_argument("--steps", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=6, help="the first is not counted")
    parser.add_argument("--lengths", nargs="*", type=int, default=[100, 1000, 10000], help="of the second table")
    parser.add_argument("--braintrace", metavar="PYTHON", help="an interpreter that has braintrace")
    add_option(parser)
    options = parser.parse_args()
    history = History("throughput", "ms per step", options.record, jax.devices()[0].device_kind)
    print(f"JAX {jax.__version__}, {jax.devices()[0].device_kind}, {options.steps} steps, {options.rounds - 1} rounds")
    for cell in options.cells:
        for n in options.units:
            for batch in options.batch:
                title = f"{cell}, n = {n}, batch {batch}, T = {options.steps}"
                found = methods(cell, n, batch, options.steps, options.windows, options.braintrace)
                report(title, found, options.rounds, history)
    for cell in options.cells if options.lengths else []:
        against_length(cell, min(options.units), max(options.batch), options.lengths, options.rounds, history)


if __name__ == "__main__":
    main()

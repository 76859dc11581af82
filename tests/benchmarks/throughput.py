"""Time and memory per step, side by side: forward, BPTT, and every rule at several windows.

    python tests/benchmarks/throughput.py --cells leaky gru --units 512 --batch 16

All methods of one row of settings are compiled first and then run in turn, round by round, so that a drift of the
machine meets all of them. Times are per step: median and minimum over the rounds, and the ratio of the medians to
BPTT's. `temp` is the temporary memory of the compiled program as XLA reports it, `compiled` adds the carried trace and
state. The second table gives the same against the length T, for BPTT and `scan(window=32)`.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from models import data, loss_step, Network

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
        self.temporary = memory.temp_size_in_bytes
        self.memory = memory.temp_size_in_bytes + memory.alias_size_in_bytes

    def time(self) -> None:
        began = time.perf_counter()
        _, *carry = jax.block_until_ready(self.compiled(self.model, *self.carry, *self.inputs))
        self.times.append((time.perf_counter() - began) / self.inputs[0].shape[0] * 1e3)
        self.carry = tuple(carry)


def methods(cell: str, n: int, batch: int, length: int, windows: list[int]) -> list[Method]:
    model, static = eqx.partition(Network(cell, n), eqx.is_array)
    inputs = data(length, batch)
    state = eqx.combine(model, static).cell.init_state((batch, n))
    first = [x[0] for x in inputs]
    runs: list[tuple[str, Callable[..., Any], Any]] = [("forward", forward(static), ()), ("BPTT", bptt(static), ())]
    for name, rule in RULES.items():
        trace = etr.etrace_grad(loss_step, rule).init(eqx.combine(model, static), state, *first)
        runs += [(f"{name} window {w}", online(static, rule, w), trace) for w in windows]
    return [Method(name, run, model, state, trace, inputs) for name, run, trace in runs]


def report(title: str, found: list[Method], rounds: int) -> None:
    for _ in range(rounds):
        for method in found:
            method.time()
    base = statistics.median(next(m for m in found if m.name == "BPTT").times[1:])
    columns = {"median ms": 10, "min ms": 10, "x BPTT": 9, "compile s": 11, "temp MB": 9, "compiled MB": 13}
    print(f"\n{title}\n{'method':<20}" + "".join(name.rjust(width) for name, width in columns.items()))
    for m in found:
        median, least = statistics.median(m.times[1:]), min(m.times[1:])
        sizes = f"{m.temporary / 1e6:>9.1f}{m.memory / 1e6:>13.1f}"
        print(
            f"{m.name:<20}{median:>10.3f}{least:>10.3f}{median / base:>9.2f}{m.compile_time:>11.2f}{sizes}", flush=True
        )


def against_length(cell: str, n: int, batch: int, lengths: list[int], rounds: int) -> None:
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
        report(f"{cell}, n = {n}, batch {batch}, T = {length}", found, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", nargs="+", default=["leaky", "alif", "gru"])
    parser.add_argument("--units", nargs="+", type=int, default=[128, 512, 1024])
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 16])
    parser.add_argument("--windows", nargs="+", type=int, default=[1, 8, 32, 128])
    parser.add_argument("--steps", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=6, help="the first is not counted")
    parser.add_argument("--lengths", nargs="*", type=int, default=[100, 1000, 10000], help="of the second table")
    options = parser.parse_args()
    print(f"JAX {jax.__version__}, {jax.devices()[0].device_kind}, {options.steps} steps, {options.rounds - 1} rounds")
    for cell in options.cells:
        for n in options.units:
            for batch in options.batch:
                title = f"{cell}, n = {n}, batch {batch}"
                report(title, methods(cell, n, batch, options.steps, options.windows), options.rounds)
    for cell in options.cells if options.lengths else []:
        against_length(cell, min(options.units), max(options.batch), options.lengths, options.rounds)


if __name__ == "__main__":
    main()

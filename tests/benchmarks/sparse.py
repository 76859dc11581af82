"""A sparse network: a trace of one number for each synapse, beside one written by hand; time per step and memory.

    python tests/benchmarks/sparse.py --units 20000 --inputs 100
    python tests/benchmarks/sparse.py --units 139000 --inputs 108
    python tests/benchmarks/sparse.py --braintrace PYTHON

The same network is written in three ways: synapses summed at an index that the model holds (`segment_sum`), as a `BCOO`
product, and with as many inputs for every unit (`(w * x[index]).sum(-1)`). By hand it is a forward pass, its trace and
its gradient, in plain JAX. All give one gradient per call, checked to be equal, and run in turn, round by round. Memory
is what the compiled program holds at once, arguments and results included, in multiples of trace, weights and two
indices. braintrace needs numba beside it.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from history import add_option, History
from jax.experimental import sparse as jsparse

import eqx_etrace as etr

LEAK = 0.9


def advanced(h: jax.Array, current: jax.Array) -> jax.Array:
    return LEAK * h + jnp.tanh(current)


class Summed(eqx.Module):
    """At an index of the model."""

    w: jax.Array
    row: jax.Array
    col: jax.Array

    def __call__(self, x: jax.Array) -> jax.Array:
        return jax.ops.segment_sum(self.w * x[self.col], self.row, x.size)


class Product(eqx.Module):
    """A sparse matrix of JAX."""

    w: jax.Array
    index: jax.Array

    def __call__(self, x: jax.Array) -> jax.Array:
        return jsparse.BCOO((self.w, self.index), shape=(x.size, x.size), indices_sorted=True, unique_indices=True) @ x


class FanIn(eqx.Module):
    """As many inputs for every unit."""

    w: jax.Array
    col: jax.Array

    def __call__(self, x: jax.Array) -> jax.Array:
        return (self.w * x[self.col]).sum(-1)


def loss_step(model: Callable[..., Any], h: jax.Array, x: jax.Array) -> Any:
    h = advanced(h, model(x))
    return jnp.mean(h**2), h


def by_hand(model: Summed, h: jax.Array, e: jax.Array, x: jax.Array) -> Any:
    y = jnp.tanh(jax.ops.segment_sum(model.w * x[model.col], model.row, x.size))
    h, e = LEAK * h + y, LEAK * e + (1 - y**2)[model.row] * x[model.col]
    return (2 * h / h.size)[model.row] * e, h, e


class Method:
    """A compiled step with its arguments."""

    def __init__(self, name: str, step: Callable[..., Any], *args: Any):
        self.name, self.args, self.times = name, args, []
        began = time.perf_counter()
        self.run = jax.jit(step).lower(*args).compile()
        self.seconds = time.perf_counter() - began
        self.gradient = np.ravel(jax.tree.leaves(self.run(*args)[0])[0])
        sizes = self.run.memory_analysis()
        assert sizes is not None
        held = (sizes.argument_size_in_bytes, sizes.output_size_in_bytes, sizes.temp_size_in_bytes)
        self.memory = sum(held) - sizes.alias_size_in_bytes

    def time(self) -> None:
        began = time.perf_counter()
        jax.block_until_ready(self.run(*self.args))
        self.times.append(1e3 * (time.perf_counter() - began))


def online(name: str, model: Any, h: jax.Array, x: jax.Array) -> Method:
    """What `etrace_grad` makes of the step."""
    began = time.perf_counter()
    learner = etr.etrace_grad(loss_step, etr.DRTRL())
    report = learner.graph(model, h, x).report(etr.DRTRL())
    trace = learner.init(model, h, x)
    analysis = time.perf_counter() - began
    assert all(row.exact for row in report.rows)
    arrays, rest = eqx.partition(model, eqx.is_array)
    method = Method(name, lambda arrays, *rest_: learner(eqx.combine(arrays, rest), *rest_), arrays, h, trace, x)
    print(f"{name}: analysis {analysis:.2f} s, compiled in {method.seconds:.2f} s, trace {report.trace_bytes:,} B")
    return method


class Braintrace:
    """The same network by braintrace's sparse product, in a process of its own."""

    def __init__(self, python: str, arrays: dict[str, Any]):
        with tempfile.NamedTemporaryFile(suffix=".npz", delete=False) as file:
            np.savez(file, **arrays)
        script = str(pathlib.Path(__file__).with_name("peer_sparse.py"))
        self.process = subprocess.Popen(
            [python, script, file.name], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.name, self.times, self.memory = "braintrace, sparse_matmul", [], 0
        ready = self.ask()
        pathlib.Path(file.name).unlink()
        print(f"{self.name} {ready['version']}: ready in {ready['seconds']:.1f} s")
        self.gradient = np.asarray(ready["gradient"])

    def ask(self) -> Any:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def time(self) -> None:
        self.times.append(self.ask()["ms"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=20_000)
    parser.add_argument("--inputs", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--braintrace", metavar="PYTHON", help="an interpreter that has braintrace")
    add_option(parser)
    options = parser.parse_args()
    n, k = options.units, options.inputs
    rng = np.random.default_rng(0)
    w = rng.normal(size=n * k).astype(np.float32) / np.sqrt(k)
    row = np.repeat(np.arange(n, dtype=np.int32), k)
    col = rng.integers(0, n, n * k).astype(np.int32)
    h, x = jnp.asarray(rng.normal(size=n), jnp.float32), jnp.asarray(rng.normal(size=n), jnp.float32)
    summed = Summed(jnp.asarray(w), jnp.asarray(row), jnp.asarray(col))
    methods: list[Any] = [
        Method("by hand", by_hand, summed, h, jnp.zeros(n * k), x),
        online("segment_sum", summed, h, x),
        online("BCOO", Product(summed.w, jnp.stack([summed.row, summed.col], 1)), h, x),
        online("fixed fan-in", FanIn(summed.w.reshape(n, k), summed.col.reshape(n, k)), h, x),
    ]
    if options.braintrace:
        arrays = {"w": w, "row": row, "col": col, "h": np.asarray(h), "x": np.asarray(x)}
        methods.append(Braintrace(options.braintrace, arrays))
    for method in methods[1:]:
        np.testing.assert_allclose(method.gradient, methods[0].gradient, rtol=1e-4, atol=1e-7, err_msg=method.name)
    for _ in range(options.rounds):
        for method in methods:
            method.time()
    history, least = History("sparse", "ms per step", options.record), 4 * 4 * n * k
    print(f"\n{n:,} units, {n * k:,} synapses\n{'':<28} {'ms':>9} {'spread':>15} {'by hand':>8} {'memory':>7}")
    for method in methods:
        middle, first = statistics.median(method.times), statistics.median(methods[0].times)
        spread = f"{min(method.times):.1f} to {max(method.times):.1f}"
        held = f"{method.memory / least:.2f}" if method.memory else ""
        print(f"{method.name:<28} {middle:>9.2f} {spread:>15} {middle / first:>8.2f} {held:>7}")
        history.append(f"{n} units, {k} inputs", method.name, method.times, "by hand", methods[0].times)


if __name__ == "__main__":
    main()

"""A network of the size of a fly's brain, trained online: time per step and memory, beside a trace written by hand.

    python tests/benchmarks/fly.py                           # 139,255 units, 15.1 million connections
    python tests/benchmarks/fly.py --brain MALE_CNS          # 166,700 units, 25.6 million
    python tests/benchmarks/fly.py --file connections.csv.gz # a connectome that you have

Leaky integrate-and-fire units, whose spikes reach others through trained weights one step later. By hand it is the
forward pass, its trace and its gradient in plain JAX. Gradients are checked to be equal over several steps. Then all
run in turn, round by round: one gradient per call, and a whole learner that updates its weights in place. Memory is
what the compiled program holds at once, beside `held_bytes` of the report.
"""

import argparse
import functools
import pathlib
import re
import statistics
import time
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from history import add_option, History

import eqx_etrace as etr
from eqx_etrace import connectome, nn

LEAK, RATE = 0.82, 0.1
spike = nn.Triangular()


class Brain(eqx.Module):
    """Its synapses; and which units it is told of."""

    synapses: nn.SparseProjection


def loss_step(brain: Brain, v: jax.Array, x: jax.Array) -> Any:
    """What a researcher writes."""
    z = spike(v - 1)
    v = LEAK * v - jax.lax.stop_gradient(z) + brain.synapses(z) + x
    return (jnp.mean(spike(v - 1)) - RATE) ** 2, v


def slope(v: jax.Array) -> jax.Array:
    return jnp.maximum(0, 1 - jnp.abs(v - 1)) * 0.3


def by_hand(brain: Brain, v: jax.Array, e: jax.Array, x: jax.Array) -> Any:
    """No transform, and nothing of this library: e <- LEAK e + z[source], and the credit that one step back takes."""
    w, source, target = brain.synapses.weight, brain.synapses.source, brain.synapses.target
    z = (v >= 1).astype(v.dtype)
    sent = z.at[source].get(wrap_negative_indices=False)
    new = LEAK * v - z + jax.ops.segment_sum(w * sent, target, v.size) + x
    signal = 2 * (jnp.mean(new >= 1) - RATE) / v.size * slope(new)
    arrived = signal.at[target].get(wrap_negative_indices=False)
    before = LEAK * signal + slope(v) * jax.ops.segment_sum(w * arrived, source, v.size)
    return arrived * sent + before.at[target].get(wrap_negative_indices=False) * e, new, LEAK * e + sent


class Method:
    """A compiled step with what it works on, which it replaces."""

    def __init__(self, name: str, step: Callable[..., Any], brain: Brain, *carried: Any):
        began = time.perf_counter()
        donated = jax.jit(step, donate_argnums=tuple(range(1, len(carried))))
        self.name, self.brain, self.times = name, brain, []
        self.carried = jax.tree.map(jnp.copy, carried)  # each replaces its own
        self.run = donated.lower(brain, *carried).compile()
        self.seconds = time.perf_counter() - began
        sizes = self.run.memory_analysis()
        assert sizes is not None
        held = (sizes.argument_size_in_bytes, sizes.output_size_in_bytes, sizes.temp_size_in_bytes)
        self.memory = sum(held) - sizes.alias_size_in_bytes

    def __call__(self, x: jax.Array) -> Any:
        out, *carried = self.run(self.brain, *self.carried[:-1], x)
        self.carried = (*carried, x)
        return jax.block_until_ready(out)

    def time(self, x: jax.Array) -> None:
        began = time.perf_counter()
        self(x)
        self.times.append(1e3 * (time.perf_counter() - began))


def one_gradient(rule: Any, brain: Brain, v: jax.Array, x: jax.Array) -> tuple[Method, float, Any]:
    """A call of `etrace_grad`; how long the analysis took; and the report."""
    began = time.perf_counter()
    online = etr.etrace_grad(loss_step, rule)
    report = online.graph(brain, v, x).report(rule)
    trace = online.init(brain, v, x)
    analysis = time.perf_counter() - began

    def call(brain: Brain, v: jax.Array, trace: Any, x: jax.Array) -> Any:
        grads, v, trace = online(brain, v, trace, x)
        return grads.synapses.weight, v, trace

    return Method(f"{rule}", call, brain, v, trace, x), analysis, report


def whole_learner(rule: Any, brain: Brain, v: jax.Array, x: jax.Array) -> Method:
    """Gradient, update by gradient descent, and the next."""
    learner = etr.OnlineLearner(etr.etrace_value_and_grad(loss_step, rule), optax.sgd(1e-3))

    def call(fixed: Any, learning: Any, x: jax.Array) -> Any:
        del fixed
        learning, loss = learner(learning, x)
        return loss, learning

    return Method(f"{rule}, learner", call, brain, learner.init(brain, v, x), x)


def inputs(rng: np.random.Generator, units: int) -> jax.Array:
    """A tenth of the units is driven."""
    return jnp.asarray(rng.random(units) * (rng.random(units) < 0.1), jnp.float32)


def check_equal(hand: Method, ours: Method, xs: list[jax.Array]) -> float:
    """The largest difference over these steps, in parts of the largest number."""
    off = 0.0
    for x in xs:
        wanted, found = np.asarray(hand(x)), np.asarray(ours(x))
        off = max(off, float(np.abs(found - wanted).max() / max(np.abs(wanted).max(), 1e-30)))
    return off


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brain", choices=["FLYWIRE", "MALE_CNS"], default="FLYWIRE")
    parser.add_argument("--file", help="a connectome of your own, instead")
    parser.add_argument("--part", type=float, default=1.0, help="of units and connections, for a smaller network")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", help="a single method, by the beginning of its name, for the memory of the process")
    add_option(parser)
    options = parser.parse_args()
    began, before = time.perf_counter(), in_process("VmRSS")
    sizes = [int(options.part * size) for size in getattr(connectome, options.brain)]
    fly = connectome.read(options.file) if options.file else connectome.random(0, *sizes)
    print(f"{fly.units:,} units, {len(fly.source):,} connections, made in {time.perf_counter() - began:.1f} s")
    brain = Brain(nn.SparseProjection(fly.source, fly.target, fly.weights(3.0), fly.units))
    measure(brain, options, before)


def in_process(what: str) -> float:
    """Memory of this process, in MB, on Linux."""
    return int(re.findall(rf"{what}:\s+(\d+)", pathlib.Path("/proc/self/status").read_text())[0]) / 1e3


def measure(brain: Brain, options: argparse.Namespace, before: float) -> None:
    rng, units, size = np.random.default_rng(1), brain.synapses.out_size, brain.synapses.weight.size
    v, x = jnp.zeros(units), inputs(rng, units)
    makers: dict[str, Callable[[], tuple[Method, float, Any]]] = {
        "by hand": lambda: (Method("by hand", by_hand, brain, v, jnp.zeros(size), x), 0.0, None),
        **{str(rule): functools.partial(one_gradient, rule, brain, v, x) for rule in (etr.DRTRL(), etr.PPProp(0.82))},
        "DRTRL(), learner": lambda: (whole_learner(etr.DRTRL(), brain, v, x), 0.0, None),
    }
    made = [make() for name, make in makers.items() if name.startswith(options.only or "")]
    for method, analysis, report in made:
        said = "" if report is None else f", analysis {analysis:.2f} s, trace {report.trace_bytes:,} B"
        print(f"{method.name}: compiled in {method.seconds:.2f} s{said}")
    if not options.only:
        off = check_equal(made[0][0], made[1][0], [inputs(rng, units) for _ in range(10)])
        print(f"over ten steps DRTRL is {off:.1e} from the trace by hand")
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # from here on counts the most that the process takes
    for _ in range(options.rounds):
        x = inputs(rng, units)
        for method, *_rest in made:
            method.time(x)
    history = History("fly", "ms per step", options.record)
    first = made[0][0]
    print(f"\n{'':<26} {'ms':>8} {'spread':>16} {'by hand':>8} {'memory':>9} {'report':>9} {'ratio':>6}")
    for method, _, report in made:
        middle = statistics.median(method.times)
        spread = f"{min(method.times):.0f} to {max(method.times):.0f}"
        said = "" if report is None else f"{report.held_bytes / 1e6:>7.0f}MB {method.memory / report.held_bytes:>6.2f}"
        beside = middle / statistics.median(first.times)
        print(f"{method.name:<26} {middle:>8.1f} {spread:>16} {beside:>8.2f} {method.memory / 1e6:>7.0f}MB {said}")
        history.append(f"{units} units, {size} connections", method.name, method.times, first.name, first.times)
    took = in_process("VmHWM")
    print(f"The process took {took:,.0f} MB at most while they ran; {before:,.0f} before there was a network.")


if __name__ == "__main__":
    main()

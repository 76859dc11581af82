"""Two processes on one machine, each on a core of its own, beside one: measured, not computed.

    python tests/benchmarks/scaling.py

The processes are of `jax.distributed`, on loopback. Strong scaling: the same network, cut over the processes by its
synapses (a part of a fly's brain), or by its lanes (dense units in a batch). Weak scaling: as many lanes for each
process. Each round scans some steps in each setting, one after the other; the median of the rounds counts.
"""

import functools
import os
import socket
import statistics
import subprocess
import sys
import time
from typing import Any

SETTINGS = {  # what is cut, and how many lanes, by number of processes
    "synapses": {1: 0, 2: 0},
    "lanes": {1: 128, 2: 128},
    "as many lanes for each": {1: 64, 2: 128},
}
ROUNDS, STEPS = 7, 10


def dense(lanes: int) -> Any:
    """Leaky units with dense weights: model, state, input, step."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    def step(model: Any, h: jax.Array, x: jax.Array) -> Any:
        h = 0.9 * h + jnp.tanh(x @ model["into"] + h @ model["back"])
        return jnp.mean(h**2), h

    rng, units = np.random.default_rng(0), 512
    model = {n: np.float32(rng.normal(size=(units, units)) / units) for n in ("into", "back")}
    return step, model, np.zeros((lanes, units), np.float32), np.float32(rng.normal(size=(STEPS, lanes, units)))


def brain() -> Any:
    """A tenth of a fly's."""
    import numpy as np
    from fly import Brain, inputs, loss_step

    from eqx_etrace import connectome, nn

    fly = connectome.random(0, 13_926, 1_509_198)
    model = Brain(nn.SparseProjection(fly.source, fly.target, fly.weights(3.0), fly.units))
    x = np.stack([inputs(np.random.default_rng(seed), fly.units) for seed in range(STEPS)])
    return loss_step, model, np.zeros(fly.units, np.float32), x


def serve(number: int, count: int, port: str) -> None:
    """One of the processes: runs what it is asked to, and says how long a step took."""
    os.sched_setaffinity(0, {number})
    os.environ["JAX_PLATFORMS"] = "cpu"
    import jax
    from jax.sharding import AxisType, NamedSharding
    from jax.sharding import PartitionSpec as P

    import eqx_etrace as etr

    if count > 1:
        jax.distributed.initialize(f"127.0.0.1:{port}", num_processes=count, process_id=number)
    mesh = jax.make_mesh((count,), ("d",), axis_types=(AxisType.Auto,))

    def put(tree: Any, spec: P) -> Any:
        return jax.device_put(jax.device_get(tree), NamedSharding(mesh, spec))

    def prepared(lanes: int) -> Any:
        step, model, h, x = dense(lanes) if lanes else brain()
        of_model, of_state, of_input = (P(), P("d"), P(None, "d")) if lanes else (P("d"), P(), P())
        model, h, x = put(model, of_model), put(h, of_state), put(x, of_input)
        online = etr.etrace_grad(step, etr.DRTRL())
        trace = online.init(model, h, x[0])

        @functools.partial(jax.jit, donate_argnums=(1, 2))
        def call(model: Any, h: Any, trace: Any, x: Any) -> Any:
            return online.scan(model, h, trace, x)

        return [call, model, h, trace, x]

    ready = {name: prepared(lanes[count]) for name, lanes in SETTINGS.items()}
    for line in sys.stdin:
        call, model, h, trace, x = ready[line.strip()]
        began = time.perf_counter()
        grads, h, trace = call(model, h, trace, x)
        jax.block_until_ready((grads, h, trace))
        ready[line.strip()][2:4] = h, trace
        print(f"took {(time.perf_counter() - began) / STEPS}", flush=True)


def started(count: int) -> list[subprocess.Popen[str]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return [subprocess.Popen([sys.executable, __file__, str(n), str(count), port], **pipes) for n in range(count)]


def asked(processes: list[subprocess.Popen[str]], name: str) -> float:
    """The time of a step, of the last that is done."""
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(name + "\n")
        process.stdin.flush()
    return max(map(answer, processes))


def answer(process: subprocess.Popen[str]) -> float:
    """What it says next; the library that connects processes writes lines of its own."""
    assert process.stdout is not None
    return next(float(line.split()[1]) for line in process.stdout if line.startswith("took "))


def main() -> None:
    groups = {count: started(count) for count in (1, 2)}
    times: dict[tuple[str, int], list[float]] = {(name, count): [] for name in SETTINGS for count in groups}
    for name, count in times:
        asked(groups[count], name)  # compiles
    for _ in range(ROUNDS):
        for name, count in times:
            times[name, count].append(1e3 * asked(groups[count], name))
    print("| cut by | one process, ms | two, ms | ratio |\n|---|---|---|---|")
    for name in SETTINGS:
        one, two = (times[name, count] for count in groups)
        shown = [f"{statistics.median(t):.1f} ({min(t):.1f} to {max(t):.1f})" for t in (one, two)]
        print(f"| {name} | {shown[0]} | {shown[1]} | {statistics.median(one) / statistics.median(two):.2f} |")
    for process in (process for group in groups.values() for process in group):
        process.communicate()


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]) if len(sys.argv) > 1 else main()

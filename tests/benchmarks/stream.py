"""A million online steps: does anything drift, leak or compile again? `python stream.py [--write]`, three minutes.

One small recurrent network with a leaky readout reads an endless stream twice, in single and in double precision, and
learns it at every step, or stands still. After 10^3 to 10^6 steps: how far the trace, the state, the gradient of the
next step and the parameters in single precision are from those in double precision, as a part of their norm. Beside
that the arrays that are alive, and what memory the process has taken and how many programs it has compiled since 10^3
steps.
With `--write` the table goes into `docs/streams.md`.
"""

import argparse
import gc
import pathlib
import resource
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

import eqx_etrace as etr

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "streams.md"
UNITS, INPUTS, OUTPUTS, PIECE = 8, 3, 2, 1000
RULES = {
    "DRTRL": etr.DRTRL(),
    "RTRL": etr.RTRL(),
    "PPProp": etr.PPProp(0.9),
    "EProp": etr.EProp(),
    "OTTT": etr.OTTT(0.9),
}
RATES = {"fixed": 0.0, "learning": 1e-3}
_compiled = [0]


def _count(event: str, *_: Any, **__: Any) -> None:
    _compiled[0] += "backend_compile" in event


jax.monitoring.register_event_duration_secs_listener(_count)


class Row(NamedTuple):
    """After some steps."""

    rule: str
    parameters: str
    steps: int
    trace: float
    state: float
    gradient: float
    model: float
    megabytes: float
    """More than at the first checkpoint."""
    arrays: int
    compiled: int
    microseconds: float
    """Per step, in single precision."""


def loss_step(model: Any, state: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """Leaky units that hear each other, and a leaky readout."""
    h, out = state
    h = 0.9 * h + 0.1 * jnp.tanh(model["into"] @ x + model["back"] @ h)
    out = 0.8 * out + 0.2 * (model["out"] @ h)
    return jnp.mean((out - y) ** 2), (h, out)


def network(seed: int, dtype: Any) -> tuple[Any, Any]:
    """The same numbers in every precision, as far as it holds them."""
    keys = jax.random.split(jax.random.key(seed), 3)
    shapes = {"into": (UNITS, INPUTS), "back": (UNITS, UNITS), "out": (OUTPUTS, UNITS)}
    arrays = {
        name: jax.random.normal(key, shape, jnp.float32) / shape[1] ** 0.5
        for key, (name, shape) in zip(keys, shapes.items(), strict=True)
    }
    return jax.tree.map(lambda a: a.astype(dtype), arrays), (jnp.zeros(UNITS, dtype), jnp.zeros(OUTPUTS, dtype))


@jax.jit
def piece(state: Any, number: Any) -> tuple[Any, Any, Any]:
    """One piece of the stream: what a network of other weights makes of noise."""
    xs = jax.random.normal(jax.random.fold_in(jax.random.key(7), number), (PIECE, INPUTS), jnp.float32)
    teacher, _ = network(1, jnp.float32)

    def follow(state: Any, x: Any) -> tuple[Any, Any]:
        _, state = loss_step(teacher, state, x, jnp.zeros(OUTPUTS, jnp.float32))
        return state, state[1]

    state, ys = jax.lax.scan(follow, state, xs)
    return state, xs, ys


def apart(single: Any, double: Any) -> float:
    """The distance, as a part of the norm."""
    pairs = zip(jax.tree.leaves(single), jax.tree.leaves(double), strict=True)
    pairs = [(a.astype(jnp.float64), b) for a, b in pairs if jnp.issubdtype(b.dtype, jnp.inexact) and b.size]
    off = sum(jnp.sum((a - b) ** 2) for a, b in pairs)
    size = sum(jnp.sum(b**2) for _, b in pairs)
    return float(jnp.sqrt(off / jnp.where(size > 0, size, 1)))


def megabytes() -> float:
    """What the process holds now."""
    pages = pathlib.Path("/proc/self/statm")
    return int(pages.read_text().split()[1]) * resource.getpagesize() / 1e6 if pages.exists() else float("nan")


def measure(name: str, parameters: str, checkpoints: Sequence[int]) -> Iterator[Row]:
    """A row at every checkpoint; these are whole pieces."""
    online = etr.etrace_value_and_grad(loss_step, RULES[name])
    learner = etr.OnlineLearner(online, optax.sgd(RATES[parameters]))
    gradient = eqx.filter_jit(lambda one, x, y: online(one.model, one.state, one.trace, x, y)[0][1])
    kinds, teacher = (jnp.float32, jnp.float64), network(1, jnp.float32)[1]
    runs = []
    for kind in kinds:
        model, state = network(0, kind)
        runs.append(learner.init(model, state, jnp.zeros(INPUTS, kind), jnp.zeros(OUTPUTS, kind)))
    begin, took = None, 0.0
    for number in range(checkpoints[-1] // PIECE):
        teacher, xs, ys = piece(teacher, number)
        for which, kind in enumerate(kinds):
            since = time.perf_counter()
            for after, _ in learner.chunks(runs[which], xs.astype(kind), ys.astype(kind), steps=PIECE):
                runs[which] = jax.block_until_ready(after)
            took += (time.perf_counter() - since) * (which == 0 and begin is not None)
        steps = (number + 1) * PIECE
        if steps in checkpoints:
            gaps = _gaps(
                runs, [gradient(r, xs[0].astype(k), ys[0].astype(k)) for r, k in zip(runs, kinds, strict=True)]
            )
            gc.collect()
            begin = (_compiled[0], megabytes()) if begin is None else begin  # after all has been compiled
            yield Row(
                **{"rule": name, "parameters": parameters, "steps": steps, **gaps},
                megabytes=megabytes() - begin[1],
                arrays=len(jax.live_arrays()),
                compiled=_compiled[0] - begin[0],
                microseconds=took / max(steps - checkpoints[0], 1) * 1e6,
            )


def _gaps(runs: Sequence[Any], gradients: Sequence[Any]) -> dict[str, float]:
    single, double = runs
    parts = {part: apart(getattr(single, part), getattr(double, part)) for part in ("trace", "state", "model")}
    return {**parts, "gradient": apart(*gradients)}


def table(rows: Sequence[Row]) -> str:
    """As the page has it."""
    head = (
        "| rule | parameters | steps | trace | state | gradient | model | memory | arrays | compiled | per step |\n"
        "|---|---|---|---|---|---|---|---|---|---|---|"
    )
    return "\n".join([head, *map(_line, rows)])


def _line(row: Row) -> str:
    gaps = " | ".join(f"{gap:.0e}" for gap in (row.trace, row.state, row.gradient, row.model))
    speed = f"{row.microseconds:.1f} us" if row.microseconds else "-"
    return (
        f"| `{row.rule}` | {row.parameters} | {row.steps:,} | {gaps} | {row.megabytes:+.1f} MB | {row.arrays} | "
        f"{row.compiled} | {speed} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=10**6, help="the last checkpoint (default: a million)")
    parser.add_argument("--write", action="store_true", help="put the table into docs/streams.md")
    given = parser.parse_args()
    checkpoints = [10**n for n in range(3, 10) if 10**n <= given.steps]
    rows = []
    for name in RULES:
        for parameters in RATES:
            for row in measure(name, parameters, checkpoints):
                rows.append(row)
                print(_line(row), flush=True)
    if given.write:
        before, _, after = PAGE.read_text().partition("| rule | parameters |")
        PAGE.write_text(before + table(rows) + "\n\n" + after.partition("\n\n")[2])


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    main()

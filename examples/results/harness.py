"""What the tasks of this folder share: a task, how gradients are made, how results are kept and shown."""

import dataclasses
import itertools
import json
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array
from tqdm import tqdm

import eqx_etrace as etr

KEPT = Path(__file__).parent / "kept"


# A task


class Budget(NamedTuple):
    """How long to train: `short` is what the tests run."""

    short: bool
    bar: Callable[..., Any] = tqdm

    def of(self, full: int, short: int) -> int:
        """The one or the other number of updates."""
        return short if self.short else full


class Outcome(NamedTuple):
    """What training gave: the score in the end, on data never seen, and scores on the way there."""

    score: float
    curve: list[tuple[int, float]]
    """(how much was seen, score)."""


@dataclasses.dataclass(frozen=True)
class Task:
    """One row of the table of results."""

    name: str
    title: str
    measure: str
    """What is scored, and its unit: the heading of a column."""
    seen: str
    """What the horizontal axis of the figure counts."""
    chance: float
    """The score of whoever learns nothing."""
    methods: tuple[str, ...]
    train: Callable[[str, int, Budget], Outcome]
    """(method, seed, budget) -> outcome."""
    about: str | None
    """What is done, and with which numbers."""
    is_logarithmic: bool = False
    """Is the axis of the score?"""
    decimals: int = 1
    """Decimals in the table."""


# Gradients of a sequence


class Gradient(NamedTuple):
    """How the gradient of a sequence is made: by a rule at a window, or by BPTT (None)."""

    rule: Any = None
    window: int = 1

    def __call__(
        self, loss_step: Callable[..., Any], model: Any, state: Any, *inputs: Any
    ) -> tuple[tuple[Array, Any], Any, Any]:
        """`((losses, aux), gradients), state` of a step that returns `((loss, aux), state)`; inputs by time."""
        if self.rule is None:
            return _bptt(loss_step, model, state, inputs)
        online = etr.etrace_value_and_grad(loss_step, self.rule, window=self.window, has_aux=True)
        first = jax.tree.map(lambda x: x[0], inputs)
        (value, grads), state, _ = online.scan(model, state, online.init(model, state, *first), *inputs)
        return value, grads, state


def _bptt(loss_step: Callable[..., Any], model: Any, state: Any, inputs: Any) -> tuple[Any, Any, Any]:
    def total(model: Any) -> tuple[Array, Any]:
        def body(state: Any, now: Any) -> tuple[Any, Any]:
            value, state = loss_step(model, state, *now)
            return state, value

        end, (losses, aux) = jax.lax.scan(body, state, inputs)
        return losses.sum(), ((losses, aux), end)

    grads, (value, end) = eqx.filter_grad(total, has_aux=True)(model)
    return value, grads, end


class Fit(NamedTuple):
    """What training goes through: a model, what the optimiser remembers, and what goes from one batch to the next."""

    model: Any
    moments: Any
    memory: Any = None


def start(optimiser: optax.GradientTransformation, model: Any, memory: Any = None) -> Fit:
    """Before the first update."""
    return Fit(model, optimiser.init(eqx.filter(model, eqx.is_inexact_array)), memory)


def fit(
    update: Callable[[Fit, Array], tuple[Fit, Array]],
    begin: Fit,
    key: Array,
    updates: int,
    budget: Budget,
    label: str,
    every: int = 10,
) -> Iterator[tuple[int, Fit, Array]]:
    """One update after the other, compiled in pieces: (updates so far, where it stands, scores of these updates).

    `update` takes a key, of which it draws its batch, and returns a score of it.
    """

    @eqx.filter_jit
    def piece(at: Fit, keys: Array) -> tuple[Fit, Array]:
        arrays, rest = eqx.partition(at, eqx.is_array)

        def body(arrays: Any, key: Array) -> tuple[Any, Array]:
            after, score = update(eqx.combine(arrays, rest), key)
            return eqx.filter(after, eqx.is_array), score

        arrays, scores = jax.lax.scan(body, arrays, keys)
        return eqx.combine(arrays, rest), scores

    at = begin
    with budget.bar(total=updates, desc=label, mininterval=1.0, leave=False) as bar:
        for done in range(0, updates, every):
            steps = jnp.arange(done, min(done + every, updates))
            at, scores = piece(at, jax.vmap(lambda i: jax.random.fold_in(key, i))(steps))
            bar.update(len(steps))
            yield int(steps[-1]) + 1, at, scores


def descend(optimiser: optax.GradientTransformation, at: Fit, grads: Any, memory: Any = None) -> Fit:
    """One update of the optimiser."""
    params, rest = eqx.partition(at.model, eqx.is_inexact_array)
    updates, moments = optimiser.update(grads, at.moments, params)
    return Fit(eqx.combine(eqx.apply_updates(params, updates), rest), moments, memory)


# Outcomes that are kept


class Record(NamedTuple):
    """An outcome of a full run, as it is kept in a file."""

    score: float
    seconds: float
    curve: list[tuple[int, float]]


def _file(task: Task) -> Path:
    return KEPT / f"{task.name}.jsonl"


def load(task: Task) -> dict[str, dict[int, Record]]:
    """The full runs that were made before: by method, by seed."""
    found: dict[str, dict[int, Record]] = {}
    for line in _file(task).read_text().splitlines() if _file(task).exists() else []:
        row = json.loads(line)
        method, seed = row.pop("method"), row.pop("seed")
        found.setdefault(method, {})[seed] = Record(**row)
    return found


def keep(task: Task, method: str, seed: int, record: Record) -> None:
    """Write a full run down, beside those that are there: a line for each, in order."""
    KEPT.mkdir(exist_ok=True)
    found = load(task)
    found.setdefault(method, {})[seed] = record
    runs = [(name, one) for name, by_seed in found.items() for one in sorted(by_seed.items())]
    lines = [json.dumps({"method": name, "seed": s, **r._asdict()}) for name, (s, r) in runs]
    _file(task).write_text("\n".join(lines) + "\n")


def run(task: Task, seeds: list[int], methods: tuple[str, ...], again: bool) -> None:
    """The full runs of a task that are not there yet, one after the other."""
    for seed, method in itertools.product(seeds, methods):
        if not again and seed in load(task).get(method, {}):
            continue
        began = time.perf_counter()
        outcome = task.train(method, seed, Budget(short=False))
        seconds = time.perf_counter() - began
        print(f"{task.name}: {method}, seed {seed}: {outcome.score:.4g} in {seconds:.0f} s", flush=True)
        curve = [(seen, float(f"{score:.4g}")) for seen, score in outcome.curve]
        keep(task, method, seed, Record(float(f"{outcome.score:.6g}"), round(seconds), curve))


def mean_and_spread(found: Sequence[float], decimals: int) -> str:
    """A cell of a table; runs that diverged are counted, and are not in the mean."""
    finite = [score for score in found if math.isfinite(score)]
    gone = f" ({len(found) - len(finite)} of {len(found)} diverged)" if len(finite) < len(found) else ""
    if len(finite) < 2:
        return (" ".join(f"{score:.{decimals}f}" for score in finite) or "-") + gone
    return f"{statistics.mean(finite):.{decimals}f} ± {statistics.stdev(finite):.{decimals}f}{gone}"

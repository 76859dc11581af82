"""How many steps make a chunk. At fixed parameters that changes no number.

What waits for the end of a chunk is kept for all its steps: factors of heads, and, for traces that follow D, what makes
D and dh/dy. Each step of it has the size of the activity, and takes memory; each chunk reads and writes the traces, and
takes time.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import jax.numpy as jnp

from .._carry import AbstractKeeper, TraceLayout
from ._plan import Plan

_MOST_STEPS = 32
"""More steps side by side make a product no faster, and the pass over a trace is then a small part of a step."""
_FEWEST_STEPS = 4
"""For fewer, a pass over the trace is no dearer than all that it takes to avoid it."""
_LITTLE = 2**20
"""So many bytes may be kept, however small the traces are."""


class Chunks(NamedTuple):
    """How a call takes its steps."""

    steps: int
    """In a chunk: one window, or several."""
    at_once: tuple[bool, ...]
    """For each keeper, is it told of all steps of a chunk together?"""


def chunks(plan: Plan, window: int, length: int) -> Chunks:
    """Of `length` steps."""
    size, step_by_step = max(window, 1), (False,) * len(plan.keepers)
    followers = [keeper for keeper in plan.keepers if keeper.follows_d]
    most = _steps_at_once(plan, followers) if any(k.layout.output is not None for k in followers) else 0
    windows = _dividing(length // size, most // size)
    if most >= _FEWEST_STEPS and (window <= 1 or windows > 1):
        return Chunks(windows * size, tuple(keeper.follows_d for keeper in plan.keepers))
    return Chunks(size if window > 1 else steps_to_keep(plan, length), step_by_step)


def exact_steps(plan: Plan, length: int) -> int | None:
    """In a chunk that is differentiated as one, by way of whole blocks; None if too few to be worth it."""
    assert plan.span is not None
    program = plan.analysis.step.program
    made = [v for eqn in program.equations for v in eqn.outputs if jnp.issubdtype(program.avals[v].dtype, jnp.inexact)]
    steps = plan.span.steps(length, _bytes(plan, made))
    return steps if steps >= min(_FEWEST_STEPS, length) else None


def steps_to_keep(plan: Plan, length: int) -> int:
    """Over how many steps of `length` factors are kept: until they take twice the memory of the weights."""
    avals, heads = plan.analysis.step.program.avals, plan.analysis.body.heads
    kept = sum(avals[use.data].size + avals[use.output].size for use in heads)
    kept += sum(math.prod(k.layout.head.shape[:-1]) for k in plan.keepers if k.layout.output is not None)
    weights = dict.fromkeys(use.weight for use in heads)
    return _dividing(length, 2 * sum(avals[weight].size for weight in weights) // max(kept, 1))


def _steps_at_once(plan: Plan, followers: Sequence[AbstractKeeper]) -> int:
    """Until what is kept takes half the memory of the traces."""
    layouts = [keeper.layout for keeper in followers if isinstance(keeper.layout, TraceLayout)]
    heads = [use.output for use in plan.analysis.body.heads]
    numbers = {layout.group: layout.leaves for layout in layouts}
    kept = _bytes(plan, [*plan.taps, *heads]) + sum(map(_bytes_at_a_site, layouts))
    # D, the signals, and what they come to at every step.
    kept += sum(3 * positions.size * 4 for group in numbers for positions in plan.analysis.tail(group).positions)
    return min(_MOST_STEPS, max(sum(k.bytes for k in followers) // 2, _LITTLE) // max(kept, 1))


def _bytes(plan: Plan, variables: Iterable[int]) -> int:
    avals = plan.analysis.step.program.avals
    return sum(avals[v].size * avals[v].dtype.itemsize for v in variables)


def _bytes_at_a_site(layout: TraceLayout) -> int:
    """dh/dy, and what a weight met, laid out for the trace."""
    features = math.prod(layout.features_shape) if layout.head.has_features else 0
    return (sum(layout.enters) * math.prod(layout.rows) + features) * layout.dtype.itemsize


def _dividing(length: int, most: int) -> int:
    """As many of `length` as that, or somewhat fewer if nothing is then left over: a rest is compiled by itself."""
    most = max(1, min(length, _MOST_STEPS, most))
    whole = max(size for size in range(1, most + 1) if length % size == 0)
    return whole if 2 * whole >= most else most

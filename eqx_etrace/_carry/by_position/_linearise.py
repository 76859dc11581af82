"""The Jacobians of one step by position, from values that the step has already computed.

For each hidden group, with its mixing edges cut, reverse passes over its tail give

    D[s, s', p] = dh_s[p] / dh_s'[p]        and        dh_s/dy_k   for every site,

one pass with a cotangent of ones per new state s. Filters of a group need those of what reads it first.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from ..._read import Analysis, read_by, Rows, rows_of, Tail, with_readers
from ._jacobian import Jacobians, Matrix
from ._jacobian import Rows as ByState
from ._layout import state_dtype, TraceLayout

Env = Mapping[Any, Any]
"""By variable: arrays, and the scalars of literals."""


def taps_of(analysis: Analysis, layouts: Sequence[TraceLayout]) -> Iterator[int]:
    """The variables whose values `linearise` reads beside the step."""
    yield from (layout.features for layout in layouts if layout.features is not None)
    for number in _tails(analysis, layouts):
        yield from read_by(analysis.step, analysis.tail(number))


def linearise(analysis: Analysis, layouts: Sequence[TraceLayout], values: Env) -> Jacobians:
    """What one step does to the traces of these layouts."""
    numbers = _tails(analysis, layouts)
    rows = dict(zip(numbers, rows_of(analysis.step, list(map(analysis.tail, numbers)), values), strict=True))
    kept = sorted({layout.group for layout in layouts})
    return Jacobians(
        decay={number: _matrix(analysis, analysis.tail(number), rows[number]) for number in kept},
        response={layout.number: _response(analysis, layout, rows[layout.group]) for layout in layouts},
        x={layout.number: _features(layout, values) for layout in layouts},
    )


def _tails(analysis: Analysis, layouts: Iterable[TraceLayout]) -> list[int]:
    """The tails that are read for these layouts, and all that read them through filters."""
    needed, plain = {layout.group for layout in layouts}, len(analysis.tails)
    if max(needed, default=-1) < plain:
        return sorted(needed)
    filtered = analysis.filtered.tails
    more = with_readers(filtered, [analysis.tail(number) for number in needed if number >= plain])
    return sorted(needed.union(plain + filtered.index(tail) for tail in more))


def _matrix(analysis: Analysis, tail: Tail, rows: Rows) -> Matrix:
    dtype = state_dtype(analysis, tail)

    def row(s: int) -> tuple[Array | None, ...]:
        found = [rows.decay.get((s, r)) for r in tail.numbers]
        return tuple(None if d is None else d.astype(dtype) for d in found)

    return tuple(map(row, tail.numbers))


def _response(analysis: Analysis, layout: TraceLayout, rows: Rows) -> ByState:
    tail = analysis.tail(layout.group)
    site = tail.sites.index(analysis.site(layout.number))
    mine = [rows.response.get((tail.numbers[s], site)) for s in layout.states]
    return tuple(None if d is None else layout.head.to_rows(d).astype(layout.dtype) for d in mine)


def _features(layout: TraceLayout, values: Env) -> Array | None:
    if layout.features is None:
        return None
    return layout.head.to_features(jnp.asarray(values[layout.features])).astype(layout.dtype)

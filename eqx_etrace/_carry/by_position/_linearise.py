"""The Jacobians of one step by position, from values that the step has already computed.

For each hidden group, with its mixing edges cut, reverse passes over its tail give

    D[s, s', p] = dh_s[p] / dh_s'[p]        and        dh_s/dy_k   for every site,

one pass with a cotangent of ones per new state s. Filters of a group need those of what reads it first.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from ..._read import Analysis, read_by, Rows, rows_of, Tail
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
    rows: dict[int, Rows] = {}
    readers: dict[int, Rows] = {}
    for number in _tails(analysis, layouts):
        tail = analysis.tail(number)
        rows[number] = rows_of(analysis.step, tail, values, readers)
        readers |= dict.fromkeys(tail.numbers, rows[number])
    kept = sorted({layout.group for layout in layouts})
    return Jacobians(
        decay={number: _matrix(analysis, analysis.tail(number), rows[number]) for number in kept},
        response={layout.number: _response(analysis, layout, rows[layout.group]) for layout in layouts},
        x={layout.number: _features(layout, values) for layout in layouts},
    )


def _tails(analysis: Analysis, layouts: Iterable[TraceLayout]) -> list[int]:
    """The tails that are read for these layouts, whatever reads another before it."""
    needed, plain = {layout.group for layout in layouts}, len(analysis.tails)
    if max(needed, default=-1) < plain:
        return sorted(needed)
    holding = {n: plain + i for i, tail in enumerate(analysis.filtered.tails) for n in tail.numbers}
    for number in reversed(range(plain, plain + len(analysis.filtered.tails))):
        if number in needed:
            needed.update(holding[one.state] for one in analysis.tail(number).filters)
    return sorted(needed)


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

"""The Jacobians of one step by position, from values that the step has already computed.

For each hidden group, with its mixing edges cut, S reverse passes over the tail give

    D[s, s', p] = dh_s[p] / dh_s'[p]        and        dh_s/dy_k   for every site,

one pass with a cotangent of ones per new state s. They are exact because a path of kept edges stays in
its position. Nothing is evaluated twice: what the tail does not recompute it reads from **taps**, the
values that the step's own evaluation left behind. A cut edge reads a tap where a kept edge reads the
recomputed value; no `stop_gradient` is needed, and derivatives of the trace itself stay right.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..._read import Analysis, Edge, Equation, Tail
from ._jacobian import Jacobians, Matrix, Rows
from ._layout import state_dtype, TraceLayout

Env = Mapping[Any, Any]
"""By variable: arrays, and the scalars of literals."""


def taps_of(analysis: Analysis, layouts: Sequence[TraceLayout]) -> Iterator[int]:
    """The variables whose values `linearise` reads beside the step."""
    yield from (layout.features for layout in layouts if layout.features is not None)
    for group in _groups(layouts):
        tail = analysis.tails[group]
        yield from (analysis.step.states[leaf] for leaf in tail.group.leaves)
        yield from (site.output for site in tail.sites if site.output is not None)
        uses = itertools.chain.from_iterable(map(_uses, tail.equations))
        yield from (v for edge, v in uses if not tail.recomputes(edge, v))


def linearise(analysis: Analysis, layouts: Sequence[TraceLayout], values: Env) -> Jacobians:
    """What one step does to the traces of these layouts."""
    passes = {group: _passes(analysis, analysis.tails[group], values) for group in _groups(layouts)}
    return Jacobians(
        decay={group: _matrix(analysis, analysis.tails[group], found) for group, found in passes.items()},
        response={layout.number: _response(analysis, layout, passes[layout.group]) for layout in layouts},
        x={layout.number: _features(layout, values) for layout in layouts},
    )


def _groups(layouts: Iterable[TraceLayout]) -> list[int]:
    return sorted({layout.group for layout in layouts})


def _matrix(analysis: Analysis, tail: Tail, passes: Mapping[Edge, Array]) -> Matrix:
    dtype, states = state_dtype(analysis, tail.group), range(tail.group.num_states)

    def row(s: int) -> tuple[Array | None, ...]:
        return tuple(passes[s, r].astype(dtype) if (s, r) in passes else None for r in states)

    return tuple(map(row, states))


def _response(analysis: Analysis, layout: TraceLayout, passes: Mapping[Edge, Array]) -> Rows:
    tail = analysis.tails[layout.group]
    number = tail.group.num_states + tail.sites.index(analysis.sites[layout.number])
    mine = [passes.get((s, number)) for s in layout.states]
    return tuple(None if d is None else layout.head.to_rows(d).astype(layout.dtype) for d in mine)


def _features(layout: TraceLayout, values: Env) -> Array | None:
    if layout.features is None:
        return None
    return layout.head.to_features(jnp.asarray(values[layout.features])).astype(layout.dtype)


def _passes(analysis: Analysis, tail: Tail, values: Env) -> dict[Edge, Array]:
    """By (new state, r): D of the old states r, then dh/dy of the sites, in the layouts of the old state and of y."""
    step, leaves = analysis.step, tail.group.leaves
    reach = [tail.reach.get(step.new_states[leaf], 0) for leaf in leaves]
    reached = [s for s, bits in enumerate(reach) if bits]

    def run(old: list[Array], shifts: list[Array]) -> list[Array]:
        old = [jax.lax.stop_gradient(h) if leaf in step.still else h for leaf, h in zip(leaves, old, strict=True)]
        new = _run_tail(analysis, tail, values, old, shifts)
        return [new[step.new_states[leaves[s]]] for s in reached]

    new, pull = jax.vjp(run, [values[step.states[leaf]] for leaf in leaves], _no_shifts(analysis, tail))
    passes: dict[Edge, Array] = {}
    for i, s in enumerate(reached):
        ones = [jnp.ones_like(h) if j == i else jnp.zeros_like(h) for j, h in enumerate(new)]
        pulled = itertools.chain(*pull(ones))
        passes |= {(s, r): d for r, d in enumerate(pulled) if reach[s] >> r & 1}
    return passes


def _no_shifts(analysis: Analysis, tail: Tail) -> list[Array]:
    """Zeros in the shape of what every site makes."""
    program = analysis.step.program
    made = [site.weight if site.output is None else site.output for site in tail.sites]
    return [jnp.zeros(program.shape(v), program.avals[v].dtype) for v in made]


def _uses(eqn: Equation) -> list[tuple[Edge, int]]:
    return [((eqn.outputs[0], i), var) for i, var in enumerate(eqn.inputs)]


def _run_tail(
    analysis: Analysis, tail: Tail, values: Env, old: Sequence[Array], shifts: Sequence[Array]
) -> dict[int, Array]:
    """Re-evaluate a tail with its old states and a shift of every y as variables, all else as values."""
    states = [analysis.step.states[leaf] for leaf in tail.group.leaves]
    shift_of = {site.output: d for site, d in zip(tail.sites, shifts, strict=True) if site.output is not None}
    entering = {edge: d for site, d in zip(tail.sites, shifts, strict=True) for edge in site.edges}
    env = dict(zip(states, old, strict=True))
    env |= {y: values[y] + d for y, d in shift_of.items()}

    def read(edge: Edge, var: int) -> Any:
        if edge in entering:
            return values[var] + entering[edge]
        return env[var] if tail.recomputes(edge, var) else values[var]

    for eqn in tail.equations:
        made = eqn.bind([read(edge, var) for edge, var in _uses(eqn)])
        for var, value in zip(eqn.outputs, made, strict=True):
            env[var] = value + shift_of[var] if var in shift_of else value
    return env

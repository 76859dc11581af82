"""Stage 5: the Jacobians of one step, from values that the step has already computed.

For each hidden group, with its mixing edges cut, S reverse passes over the tail give

    D[s, s', p] = dh_s[p] / dh_s'[p]        and        dh_s/dy_k   for every site,

one pass with a cotangent of ones per new state s. They are exact because a path of kept edges stays in
its position. Nothing is evaluated twice: what the tail does not recompute it reads from **taps**, the
values that the step's own evaluation left behind. A cut edge reads a tap where a kept edge reads the
recomputed value; no `stop_gradient` is needed, and derivatives of the trace itself stay right.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact

from .._analysis._link import NONE, Positions
from .._analysis._program import Equation
from .._analysis._relation import Analysis
from .._analysis._tail import Edge, Tail
from ._head import Head, make_head

Values = Mapping[int, Any]
"""By variable: arrays, and the scalars of literals."""


class Drive(eqx.Module):
    """What one step does to one trace, laid out by the rows of its head."""

    decay: tuple[tuple[Inexact[Array, "..."] | None, ...], ...]
    """[s][s'] D, for the states that the trace supports; None where it is zero by structure."""
    entry: tuple[Inexact[Array, "..."] | None, ...]
    """[s] dh_s/dy."""
    x: Inexact[Array, "..."] | None
    """What the weight met."""


@dataclasses.dataclass(frozen=True)
class Trace:
    """The layout of the eligibility trace of one site."""

    number: int
    group: int
    head: Head
    weight: int
    features: int | None
    states: tuple[int, ...]
    """The states of the group that the site can reach, now or later."""
    couplings: tuple[tuple[bool, ...], ...]
    """[s][s'] over those states: can D be anything but zero?"""
    entries: tuple[bool, ...]
    """[s]: does the site enter that state in the same step?"""
    elements: tuple[Positions, ...]
    """For each state of the group: which of its elements each row belongs to, NONE if none."""
    dtype: np.dtype

    @property
    def rows(self) -> tuple[int, ...]:
        """The shape of one value per row."""
        return self.head.shape[:-1] if self.head.has_features else self.head.shape

    def at_rows(self, values: Inexact[Array, "..."], state: int) -> Inexact[Array, "..."]:
        """A value per element of a hidden state, as a value per row."""
        flat, index = values.reshape(-1), self.elements[state]
        times = index.size // max(flat.size, 1)
        if _is_tiled(index, flat.size, times):
            *lead, last = index.shape or (1,)
            once = flat.reshape(*lead, 1, last // times)
            return jnp.broadcast_to(once, (*lead, times, last // times)).reshape(index.shape)
        picked = flat[np.maximum(index, 0)]
        return jnp.where(index == NONE, 0, picked) if (index == NONE).any() else picked

    def no_drive(self) -> Drive:
        """The drive that is pending before the first step: zeros."""
        b, m, _, k = self.head.shape if self.head.has_features else (0, 0, 0, 0)

        def zeros(there: bool) -> Array | None:
            return jnp.zeros(self.rows, self.dtype) if there else None

        decay = tuple(tuple(map(zeros, row)) for row in self.couplings)
        x = jnp.zeros((b, m, k), self.dtype) if self.head.has_features else None
        return Drive(decay, tuple(map(zeros, self.entries)), x)


def _is_tiled(index: Positions, size: int, times: int) -> bool:
    """Are the elements 0 ... size-1 there in order, each row of the last axis repeated `times` times?"""
    *lead, last = index.shape or (1,)
    if times == 0 or index.size != times * size or last % times:
        return False
    once = np.arange(size).reshape(*lead, 1, last // times)
    return bool((index.reshape(*lead, times, last // times) == once).all())


def make_traces(analysis: Analysis) -> tuple[Trace, ...]:
    """The layout of the trace of every site, in order."""
    return tuple(_make_trace(analysis, number) for number in range(len(analysis.sites)))


def _make_trace(analysis: Analysis, number: int) -> Trace:
    site, step = analysis.sites[number], analysis.step
    tail = analysis.tails[site.group]
    couplings, entries = tail.couplings(step), tail.entries(step, tail.sites.index(site))
    states = {s for s, enters in enumerate(entries) if enters}
    while more := {s for s, row in enumerate(couplings) if s not in states and any(row[r] for r in states)}:
        states |= more
    head = make_head(step.program, site)
    frame = head.to_rows(site.frame)
    avals = step.program.avals
    variables = [step.states[leaf] for leaf in tail.group.leaves] + [
        v for v in site.equation.inputs if step.program.is_inexact(v)
    ]
    dtype = jnp.result_type(*(avals[v].dtype for v in variables))
    elements = tuple(_elements(positions, frame) for positions in tail.group.positions)
    kept = tuple(sorted(states))
    return Trace(
        number,
        site.group,
        head,
        site.weight,
        site.features,
        kept,
        tuple(tuple(couplings[s][r] for r in kept) for s in kept),
        tuple(entries[s] for s in kept),
        elements,
        dtype,
    )


def _elements(positions: Positions, frame: Positions) -> Positions:
    inverse = np.full(1 + max(int(positions.max(initial=-1)), int(frame.max(initial=-1))), NONE)
    inverse[positions.ravel()] = np.arange(positions.size)
    return np.where(frame >= 0, inverse[np.maximum(frame, 0)], NONE)


def tapped(analysis: Analysis) -> tuple[int, ...]:
    """The variables of the body whose values `linearise` reads."""
    reads = {site.features for site in analysis.sites if site.features is not None}
    for tail in analysis.tails:
        if not tail.sites:
            continue
        reads.update(analysis.step.states[leaf] for leaf in tail.group.leaves)
        reads.update(site.output for site in tail.sites if site.output is not None)
        reads.update(v for eqn in tail.equations for edge, v in _uses(eqn) if not tail.recomputes(edge, v))
    constants = analysis.step.program.constants
    return tuple(sorted(v for v in reads if v not in analysis.fixed and v not in constants))


def linearise(analysis: Analysis, traces: Sequence[Trace], fixed: Values, taps: Values) -> tuple[Drive, ...]:
    """The drive of every trace over one step."""
    values = {**fixed, **taps}
    jacobians = [_jacobians(analysis, tail, values) if tail.sites else ({}, {}) for tail in analysis.tails]
    return tuple(_drive(analysis, trace, values, *jacobians[trace.group]) for trace in traces)


def _drive(
    analysis: Analysis, trace: Trace, values: Values, decay: Mapping[Edge, Array], entry: Mapping[Edge, Array]
) -> Drive:
    number = analysis.tails[trace.group].sites.index(analysis.sites[trace.number])

    def between(s: int, old: int) -> Array | None:
        return trace.at_rows(decay[s, old], old).astype(trace.dtype) if (s, old) in decay else None

    def enters(s: int) -> Array | None:
        return trace.head.to_rows(entry[s, number]).astype(trace.dtype) if (s, number) in entry else None

    x = None if trace.features is None else trace.head.to_features(values[trace.features]).astype(trace.dtype)
    rows = tuple(tuple(between(s, old) for old in trace.states) for s in trace.states)
    return Drive(rows, tuple(enters(s) for s in trace.states), x)


def _jacobians(analysis: Analysis, tail: Tail, values: Values) -> tuple[dict[Edge, Array], dict[Edge, Array]]:
    """D by (new state, old state) and dh/dy by (new state, site), in the layouts of the old state and of y."""
    step = analysis.step
    couplings = tail.couplings(step)
    entries = [tail.entries(step, n) for n in range(len(tail.sites))]
    sites = [site.weight if site.output is None else site.output for site in tail.sites]
    old = [values[step.states[leaf]] for leaf in tail.group.leaves]
    still = [jnp.zeros(step.program.shape(v), step.program.avals[v].dtype) for v in sites]
    reached = [s for s in range(len(old)) if any(couplings[s]) or any(e[s] for e in entries)]

    def run(old: list[Array], shifts: list[Array]) -> list[Array]:
        new = _run_tail(analysis, tail, values, old, shifts)
        return [new[step.new_states[tail.group.leaves[s]]] for s in reached]

    new, pull = jax.vjp(run, old, still)
    decay: dict[Edge, Array] = {}
    entry: dict[Edge, Array] = {}
    for i, s in enumerate(reached):
        cotangents = [jnp.ones_like(h) if j == i else jnp.zeros_like(h) for j, h in enumerate(new)]
        from_old, from_sites = pull(cotangents)
        decay |= {(s, r): d for r, d in enumerate(from_old) if couplings[s][r]}
        entry |= {(s, n): d for n, d in enumerate(from_sites) if entries[n][s]}
    return decay, entry


def _uses(eqn: Equation) -> list[tuple[Edge, int]]:
    return [((eqn.outputs[0], i), var) for i, var in enumerate(eqn.inputs)]


def _run_tail(
    analysis: Analysis, tail: Tail, values: Values, old: Sequence[Array], shifts: Sequence[Array]
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
        out = eqn.bind([read(edge, var) for edge, var in _uses(eqn)])
        for var, value in zip(eqn.outputs, out, strict=True):
            env[var] = value + shift_of[var] if var in shift_of else value
    return env

"""Stage 5: the Jacobians of one step, from values that the step has already computed.

For each hidden group, with its mixing edges cut, S reverse passes over the tail give

    D[s, s', p] = dh_s[p] / dh_s'[p]        and        dh_s/dy_k   for every site,

one pass with a cotangent of ones per new state s. They are exact because a path of kept edges stays in
its position. Nothing is evaluated twice: what the tail does not recompute it reads from **taps**, the
values that the step's own evaluation left behind. A cut edge reads a tap where a kept edge reads the
recomputed value; no `stop_gradient` is needed, and derivatives of the trace itself stay right.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..._read import Analysis, Edge, Equation, Tail
from ._jacobian import Jacobians, Matrix
from ._layout import state_dtype, Trace

Values = Mapping[Any, Any]
"""By variable: arrays, and the scalars of literals."""


def tapped(analysis: Analysis) -> tuple[int, ...]:
    """The variables of the body whose values are read beside the step: by `linearise`, and what its heads met."""
    reads = {use.data for use in analysis.body.heads}
    reads.update(site.features for site in analysis.sites if site.features is not None)
    for tail in analysis.tails:
        if not tail.sites:
            continue
        reads.update(analysis.step.states[leaf] for leaf in tail.group.leaves)
        reads.update(site.output for site in tail.sites if site.output is not None)
        reads.update(v for eqn in tail.equations for edge, v in _uses(eqn) if not tail.recomputes(edge, v))
    constants = analysis.step.program.constants
    return tuple(sorted(v for v in reads if v not in analysis.fixed and v not in constants))


def linearise(analysis: Analysis, traces: Sequence[Trace], fixed: Values, taps: Values) -> Jacobians:
    """What one step does to every trace."""
    values = {**fixed, **taps}
    found = [_jacobians(analysis, tail, values) if tail.sites else ({}, {}) for tail in analysis.tails]
    decay = [_matrix(analysis, tail, by_state) for tail, (by_state, _) in zip(analysis.tails, found, strict=True)]
    entry = [_entry(analysis, trace, found[trace.group][1]) for trace in traces]
    return Jacobians(tuple(decay), tuple(entry), tuple(_features(trace, values) for trace in traces))


def _matrix(analysis: Analysis, tail: Tail, decay: Mapping[Edge, Array]) -> Matrix:
    states = range(tail.group.num_states if tail.sites else 0)
    dtype = state_dtype(analysis, tail.group)
    found = {edge: d.astype(dtype) for edge, d in decay.items()}
    return tuple(tuple(found.get((s, old)) for old in states) for s in states)


def _entry(analysis: Analysis, trace: Trace, entry: Mapping[Edge, Array]) -> tuple[Array | None, ...]:
    number = analysis.tails[trace.group].sites.index(analysis.sites[trace.number])
    found = [entry.get((s, number)) for s in trace.states]
    return tuple(None if e is None else trace.head.to_rows(e).astype(trace.dtype) for e in found)


def _features(trace: Trace, values: Values) -> Array | None:
    if trace.features is None:
        return None
    return trace.head.to_features(jnp.asarray(values[trace.features])).astype(trace.dtype)


def _jacobians(analysis: Analysis, tail: Tail, values: Values) -> tuple[dict[Edge, Array], dict[Edge, Array]]:
    """D by (new state, old state) and dh/dy by (new state, site), in the layouts of the old state and of y."""
    step = analysis.step
    couplings = tail.couplings(step)
    entries = [tail.entries(step, n) for n in range(len(tail.sites))]
    sites = [site.weight if site.output is None else site.output for site in tail.sites]
    leaves = tail.group.leaves
    old = [values[step.states[leaf]] for leaf in leaves]
    unshifted = [jnp.zeros(step.program.shape(v), step.program.avals[v].dtype) for v in sites]
    reached = [s for s in range(len(old)) if any(couplings[s]) or any(e[s] for e in entries)]

    def run(old: list[Array], shifts: list[Array]) -> list[Array]:
        old = [jax.lax.stop_gradient(h) if leaf in step.still else h for leaf, h in zip(leaves, old, strict=True)]
        new = _run_tail(analysis, tail, values, old, shifts)
        return [new[step.new_states[leaves[s]]] for s in reached]

    new, pull = jax.vjp(run, old, unshifted)
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

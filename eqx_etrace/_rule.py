"""The rules: what is kept of the influence of the past, and how it moves from step to step.

A rule is a frozen configuration. It says how the trace of one relation starts, how one step or a window of steps advances
it, and how a learning signal is contracted with it; the trace itself lives outside, in the `ETrace` that the user carries.
"""

import abc
from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Inexact, PyTree

from ._trace import Drive, Trace

Value = tuple[Inexact[Array, "..."], ...]
"""One array per state that the trace supports."""
Matrix = tuple[tuple[Inexact[Array, "..."] | None, ...], ...]
"""[s][s'], by row; None where it is zero by structure."""


class AbstractRule(eqx.Module):
    """What every rule offers, for one relation at a time."""

    @abc.abstractmethod
    def init(self, trace: Trace) -> PyTree[Array]:
        """The trace before the first step: zeros."""

    @abc.abstractmethod
    def advance(self, trace: Trace, value: PyTree[Array], drive: Drive) -> PyTree[Array]:
        """The trace after one more step."""

    @abc.abstractmethod
    def advance_window(
        self, trace: Trace, value: PyTree[Array], drives: Drive, valid: Bool[Array, ""] | None = None
    ) -> PyTree[Array]:
        """The trace after a window of steps, whose drives are stacked; unchanged if not `valid`."""

    @abc.abstractmethod
    def contract(
        self, trace: Trace, value: PyTree[Array], signal: Sequence[Inexact[Array, "..."]]
    ) -> Inexact[Array, "..."]:
        """The cotangent of the effective weight, from a learning signal per state."""


class DRTRL(AbstractRule):
    """Diagonal real-time recurrent learning.

    Of the hidden-to-hidden Jacobian it keeps D, the part that stays in its position. Per relation, with states
    s, rows k of the head's output and features f,

        e[s, k, f]  <-  sum_s' D[s, s', pos(k)] e[s', k, f]  +  dh_s/dy_k x[k, f]

    Over a window of K steps the recursion is linear, so it is one pass over the trace and one matrix product,

        e_K  =  (D_K ... D_1) e_0  +  sum_t (D_K ... D_{t+1} dh_t/dy) (x) x_t .

    Exact where no mixing path leads from state to state (see `ETraceGraph.report`). For a dense weight the
    trace has the size of the weight, times the batch, times the states that the weight can reach.

    Source: Wang et al., "Scalable online learning of recurrent and spiking networks" (brainscale), D-RTRL;
    Murray, "Local online learning in recurrent networks with random feedback", eLife 2019; the diagonal
    approximation of Williams and Zipser, Neural Computation 1989.
    """

    def init(self, trace: Trace) -> Value:
        return tuple(jnp.zeros(trace.head.shape, trace.dtype) for _ in trace.states)

    def advance(self, trace: Trace, value: Value, drive: Drive) -> Value:
        return _roll(
            trace, value, drive.decay, [None if d is None else trace.head.outer(d, drive.x) for d in drive.entry]
        )

    def advance_window(self, trace: Trace, value: Value, drives: Drive, valid: Bool[Array, ""] | None = None) -> Value:
        decay, entry = _products(trace, drives)
        if valid is not None:
            decay, entry = _unless(valid, decay, entry)
        if not trace.head.has_features:
            return _roll(trace, value, decay, [trace.head.accumulate(d, None) for d in entry])
        return _by_lane(trace, value, decay, entry, drives.x)

    def contract(self, trace: Trace, value: Value, signal: Sequence[Inexact[Array, "..."]]) -> Inexact[Array, "..."]:
        terms = [trace.head.contract(g, e) for g, e in zip(signal, value, strict=True)]
        return sum(terms[1:], terms[0])


def _roll(trace: Trace, value: Value, decay: Matrix, new: Sequence[Inexact[Array, "..."] | None]) -> Value:
    """sum_s' decay[s, s'] e[s'] + new[s]."""
    advanced = []
    for row, entering in zip(decay, new, strict=True):
        terms = [trace.head.spread(d) * e for d, e in zip(row, value, strict=True) if d is not None]
        terms += [] if entering is None else [entering]
        advanced.append(sum(terms[1:], terms[0]).astype(trace.dtype))
    return tuple(advanced)


def _products(trace: Trace, drives: Drive) -> tuple[Matrix, list[Inexact[Array, "t ..."]]]:
    """D_K ... D_1, and D_K ... D_{t+1} dh_t/dy for every t."""
    states = range(len(trace.states))
    reach = _reachable(trace.couplings)

    def dot(left: Matrix, right: Callable[[int], Array | None], s: int) -> Array:
        terms = [p * q for r in states if (p := left[s][r]) is not None and (q := right(r)) is not None]
        return sum(terms[1:], terms[0]) if terms else jnp.zeros(trace.rows, trace.dtype)

    def body(after: Matrix, drive: Drive) -> tuple[Matrix, list[Array]]:
        entry = [dot(after, lambda r: drive.entry[r], s) for s in states]
        before = tuple(
            tuple(dot(after, lambda r, c=c: drive.decay[r][c], s) if reach[s][c] else None for c in states)
            for s in states
        )
        return before, entry

    one, zero = jnp.ones(trace.rows, trace.dtype), jnp.zeros(trace.rows, trace.dtype)
    identity = tuple(tuple((one if s == r else zero) if reach[s][r] else None for r in states) for s in states)
    return jax.lax.scan(body, identity, Drive(drives.decay, drives.entry, None), reverse=True)


def _reachable(couplings: tuple[tuple[bool, ...], ...]) -> list[list[bool]]:
    """Which state can reach which, in any number of steps; each reaches itself in none."""
    size = range(len(couplings))
    reach = [[couplings[s][r] or s == r for r in size] for s in size]
    for through in size:
        reach = [[reach[s][r] or (reach[s][through] and reach[through][r]) for r in size] for s in size]
    return reach


def _unless(valid: Bool[Array, ""], decay: Matrix, entry: list[Array]) -> tuple[Matrix, list[Array]]:
    """The same if valid; otherwise what leaves a trace as it is."""
    kept = tuple(
        tuple(None if d is None else jnp.where(valid, d, float(s == r)).astype(d.dtype) for r, d in enumerate(row))
        for s, row in enumerate(decay)
    )
    return kept, [jnp.where(valid, d, 0).astype(d.dtype) for d in entry]


def _by_lane(trace: Trace, value: Value, decay: Matrix, entry: Sequence[Array], x: Array | None) -> Value:
    """A window's update, lane by lane: what the matrix product makes is added while it is in cache, never stored whole."""
    if trace.head.shape[1] == 1:
        return _roll(trace, value, decay, [trace.head.accumulate(d, x) for d in entry])

    def body(lane: Array, value: Value) -> Value:
        def pick(array: Array, axis: int) -> Array:
            return jax.lax.dynamic_slice_in_dim(array, lane, 1, axis)

        here = tuple(pick(e, 1) for e in value)
        local = tuple(tuple(None if d is None else pick(d, 1) for d in row) for row in decay)
        new = _roll(trace, here, local, [trace.head.accumulate(pick(d, 2), pick(x, 2)) for d in entry])
        return tuple(jax.lax.dynamic_update_slice_in_dim(e, n, lane, 1) for e, n in zip(value, new, strict=True))

    return jax.lax.fori_loop(0, trace.head.shape[1], body, value)

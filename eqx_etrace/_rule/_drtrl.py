"""D-RTRL: the trace in full, the Jacobian by position."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Inexact

from .._trace import Drive, Trace
from ._base import AbstractRule
from ._recursion import Matrix, products, roll, unless, Value

Entries = Sequence[Inexact[Array, "..."] | None]
Features = Inexact[Array, "..."] | None
Update = Callable[[Value, Matrix, Entries, Features], Value]


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
        def update(value: Value, decay: Matrix, entry: Entries, x: Features) -> Value:
            return roll(trace, value, decay, [None if d is None else trace.head.outer(d, x) for d in entry])

        coupled = any(d is not None for s, row in enumerate(drive.decay) for r, d in enumerate(row) if r != s)
        return _in_blocks(trace, update, value, drive) if coupled else update(value, drive.decay, drive.entry, drive.x)

    def advance_window(self, trace: Trace, value: Value, drives: Drive, valid: Bool[Array, ""] | None = None) -> Value:
        decay, entry = products(trace, drives)
        if valid is not None:
            decay, entry = unless(valid, decay, entry)

        def update(value: Value, decay: Matrix, entry: Entries, x: Features) -> Value:
            return roll(trace, value, decay, [None if d is None else trace.head.accumulate(d, x) for d in entry])

        return _in_blocks(trace, update, value, Drive(decay, tuple(entry), drives.x))

    def contract(self, trace: Trace, value: Value, signal: Sequence[Inexact[Array, "..."]]) -> Inexact[Array, "..."]:
        terms = [trace.head.contract(g, e) for g, e in zip(signal, value, strict=True)]
        return sum(terms[1:], terms[0])

    def approximates(self, trace: Trace) -> str | None:
        del trace
        return None


def _in_blocks(trace: Trace, update: Update, value: Value, drive: Drive) -> Value:
    """Update a trace block by block, in place.

    A window's matrix product is then added while it is in cache and never stored whole, and states that feed one another
    do not need a copy of each other. Blocks are lanes, or units where there is one lane.
    """
    axis, size = _block(trace)
    count = trace.head.shape[axis] // size if trace.head.has_features else 1
    if count == 1:
        return update(value, drive.decay, drive.entry, drive.x)

    def body(block: Array, value: Value) -> Value:
        def cut(array: Array, axis: int) -> Array:
            return jax.lax.dynamic_slice_in_dim(array, block * size, size, axis)

        here = tuple(cut(e, axis) for e in value)
        decay = jax.tree.map(lambda d: cut(d, axis), drive.decay)
        entry = jax.tree.map(lambda d: cut(d, d.ndim - 3 + axis), drive.entry)
        x = cut(drive.x, drive.x.ndim - 2) if axis == 1 and drive.x is not None else drive.x
        new = update(here, decay, entry, x)
        return tuple(
            jax.lax.dynamic_update_slice_in_dim(e, n, block * size, axis) for e, n in zip(value, new, strict=True)
        )

    return jax.lax.fori_loop(0, count, body, value)


def _block(trace: Trace) -> tuple[int, int]:
    """The axis to cut, and the size of a block: at least `_BLOCK` numbers, and a divisor of the axis."""
    if not trace.head.has_features:
        return 0, 1
    b, m, n, k = trace.head.shape
    axis, length, slab = (1, m, b * n * k) if m > 1 else (2, n, b * k)
    wanted = max(1, -(-_BLOCK // max(slab, 1)))
    return axis, next((d for d in range(wanted, length) if length % d == 0), length)


_BLOCK = 1 << 16

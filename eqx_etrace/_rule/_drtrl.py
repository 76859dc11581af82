"""D-RTRL: the trace in full, the Jacobian by position."""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Bool, Inexact

from .._trace import Drive, Trace
from ._base import AbstractRule
from ._recursion import products, roll, unless, Value


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
        new = [None if d is None else trace.head.outer(d, drive.x) for d in drive.entry]
        return roll(trace, value, drive.decay, new)

    def advance_window(self, trace: Trace, value: Value, drives: Drive, valid: Bool[Array, ""] | None = None) -> Value:
        decay, entry = products(trace, drives)
        if valid is not None:
            decay, entry = unless(valid, decay, entry)
        return roll(trace, value, decay, [trace.head.accumulate(d, drives.x) for d in entry])

    def contract(self, trace: Trace, value: Value, signal: Sequence[Inexact[Array, "..."]]) -> Inexact[Array, "..."]:
        terms = [trace.head.contract(g, e) for g, e in zip(signal, value, strict=True)]
        return sum(terms[1:], terms[0])

    def approximates(self, trace: Trace) -> str | None:
        del trace
        return None

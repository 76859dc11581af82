"""The rules: what is kept of the influence of the past, and how it moves from step to step.

A rule is a frozen configuration. It says how the trace of one relation starts, how one step advances it, and how a
learning signal is contracted with it; the trace itself lives outside, in the `ETrace` that the user carries.
"""

import abc
from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Inexact, PyTree

from ._trace import Drive, Trace


class AbstractRule(eqx.Module):
    """What every rule offers, for one relation at a time."""

    @abc.abstractmethod
    def init(self, trace: Trace) -> PyTree[Array]:
        """The trace before the first step: zeros."""

    @abc.abstractmethod
    def advance(self, trace: Trace, value: PyTree[Array], drive: Drive) -> PyTree[Array]:
        """The trace after one more step."""

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

    Exact where no mixing path leads from state to state (see `ETraceGraph.report`). For a dense weight the
    trace has the size of the weight, times the batch, times the states that the weight can reach.

    Source: Wang et al., "Scalable online learning of recurrent and spiking networks" (brainscale), D-RTRL;
    Murray, "Local online learning in recurrent networks with random feedback", eLife 2019; the diagonal
    approximation of Williams and Zipser, Neural Computation 1989.
    """

    def init(self, trace: Trace) -> tuple[Inexact[Array, "..."], ...]:
        return tuple(jnp.zeros(trace.head.shape, trace.dtype) for _ in trace.states)

    def advance(
        self, trace: Trace, value: tuple[Inexact[Array, "..."], ...], drive: Drive
    ) -> tuple[Inexact[Array, "..."], ...]:
        head = trace.head
        advanced = []
        for row, entry in zip(drive.decay, drive.entry, strict=True):
            terms = [head.spread(d) * e for d, e in zip(row, value, strict=True) if d is not None]
            terms += [] if entry is None else [head.outer(entry, drive.x)]
            advanced.append(sum(terms[1:], terms[0]).astype(trace.dtype))
        return tuple(advanced)

    def contract(
        self, trace: Trace, value: tuple[Inexact[Array, "..."], ...], signal: Sequence[Inexact[Array, "..."]]
    ) -> Inexact[Array, "..."]:
        terms = [trace.head.contract(g, e) for g, e in zip(signal, value, strict=True)]
        return sum(terms[1:], terms[0])

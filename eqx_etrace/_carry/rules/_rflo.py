"""RFLO: the trace in full, with one leak in place of the Jacobian."""

import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
from jax.typing import DTypeLike
from jaxtyping import Array, Inexact

from .._status import Stored
from ..by_position import Drive, TraceLayout, Window
from ._by_position import AbstractPositionRule, as_dtype
from ._full import nothing_yet, through_step, through_steps
from ._pace import as_leak, kept_by_row
from ._recursion import compose_steps
from ._weight import Followed, Weight


class RFLO(AbstractPositionRule):
    """Random-feedback local online learning: one leak stands for the whole Jacobian from state to state.

    Per relation, with states s, rows k of the head's output and features f,

        e[s, k, f]  <-  a e[s, k, f]  +  dh_s/dy_k x[k, f]

    For the network of the paper, h <- (1 - alpha) h + alpha tanh(W h + V x) with a = 1 - alpha, it is `DRTRL`. Several
    states of a unit do not mix: each has the trace that its own y puts into it. Published for window 0, with feedback
    that is random: `nn.FeedbackLinear` is a readout with such feedback.

    Time is that of the states: a step that holds all states of a lane holds its trace, and a reset starts it anew. That
    is read from the numbers, so a layer whose units are all dead in one step is a layer that is held, or reset. Where
    no unit leads to its own next state, D is zero by structure, and nothing tells a reset from a step: empty the trace
    there (`ETrace.emptied`).

    **Arguments**

    - `leak`: a, a number in [0, 1], or a scalar array of floats, also a traced one.
    - `trace_dtype`: as of `DRTRL`.

    Source: Murray, "Local online learning in recurrent networks with random feedback", eLife 2019, equations 7 and 8.
    """

    leak: Any = eqx.field(converter=lambda leak: as_leak("leak", leak))
    trace_dtype: DTypeLike | None = eqx.field(default=None, static=True, converter=as_dtype)

    def follow(self, weight: Weight) -> Followed:
        return weight.by_position

    def init(self, layout: TraceLayout) -> Stored:
        return nothing_yet(layout, self.trace_dtype)

    def advance(self, layout: TraceLayout, value: Stored, drive: Drive) -> Stored:
        return through_step(layout, value, leaky(drive, self.leak))

    def advance_window(self, layout: TraceLayout, value: Stored, window: Window) -> Stored:
        return through_steps(layout, value, compose_steps(jax.vmap(lambda step: leaky(step, self.leak))(window.steps)))

    def contract(
        self, layout: TraceLayout, value: Stored, signal: Sequence[Inexact[Array, "..."]]
    ) -> Inexact[Array, "..."]:
        return layout.contract(signal, value.e, value.status)

    def follows_d(self, layout: TraceLayout) -> bool:
        """It follows its own."""
        del layout
        return False

    def approximates(self, layout: TraceLayout) -> str:
        del layout
        return "one leak stands for the derivative of the states by the states"

    def work(self, layout: TraceLayout) -> int:
        return math.prod(layout.shape) * (2 * len(layout.states) + sum(layout.enters))


def leaky(drive: Drive, leak: Any, x: Inexact[Array, "b m k"] | None = None) -> Drive:
    """One step, with a leak in place of D; `x` in place of what the weight met, if given."""
    keep, size = kept_by_row(drive, leak, restarts=True), range(len(drive.response))
    decay = tuple((None,) * s + (keep,) + (None,) * (len(size) - s - 1) for s in size)
    return Drive(decay, drive.response, drive.x if x is None else x)

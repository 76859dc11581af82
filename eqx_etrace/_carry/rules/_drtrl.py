"""D-RTRL: the trace in full, the Jacobian by position."""

import math
from collections.abc import Sequence

import equinox as eqx
from jax.typing import DTypeLike
from jaxtyping import Array, Inexact

from ..._given import check_flag
from .._status import Stored
from ..by_position import Drive, TraceLayout, Window
from ._by_position import AbstractPositionRule, as_dtype
from ._full import nothing_yet, through_step, through_steps
from ._weight import Followed, Weight


class DRTRL(AbstractPositionRule):
    """Diagonal real-time recurrent learning.

    Of the hidden-to-hidden Jacobian it keeps D, the part that stays in its position. Per relation, with states
    s, rows k of the head's output and features f,

        e[s, k, f]  <-  sum_s' D[s, s', pos(k)] e[s', k, f]  +  dh_s/dy_k x[k, f]

    Over a window of K steps the recursion is linear, so it is one pass over the trace and one matrix product,

        e_K  =  (D_K ... D_1) e_0  +  sum_t (D_K ... D_{t+1} dh_t/dy) (x) x_t .

    Exact where no mixing path leads from state to state (see `ETraceGraph.report`). For a dense weight the
    trace has the size of the weight, times the batch, times the states that the weight can reach.

    **Arguments**

    - `trace_dtype`: the dtype in which the trace is stored, such as `jnp.bfloat16`; None for that of the step.
      Arithmetic is in the dtype of the step whatever this is; the trace is rounded once per step, in `scan` once for
      many. The trace of a complex weight stays in the dtype of the step.
    - `filters`: keep filtered traces, too? A readout r <- c r + W z that reads the units of a group and leaks at one
      rate c for all of its outputs owes to their weights W ebar, with one more trace ebar <- c ebar + dz/dh e. So what
      goes through it is exact. They are found by structure: c may be a parameter, differ between lanes, or be reset.

    Source: Wang et al., "Scalable online learning of recurrent and spiking networks" (brainscale), D-RTRL;
    Murray, "Local online learning in recurrent networks with random feedback", eLife 2019; the diagonal
    approximation of Williams and Zipser, Neural Computation 1989. The filtered trace: Bellec et al., "A solution to the
    learning dilemma for recurrent networks of spiking neurons", Nature Communications 2020, Methods.
    """

    trace_dtype: DTypeLike | None = eqx.field(default=None, static=True, converter=as_dtype)
    filters: bool = eqx.field(default=True, static=True)

    def __check_init__(self) -> None:
        check_flag("filters", self.filters)

    def follow(self, weight: Weight) -> Followed:
        return weight.filtered if self.filters else weight.by_position

    def init(self, layout: TraceLayout) -> Stored:
        return nothing_yet(layout, self.trace_dtype)

    def advance(self, layout: TraceLayout, value: Stored, drive: Drive) -> Stored:
        return through_step(layout, value, drive)

    def advance_window(self, layout: TraceLayout, value: Stored, window: Window) -> Stored:
        return through_steps(layout, value, window.composed)

    def contract(
        self, layout: TraceLayout, value: Stored, signal: Sequence[Inexact[Array, "..."]]
    ) -> Inexact[Array, "..."]:
        return layout.contract(signal, value.e, value.status)

    def follows_d(self, layout: TraceLayout) -> bool:
        del layout
        return True

    def approximates(self, layout: TraceLayout) -> str | None:
        del layout
        return None

    def work(self, layout: TraceLayout) -> int:
        return math.prod(layout.shape) * (sum(map(sum, layout.couplings)) + sum(layout.enters) + len(layout.states))

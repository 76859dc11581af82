"""e-prop: the eligibility trace of a unit by itself, and the same as a leaky readout sees it."""

import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Inexact

from .._status import Stored
from ..by_position import Drive, TraceLayout, Window
from ._by_position import AbstractPositionRule, as_dtype
from ._full import nothing_yet, through_step, through_steps
from ._pace import as_leak, kept_by_row
from ._recursion import compose_steps
from ._weight import Followed, Weight

_NONE = " None finds that of the readout in the step."


class EProp(AbstractPositionRule):
    """e-prop: eligibility traces of every unit by itself, filtered as the readout filters its input.

        e     <-  D e  +  dh/dy (x) x            credit that stays with the unit: membrane, threshold, reset
        ebar  <-  kappa ebar  +  e               what a readout with the leak kappa has seen of it

    The first line is `DRTRL`: a spike that goes to other units through recurrent weights carries no credit, and a reset
    carries some only where the neuron differentiates it. With `kappa=None` the second is found by structure: of a
    leaky readout in the step, whatever its leak, and none without one. That is exact where the report says so, and
    right at every window. A number is for a readout that is no part of the step, at window 0: a learning signal at the
    spikes of one step then meets ebar. The spikes must be a state then, as in `return z, (units, z)`: ebar is kept of
    states, and the filter of a potential is not that of its spikes. In larger windows it reaches only what is older.

    Published for window 0. The learning signal is what the model's own output pulls back: that of symmetric e-prop.
    For random or adaptive e-prop the readout is `nn.FeedbackLinear`.

    **Arguments**

    - `kappa`: the leak of the readout, in [0, 1], or a scalar array of floats; None to find it in the step.
    - `trace_dtype`: as of `DRTRL`.

    Source: Bellec et al., "A solution to the learning dilemma for recurrent networks of spiking neurons", Nature
    Communications 2020, equations 4 and 22 to 25.
    """

    kappa: Any = eqx.field(default=None, converter=lambda k: None if k is None else as_leak("kappa", k, _NONE))
    trace_dtype: DTypeLike | None = eqx.field(default=None, static=True, converter=as_dtype)

    def follow(self, weight: Weight) -> Followed:
        return weight.filtered if self.kappa is None else weight.by_position

    def init(self, layout: TraceLayout) -> Stored:
        return nothing_yet(layout, self.trace_dtype, times=1 if self.kappa is None else 2)

    def advance(self, layout: TraceLayout, value: Stored, drive: Drive) -> Stored:
        return through_step(layout, value, drive if self.kappa is None else filtered(drive, self.kappa))

    def advance_window(self, layout: TraceLayout, value: Stored, window: Window) -> Stored:
        if self.kappa is None:
            return through_steps(layout, value, window.composed)
        steps = jax.vmap(lambda step: filtered(step, self.kappa))(window.steps)
        return through_steps(layout, value, compose_steps(steps))

    def contract(
        self, layout: TraceLayout, value: Stored, signal: Sequence[Inexact[Array, "..."]]
    ) -> Inexact[Array, "..."]:
        last = slice(-len(layout.states), None)
        return layout.contract(signal, value.e[last], value.status[last])

    def follows_d(self, layout: TraceLayout) -> bool:
        del layout
        return self.kappa is None

    def approximates(self, layout: TraceLayout) -> str | None:
        del layout
        given = "a filter that was given stands for that of the readout; what it filters must be a state"
        return None if self.kappa is None else given

    def work(self, layout: TraceLayout) -> int:
        advance = sum(map(sum, layout.couplings)) + sum(layout.enters)
        more = 0 if self.kappa is None else advance + len(layout.states)
        return math.prod(layout.shape) * (advance + more + len(layout.states))


def filtered(drive: Drive, kappa: Any) -> Drive:
    """One step, with a filter of every state as one more state."""
    size, is_held = range(len(drive.response)), drive.held_lanes[..., None] if drive.x is not None else drive.held_rows
    keep = kept_by_row(drive, kappa, restarts=False)

    def row(s: int) -> tuple[Array | None, ...]:
        seen = [None if d is None else jnp.where(is_held, 0, d) for d in drive.decay[s]]
        return (*seen, *(keep if s == r else None for r in size))

    nothing = (None,) * len(size)
    decay = (*((*drive.decay[s], *nothing) for s in size), *map(row, size))
    return Drive(decay, 2 * drive.response, drive.x)

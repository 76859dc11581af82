"""OTTT and OTPE: one leak on the side of the input, and the response of one step on that of the unit."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Inexact

from ..._sharding import scan
from ..._times import times
from .._head import FactoredShare
from .._status import Stored, without_idle_lanes
from ..by_position import Drive, TraceLayout, Window
from ._by_position import AbstractPositionRule, as_dtype, stored
from ._eprop import filtered
from ._full import nothing_yet, through_step, through_steps
from ._pace import as_leak, Pace, pace_of
from ._recursion import compose_steps, roll, Value
from ._rflo import leaky
from ._weight import Followed, Weight


class Instant(NamedTuple):
    """The trace of one relation under `OTTT`."""

    x: Inexact[Array, "b m k"] | None
    """What the weight met, discounted and summed; None for an elementwise parameter."""
    f: Value
    """How the new states answered in the last step."""


class OTTT(AbstractPositionRule):
    """Online training through time: what came in is summed with one leak, the unit answers at once.

    Per relation, with states s, rows k of the head's output and features f,

        x^[f]       <-  a x^[f]  +  x[f]
        e[s, k, f]   =  dh_s/dy_k x^[f]

    so that a trace has the size of the activity. Of one layer of LIF neurons whose reset is not differentiated, with a
    the leak of their membrane, it is `EProp(kappa=0.0)` there, and exact but for what goes through the spikes of later
    steps. A state that y enters only by way of another has none. A parameter that is used element by element, such as a
    bias, has a trace of the size of the state, and keeps that of `DRTRL`.

    Published for window 0. Time is that of the states: a step that holds all states of a lane holds its trace, and a
    reset starts it anew. That is read from the numbers, as of `RFLO`.

    **Arguments**

    - `leak`: a, a number in [0, 1], or a scalar array of floats, also a traced one.
    - `trace_dtype`: the dtype in which the factors are stored, as of `PPProp`.

    Source: Xiao et al., "Online training through time for spiking neural networks", NeurIPS 2022, equations 9 and 10.
    """

    leak: Any = eqx.field(converter=lambda leak: as_leak("leak", leak))
    trace_dtype: DTypeLike | None = eqx.field(default=None, static=True, converter=as_dtype)

    def follow(self, weight: Weight) -> Followed:
        return weight.by_position

    def init(self, layout: TraceLayout) -> Instant:
        dtype = stored(self.trace_dtype, layout)
        x = jnp.zeros(layout.features_shape, dtype) if layout.head.has_features else None
        return Instant(x, tuple(jnp.zeros(layout.rows, dtype) for _ in layout.states))

    def advance(self, layout: TraceLayout, value: Instant, drive: Drive) -> Instant:
        if value.x is None:
            return Instant(None, roll(value.f, drive.decay, drive.response))
        pace = pace_of(drive, self.leak, 1, restarts=False)
        return Instant(_met(value.x, pace, drive), _answered(value.f, pace, drive))

    def advance_window(self, layout: TraceLayout, value: Instant, window: Window) -> Instant:
        if value.x is None:
            composed = window.composed
            new = [None if d is None else d.sum(0) for d in composed.response]
            return Instant(None, roll(value.f, composed.decay, new))
        return scan(lambda held, step: (self.advance(layout, held, step), None), value, window.steps)[0]

    def contract(
        self, layout: TraceLayout, value: Instant, signal: Sequence[Inexact[Array, "..."]]
    ) -> Inexact[Array, "..."] | FactoredShare:
        terms = [times(f.astype(layout.dtype), g) for g, f in zip(signal, value.f, strict=True)]
        rows = sum(terms[1:], terms[0])
        if value.x is None:
            return layout.head.to_weight(rows)
        return FactoredShare(rows, value.x.astype(layout.dtype), self._discount)

    def _discount(self, drive: Drive) -> tuple[Array, Array]:
        pace = pace_of(drive, self.leak, 1, restarts=False)
        return pace.keep, pace.take

    def follows_d(self, layout: TraceLayout) -> bool:
        del layout
        return False

    def approximates(self, layout: TraceLayout) -> str | None:
        return "the response of the last step stands for that of all" if layout.head.has_features else None

    def work(self, layout: TraceLayout) -> int:
        if not layout.head.has_features:
            return math.prod(layout.rows) * (sum(map(sum, layout.couplings)) + len(layout.states))
        return math.prod(layout.rows) * len(layout.states) + math.prod(layout.shape) + math.prod(layout.features_shape)


class Refiltered(NamedTuple):
    """The trace of one relation under `OTPE`."""

    x: Inexact[Array, "b m k"] | None
    """What the weight met, discounted and summed; None for an elementwise parameter."""
    trace: Stored


class OTPE(AbstractPositionRule):
    """Online training with postsynaptic estimates: OTTT, and what the units behind have seen of it.

        x^    <-  a x^  +  x
        R     <-  a R  +  dh/dy (x) x^

    R stands for what a layer behind, or a readout, that leaks at the same a holds of the spikes of this one. So these
    must be a state, as in `return z, (units, z)`, and the layer behind no part of the step. Then, at window 0, a hidden
    layer of LIF neurons has its exact gradient, if their reset is not differentiated. It takes the memory of `DRTRL`. A
    parameter that is used element by element keeps the trace of `EProp(kappa=a)`. In larger windows it reaches only
    what is older than the window; a leaky readout inside the step is followed by `DRTRL` and `EProp`, and better.

    **Arguments**

    - `leak`: a, a number in [0, 1], or a scalar array of floats, also a traced one.
    - `trace_dtype`: as of `DRTRL`.

    Source: Summe et al., "Estimating post-synaptic effects for online training of feed-forward SNNs", 2024, equations
    10 to 12.
    """

    leak: Any = eqx.field(converter=lambda leak: as_leak("leak", leak))
    trace_dtype: DTypeLike | None = eqx.field(default=None, static=True, converter=as_dtype)

    def follow(self, weight: Weight) -> Followed:
        return weight.by_position

    def init(self, layout: TraceLayout) -> Refiltered:
        if not layout.head.has_features:
            return Refiltered(None, nothing_yet(layout, self.trace_dtype, times=2))
        x = jnp.zeros(layout.features_shape, stored(self.trace_dtype, layout))
        return Refiltered(x, nothing_yet(layout, self.trace_dtype))

    def advance(self, layout: TraceLayout, value: Refiltered, drive: Drive) -> Refiltered:
        if value.x is None:
            return Refiltered(None, through_step(layout, value.trace, filtered(drive, self.leak)))
        x = _met(value.x, pace_of(drive, self.leak, 1, restarts=False), drive)
        here = leaky(drive, self.leak, x.astype(layout.dtype))
        return Refiltered(x, through_step(layout, value.trace, here))

    def advance_window(self, layout: TraceLayout, value: Refiltered, window: Window) -> Refiltered:
        if value.x is None:
            steps = jax.vmap(lambda step: filtered(step, self.leak))(window.steps)
            return Refiltered(None, through_steps(layout, value.trace, compose_steps(steps)))

        def met(x: Array, step: Drive) -> tuple[Array, Drive]:
            x = _met(x, pace_of(step, self.leak, 1, restarts=False), step)
            return x, leaky(step, self.leak, x.astype(layout.dtype))

        x, steps = scan(met, value.x, window.steps)
        return Refiltered(x, through_steps(layout, value.trace, compose_steps(steps)))

    def contract(
        self, layout: TraceLayout, value: Refiltered, signal: Sequence[Inexact[Array, "..."]]
    ) -> Inexact[Array, "..."]:
        last = slice(-len(layout.states), None)
        return layout.contract(signal, value.trace.e[last], value.trace.status[last])

    def follows_d(self, layout: TraceLayout) -> bool:
        del layout
        return False

    def approximates(self, layout: TraceLayout) -> str:
        del layout
        return "a filter that was given stands for that of the units behind; what it filters must be a state"

    def work(self, layout: TraceLayout) -> int:
        own = math.prod(layout.shape) * (2 * len(layout.states) + sum(layout.enters))
        return own + (math.prod(layout.features_shape) if layout.head.has_features else 0)


def _met(x: Inexact[Array, "b m k"], pace: Pace, drive: Drive) -> Inexact[Array, "b m k"]:
    """a x^ + x."""
    assert drive.x is not None
    met = without_idle_lanes(drive.x, drive.response)
    return (times(pace.keep[..., None], x.astype(met.dtype)) + pace.take[..., None] * met).astype(x.dtype)


def _answered(f: Value, pace: Pace, drive: Drive) -> Value:
    """The response of this step; in lanes that it holds, that of the step before."""
    is_held = pace.take[..., None] == 0
    new = [jnp.zeros_like(old) if rows is None else rows for old, rows in zip(f, drive.response, strict=True)]
    return tuple(jnp.where(is_held, old, rows.astype(old.dtype)) for old, rows in zip(f, new, strict=True))

"""ES-D-RTRL: the trace as a product of two factors."""

import math
import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import DTypeLike
from jaxtyping import Array, Inexact, Int

from ..._given import check_flag
from ..._sharding import scan
from ..._times import times
from .._head import FactoredShare
from .._status import without_idle_lanes
from ..by_position import Drive, TraceLayout, Window
from ._by_position import AbstractPositionRule, as_dtype, stored
from ._pace import as_number, is_real_scalar, of_its_type, Pace, pace_of
from ._recursion import roll, Value
from ._weight import Followed, Weight

_MANY = 2**30


class FactoredTrace(NamedTuple):
    """The factored trace of one relation."""

    x: Inexact[Array, "b m k"] | None
    """What the weight met, discounted and summed; None for an elementwise parameter."""
    f: Value
    """How the new states answered to it, discounted and summed, per state."""
    steps: Int[Array, "b m"] | None
    """Over how many steps the sums run, by lane; None for an elementwise parameter."""


class PPProp(AbstractPositionRule):
    """ES-D-RTRL, also called pp-prop: D-RTRL with a factored trace, of the size of the activity instead of the weights.

    Per relation, with states s and rows k of the head's output, at step t

        e_x[k]     <-  a_x e_x[k]  +  x[k]
        e_f[s, k]  <-  a_f sum_s' D[s, s', pos(k)] e_f[s', k]  +  dh_s/dy_k
        e[s, k, f]  ~  e_f[s, k] e_x[f] (1 - a_x) / (1 - a_x^t)

    The last factor makes of e_x a weighted *average* of what came in; the denominator is its bias correction, with t
    counted in time steps. With a_x = a_f = a this is the published rule, e_f scaled by 1 - a. After one step the trace
    is exact. The contraction is the head's own VJP at x = e_x with cotangent sum_s g e_f. An elementwise parameter has
    no x; its trace is no larger than e_f and is kept exactly, as D-RTRL keeps it.

    Time is that of the states, lane by lane. A step that holds all states of a lane as they are (D is the identity and
    nothing enters) does nothing to its trace. A step that cuts them off from their past (D is zero: a reset) starts the
    sums and the count anew. So it is at every step where D is zero by structure, as of a recurrence through a dense
    weight alone: e_f then holds one step, and e_x the x of that step, so that the trace is that of `DRTRL`, where the
    published rule averages inputs that e_f knows nothing of.

    **Arguments**

    - `decay`: a number in [0, 1) that is no integer, or a pair (a_x, a_f) of them; or a rank, an integer r >= 2, which
      stands for (r - 1) / (r + 1), whose average reaches about r steps back. Numbers may be those of NumPy and JAX,
      also traced: a decay may be mapped over (`jax.vmap`) and differentiated by. A traced one out of range makes
      gradients NaN: learn the `a` of `jax.nn.sigmoid(a)` instead.
    - `trace_dtype`: the dtype in which the factors are stored, such as `jnp.bfloat16`; None for that of the step.
      Those of a complex weight stay in the dtype of the step.
    - `filters`: keep the filters of leaky readouts as more states of e_f, as `DRTRL` does? Off by default: the inputs
      of a filter are older than those of the units that it filters, and one average e_x serves both. It helps some
      networks, and hurts others.

    Source: Wang et al., "Scalable online learning of recurrent and spiking networks" (brainscale), ES-D-RTRL.
    """

    decay: tuple[Any, Any] = eqx.field(converter=lambda decay: _as_pair(decay))
    trace_dtype: DTypeLike | None = eqx.field(default=None, static=True, converter=as_dtype)
    filters: bool = eqx.field(default=False, static=True)

    def __check_init__(self) -> None:
        check_flag("filters", self.filters)

    def follow(self, weight: Weight) -> Followed:
        return weight.filtered if self.filters else weight.by_position

    def init(self, layout: TraceLayout) -> FactoredTrace:
        dtype = stored(self.trace_dtype, layout)
        f = tuple(jnp.zeros(layout.rows, dtype) for _ in layout.states)
        if not layout.head.has_features:
            return FactoredTrace(None, f, None)
        x, steps = jnp.zeros(layout.features_shape, dtype), jnp.zeros(layout.features_shape[:2], jnp.int32)
        return FactoredTrace(x, f, steps)

    def advance(self, layout: TraceLayout, value: FactoredTrace, drive: Drive) -> FactoredTrace:
        if value.x is None or drive.x is None:
            return FactoredTrace(None, roll(value.f, drive.decay, drive.response), None)
        pace, met = self._pace(drive), without_idle_lanes(drive.x, drive.response)
        x = (times(pace.keep[..., None], value.x.astype(met.dtype)) + pace.take[..., None] * met).astype(value.x.dtype)
        decay = jax.tree.map(lambda d: pace.forget[..., None] * d, drive.decay)
        return FactoredTrace(x, roll(value.f, decay, drive.response), _counted(value, pace))

    def advance_window(self, layout: TraceLayout, value: FactoredTrace, window: Window) -> FactoredTrace:
        composed, steps = window.composed, window.steps
        decay, response = composed.decay, composed.response
        if value.x is None or value.steps is None or steps.x is None:
            return FactoredTrace(None, roll(value.f, decay, jax.tree.map(lambda d: d.sum(0), response)), None)
        pace, met = self._pace(steps), without_idle_lanes(steps.x, steps.response)
        keep, forget = (jnp.cumprod(p[::-1], 0)[::-1] for p in (pace.keep, pace.forget))
        after, forgotten = (jnp.concatenate([p[1:], jnp.ones_like(p[:1])]) for p in (keep, forget))
        x = times(keep[0][..., None], value.x.astype(met.dtype)) + times((after * pace.take)[..., None], met).sum(0)
        decay = jax.tree.map(lambda d: forget[0][..., None] * d, decay)
        f = roll(value.f, decay, jax.tree.map(lambda d: (forgotten[..., None] * d).sum(0), response))
        count = scan(lambda n, now: (_counted(value._replace(steps=n), now), None), value.steps, pace)[0]
        return FactoredTrace(x.astype(value.x.dtype), f, count)

    def contract(
        self, layout: TraceLayout, value: FactoredTrace, signal: Sequence[Inexact[Array, "..."]]
    ) -> Inexact[Array, "..."] | FactoredShare:
        terms = [times(f.astype(layout.dtype), g) for g, f in zip(signal, value.f, strict=True)]
        cotangent = sum(terms[1:], terms[0])
        if value.x is None or value.steps is None:
            return layout.head.to_weight(cotangent)
        rows = cotangent * self._average(value.steps, cotangent.dtype)[..., None]
        return FactoredShare(rows, value.x.astype(layout.dtype), self._discount)

    def follows_d(self, layout: TraceLayout) -> bool:
        """Its own product of two recursions is as cheap as signals that are carried back."""
        del layout
        return False

    def approximates(self, layout: TraceLayout) -> str | None:
        return "the trace is a product of two factors" if layout.head.has_features else None

    def work(self, layout: TraceLayout) -> int:
        rows = math.prod(layout.rows) * (sum(map(sum, layout.couplings)) + len(layout.states))
        if not layout.head.has_features:
            return rows
        return rows + math.prod(layout.shape) + math.prod(layout.features_shape)

    def _discount(self, drive: Drive) -> tuple[Array, Array]:
        pace = self._pace(drive)
        return pace.keep, pace.take

    def _pace(self, drive: Drive) -> Pace:
        return pace_of(drive, *self.decay, restarts=True)

    def _average(self, steps: Int[Array, "b m"], dtype: Any) -> Inexact[Array, "b m"]:
        """(1 - a_x) / (1 - a_x^t); before the first step the sums are zero, and so is this."""
        real = jnp.finfo(dtype).dtype
        a, count = as_number(self.decay[0], real), jnp.maximum(steps, 1).astype(real)
        return jnp.where(steps > 0, (1 - a) / (1 - a**count), 0).astype(dtype)


def _counted(value: FactoredTrace, pace: Pace) -> Int[Array, "b m"]:
    """Over how many steps the sums run after a step; so many that no decay tells more apart, and it stands still."""
    assert value.steps is not None
    return jnp.minimum(jnp.where(pace.keep == 0, 0, value.steps), _MANY) + pace.take.real.astype(jnp.int32)


def _as_pair(decay: Any) -> tuple[Any, Any]:
    """From a decay, a pair of decays or a rank to a pair of decays."""
    if isinstance(decay, tuple | list):
        if len(decay) != 2:
            raise ValueError(f"`decay` is a {type(decay).__name__} of {len(decay)}; a pair is (x side, f side).")
        return _as_decay(decay[0]), _as_decay(decay[1])
    if hasattr(decay, "__index__") and not isinstance(decay, bool | jax.Array | np.ndarray):
        rank = operator.index(decay)
        if rank < 2:
            raise ValueError(
                f"`decay` is the integer {rank}. An integer is a rank, at least 2: r stands for the decay "
                "(r - 1) / (r + 1). A decay is a float in [0, 1); for one of 0 write 0.0."
            )
        return (rank - 1) / (rank + 1), (rank - 1) / (rank + 1)
    one = _as_decay(decay)
    return one, one


def _as_decay(decay: Any) -> Any:
    """A Python float if it is known; a traced scalar, NaN out of range."""
    if not is_real_scalar(decay):
        raise TypeError(
            f"`decay` is {of_its_type(decay)}; it must be a float in [0, 1), a scalar array of floats, a pair of "
            "these, or a rank, an integer. To try many decays use `jax.vmap` over a function of one."
        )
    if isinstance(decay, Tracer):
        # It cannot be looked at, and out of range it must not pass in silence.
        return jnp.where((decay >= 0) & (decay < 1), decay, jnp.nan).astype(decay.dtype)
    if not 0 <= float(decay) < 1:
        raise ValueError(f"`decay` is {float(decay)}; every decay must lie in [0, 1). An integer stands for a rank.")
    return float(decay)

"""ES-D-RTRL: the trace as a product of two factors."""

import math
import operator
from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Inexact, Int

from .._trace import Drive, Product, Trace
from ._base import AbstractPositionRule, as_dtype, stored
from ._recursion import roll, Value


class Factors(NamedTuple):
    """The factored trace of one relation."""

    x: Inexact[Array, "b m k"] | None
    """What the weight met, discounted and summed; None for an elementwise parameter."""
    f: Value
    """How the new states answered to it, discounted and summed, per state."""
    steps: Int[Array, ""]
    """How many steps the sums run over."""


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

    **Arguments**

    - `decay`: a float in [0, 1), a pair (a_x, a_f) of them, or a rank: an integer r >= 1 stands for (r - 1) / (r + 1),
      whose average reaches about r steps back.
    - `trace_dtype`: the dtype in which the factors are stored, such as `jnp.bfloat16`; None for that of the step.
      Those of a complex weight stay in the dtype of the step.

    Source: Wang et al., "Scalable online learning of recurrent and spiking networks" (brainscale), ES-D-RTRL.
    """

    decay: tuple[float, float] = eqx.field(converter=lambda decay: _as_pair(decay), static=True)
    trace_dtype: DTypeLike | None = eqx.field(default=None, static=True, converter=as_dtype)

    def init(self, trace: Trace) -> Factors:
        dtype = stored(self.trace_dtype, trace)
        x = jnp.zeros(trace.features_shape, dtype) if trace.head.has_features else None
        return Factors(x, tuple(jnp.zeros(trace.rows, dtype) for _ in trace.states), jnp.zeros((), jnp.int32))

    def advance(self, trace: Trace, value: Factors, drive: Drive) -> Factors:
        x, decay = value.x, drive.decay
        if x is not None and drive.x is not None:
            x = (self.decay[0] * x.astype(drive.x.dtype) + drive.x).astype(x.dtype)
            decay = jax.tree.map(lambda d: self.decay[1] * d, decay)
        return Factors(x, roll(value.f, decay, drive.entry), value.steps + 1)

    def advance_window(self, trace: Trace, value: Factors, drive: Drive) -> Factors:
        length = jax.tree.leaves(drive.entry)[0].shape[0]
        left = jnp.arange(length, dtype=trace.dtype)[::-1]
        x, decay, entry = value.x, drive.decay, drive.entry
        if x is not None and drive.x is not None:
            a_x, a_f = self.decay
            x = (a_x**length * x.astype(drive.x.dtype) + jnp.einsum("t,t...->...", a_x**left, drive.x)).astype(x.dtype)
            decay = jax.tree.map(lambda d: a_f**length * d, decay)
            entry = jax.tree.map(lambda d: d * (a_f**left).reshape(-1, *(1,) * (d.ndim - 1)), entry)
        f = roll(value.f, decay, [None if d is None else d.sum(0) for d in entry])
        return Factors(x, f, value.steps + length)

    def contract(
        self, trace: Trace, value: Factors, signal: Sequence[Inexact[Array, "..."]]
    ) -> Inexact[Array, "..."] | Product:
        terms = [g * f.astype(trace.dtype) for g, f in zip(signal, value.f, strict=True)]
        cotangent = sum(terms[1:], terms[0])
        if value.x is None:
            return trace.head.to_weight(cotangent)
        return Product(cotangent * self._average(value.steps, trace), value.x.astype(trace.dtype), self.decay[0])

    def approximates(self, trace: Trace) -> str | None:
        return "the trace is a product of two factors" if trace.head.has_features else None

    def work(self, trace: Trace) -> int:
        rows = math.prod(trace.rows) * (sum(map(sum, trace.couplings)) + len(trace.states))
        return rows + (math.prod(trace.head.shape) + math.prod(trace.features_shape) if trace.head.has_features else 0)

    def _average(self, steps: Int[Array, ""], trace: Trace) -> Inexact[Array, ""]:
        """(1 - a_x) / (1 - a_x^t); before the first step the sums are zero, and so is this."""
        a = self.decay[0]
        count = jnp.maximum(steps, 1).astype(trace.dtype)
        return jnp.where(steps > 0, (1 - a) / (1 - a**count), 0).astype(trace.dtype)


def _as_pair(decay: float | int | tuple[float, float]) -> tuple[float, float]:
    """From a decay, a pair of decays or a rank to a pair of decays."""
    if isinstance(decay, tuple):
        if len(decay) != 2:
            raise ValueError(f"`decay` is a tuple of {len(decay)}; it must be a pair (x side, f side).")
        pair = float(decay[0]), float(decay[1])
    elif isinstance(decay, float):
        pair = decay, decay
    else:
        rank = operator.index(decay)
        if rank < 1:
            raise ValueError(
                f"`decay` is the integer {rank}, a rank; a rank is at least 1. A decay is a float in [0, 1)."
            )
        pair = (rank - 1) / (rank + 1), (rank - 1) / (rank + 1)
    if not all(0 <= a < 1 for a in pair):
        raise ValueError(f"`decay` is {decay}; every decay must lie in [0, 1). An integer stands for a rank.")
    return pair

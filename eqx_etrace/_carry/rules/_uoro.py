"""UORO: the influence as one random product."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact, PyTree

from ..._given import as_key
from ..._read import Cut
from .._transition import Signal, Transition, Transitions
from ..on_blocks import ProductLayout
from ._random import balanced, estimated, first_key, KeyData, next_key, signs, squared_norm
from ._rule import AbstractKeeper, AbstractRule
from ._weight import Weight


class UORO(AbstractRule):
    """Unbiased online recurrent optimization: the whole influence as one random product, right in the mean.

    Per effective weight, with random signs nu, one for each scalar of the state that the weight enters,

        s      <-  r0 J s  +  r1 nu                     of the size of the state
        theta  <-  theta / r0  +  (nu dh/dw) / r1       of the size of the weight, per lane

        r0 = sqrt(|theta| / |J s|)        r1 = sqrt(|nu dh/dw| / |nu|)

    and s (x) theta stands for dh/dw: its mean over the signs is that of `RTRL`. It takes one pass forward through the
    step and one backward for each weight, whatever the step does; forward by the transpose of the backward pass, so
    that surrogate spikes need no forward-mode rule. The published algorithm has one s for all weights together. Here
    each weight has its own, and each lane of a batch, so that none adds noise to the gradient of another.

    Randomness is a part of the trace: the same key gives the same gradients, also from a trace that was saved. `init`
    puts the key into the trace, and nothing reads that of the rule afterwards. Lanes inside the step are independent.
    For lanes by `jax.vmap` around the transform, map over keys in `init`; the calls may have a rule with any key:

        traces = jax.vmap(lambda key, h: etrace_grad(step, UORO(key)).init(model, h, x))(keys, states)
        grads, states, traces = jax.vmap(online, (None, 0, 0, 0))(model, states, traces, xs)

    **Arguments**

    - `key`: a random key.

    Source: Tallec and Ollivier, "Unbiased online recurrent optimization", ICLR 2018, algorithm 1.
    """

    key: Any = eqx.field(converter=as_key)

    def keep(self, weight: Weight) -> "Sequence[ProductKeeper]":
        """One product for every source."""
        return [ProductKeeper(self, weight, layout) for layout in weight.products]

    def drops(self, weight: Weight, parameter: int) -> tuple[Cut, ...]:
        """It is an estimate; and what no Jacobian follows."""
        random = [estimated(weight, layout, "a random product stands for the influence") for layout in weight.products]
        return (*weight.analysis.unfollowed[parameter], *random)

    def holds_all(self, weight: Weight) -> bool:
        """In the mean alone."""
        del weight
        return False


class Product(NamedTuple):
    """s (x) theta, by part of the state."""

    s: Inexact[Array, " n"]
    theta: Inexact[Array, "..."]
    """[b, m, n, k], as the trace of one state by position; of the shape of a weight that is used element by element."""
    key: KeyData


@dataclasses.dataclass(frozen=True, eq=False)
class ProductKeeper(AbstractKeeper):
    """The product of one source."""

    rule: UORO
    layout: ProductLayout

    def init(self) -> Product:
        layout, real = self.layout, jnp.finfo(self.layout.dtype).dtype
        key = first_key(self.rule.key, layout)
        return Product(jnp.zeros(layout.scalars.size, real), jnp.zeros(layout.head.shape, layout.dtype), key)

    def advance(self, value: PyTree[Array], transition: Transition) -> Product:
        layout, step = self.layout, transition.passes
        held, key = next_key(self.rule.key, value.key)
        nu = signs(key, value.s.shape, value.s.dtype) * layout.entered.astype(value.s.dtype)
        pushed, entering = step.push(value.s), layout.head.outer(step.pull(layout, nu), step.met(layout))
        old = balanced(self._norm_of_state(pushed), self._norm(value.theta))
        new = balanced(self._norm_of_state(nu), self._norm(entering))
        on_s = [part[layout.scalars].astype(nu.dtype) for part in (old[0], new[0])]
        on_theta = [self._by_row(part.astype(layout.dtype)) for part in (old[1], new[1])]
        theta = on_theta[0] * value.theta + on_theta[1] * entering
        return Product(on_s[0] * pushed + on_s[1] * nu, theta.astype(value.theta.dtype), held)

    def advance_window(self, value: PyTree[Array], transitions: Transitions) -> None:
        """The roots of every step are found after the step before."""

    def contract(self, value: PyTree[Array], signal: Signal) -> Inexact[Array, "..."]:
        layout = self.layout
        met = jax.ops.segment_sum(signal.on_scalars.astype(value.s.dtype) * value.s, layout.scalars, layout.parts)
        share = self._by_row(met.astype(layout.dtype)) * value.theta
        return layout.head.to_weight(share.sum(1) if layout.head.has_features else share)

    def rows(self, transition: Transition, signal: Signal) -> Inexact[Array, "..."]:
        return transition.passes.pull(self.layout, signal.on_scalars)

    @property
    def follows_d(self) -> bool:
        """It follows the whole Jacobian."""
        return False

    @property
    def work(self) -> int:
        """Without the passes."""
        return 4 * math.prod(self.layout.head.shape) + 4 * self.layout.scalars.size

    @property
    def missed_at_window_0(self) -> int:
        return self.weight.analysis.past_new

    def _norm(self, theta: Inexact[Array, "..."]) -> Inexact[Array, " parts"]:
        """Squared, by part."""
        rows = squared_norm(theta, -1 if self.layout.head.has_features else ())
        return jax.ops.segment_sum(rows.ravel(), self.layout.rows.ravel(), self.layout.parts)

    def _norm_of_state(self, s: Inexact[Array, " n"]) -> Inexact[Array, " parts"]:
        return jax.ops.segment_sum(squared_norm(s, ()), self.layout.scalars, self.layout.parts)

    def _by_row(self, by_part: Inexact[Array, " parts"]) -> Inexact[Array, "..."]:
        rows = by_part[self.layout.rows]
        return rows[..., None] if self.layout.head.has_features else rows

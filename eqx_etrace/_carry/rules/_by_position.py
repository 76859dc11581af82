"""Rules that keep the part of the Jacobian which stays in its position: one trace for every site."""

import abc
import dataclasses
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Inexact, PyTree

from ..._read import Cut
from ..._times import times
from .._head import FactoredShare
from .._transition import Signal, Transition, Transitions
from ..by_position import Drive, TraceLayout, Window
from ._rule import AbstractKeeper, AbstractRule, Share
from ._weight import Followed, Weight


class AbstractPositionRule(AbstractRule):
    """A rule that keeps the part of the Jacobian which stays in its position: one trace for every site.

    A site is where an effective weight w~ enters a hidden group, w~ --head--> y --tail--> h. A rule of your own says
    how the trace of one site starts, how a step advances it, and how a learning signal meets it. The `TraceLayout` says
    of what shape it is, the `Drive` what the step does: D and dh/dy of its states, and x.
    """

    @abc.abstractmethod
    def follow(self, weight: Weight) -> Followed:
        """What its traces follow: `weight.by_position`, what stays in its position, or `weight.filtered`.

        The latter is also what others make of a group by fixed linear maps: a group has their filters as states, too.
        """

    @abc.abstractmethod
    def init(self, layout: TraceLayout) -> PyTree[Array]:
        """The trace before the first step: zeros."""

    @abc.abstractmethod
    def advance(self, layout: TraceLayout, value: PyTree[Array], drive: Drive) -> PyTree[Array]:
        """The trace after one more step.

        What the step itself adds must be dh/dy (x) x, as it is: window 0, which has the exact gradient of the step
        already, takes just that off again.
        """

    @abc.abstractmethod
    def advance_window(self, layout: TraceLayout, value: PyTree[Array], window: Window) -> PyTree[Array] | None:
        """The trace after a window of steps: the same as after `advance` at each of them, to rounding.

        None: there is no shorter way, and `advance` is called for one step after the other. `window.steps` are the
        steps, `window.composed` is all of them as one step, by the true D of the model.
        """

    @abc.abstractmethod
    def contract(
        self, layout: TraceLayout, value: PyTree[Array], signal: Sequence[Inexact[Array, "..."]]
    ) -> Inexact[Array, "..."] | FactoredShare | None:
        """The cotangent of the effective weight, or its factors, from a learning signal per state; None for none."""

    @abc.abstractmethod
    def follows_d(self, layout: TraceLayout) -> bool:
        """Is `advance` e <- D e + dh/dy (x) x with the true D of the model, `contract` sum_s g_s e_s, and no more?

        Then `scan` carries the learning signals of many steps back by D, and contracts the trace with their sum. False
        is always right, and slower: `contract` is called for every signal.
        """

    @abc.abstractmethod
    def approximates(self, layout: TraceLayout) -> str | None:
        """What it gives up beside the mixing of positions, in words; None if nothing."""

    @abc.abstractmethod
    def work(self, layout: TraceLayout) -> int:
        """Multiply-adds of one step, to advance the trace and to contract it."""

    def keep(self, weight: Weight) -> "tuple[PositionKeeper, ...]":
        """One trace for every site."""
        return tuple(PositionKeeper(self, weight, site) for site in self.follow(weight).sites)

    def drops(self, weight: Weight, parameter: int) -> tuple[Cut, ...]:
        """What mixes positions, and what the rule itself gives up."""
        followed = self.follow(weight)
        given_up = [cut for site in followed.sites if (cut := self._given_up(weight, site)) is not None]
        return (*followed.dropped(parameter), *given_up)

    def _given_up(self, weight: Weight, site: TraceLayout) -> Cut | None:
        what, where = self.approximates(site), weight.analysis.site(site.number)
        return None if what is None else Cut(where.group, where.weight, what, where.equation.source)

    def holds_all(self, weight: Weight) -> bool:
        """Nothing mixes, nothing is given up, and nothing is rounded."""
        followed = self.follow(weight)
        if any(self.approximates(site) is not None for site in followed.sites) or not followed.is_whole:
            return False
        return not any(keeper.is_rounded for keeper in self.keep(weight))


@dataclasses.dataclass(frozen=True, eq=False)
class PositionKeeper(AbstractKeeper):
    """The trace of one site under a rule."""

    rule: AbstractPositionRule
    layout: TraceLayout

    def init(self) -> PyTree[Array]:
        return self.rule.init(self.layout)

    def advance(self, value: PyTree[Array], transition: Transition) -> PyTree[Array]:
        return self.rule.advance(self.layout, value, transition.drive(self.layout))

    def advance_window(self, value: PyTree[Array], transitions: Transitions) -> PyTree[Array] | None:
        return self.rule.advance_window(self.layout, value, transitions.window(self.layout))

    def contract(self, value: PyTree[Array], signal: Signal) -> Share | None:
        return self.rule.contract(self.layout, value, signal.of(self.layout))

    @property
    def follows_d(self) -> bool:
        return self.rule.follows_d(self.layout)

    def rows(self, transition: Transition, signal: Signal) -> Inexact[Array, "..."]:
        pairs = zip(signal.of(self.layout), transition.drive(self.layout).response, strict=True)
        terms = [times(g, d) for g, d in pairs if d is not None]
        return sum(terms[1:], terms[0])

    @property
    def work(self) -> int:
        return self.rule.work(self.layout)

    @property
    def missed_at_window_0(self) -> int:
        return self.weight.analysis.past_tails

    @property
    def is_rounded(self) -> bool:
        """Is it kept in fewer bits than the step computes in?"""
        bits = [jnp.finfo(array.dtype).bits for array in self.arrays if jnp.issubdtype(array.dtype, jnp.inexact)]
        return min(bits, default=0) < jnp.finfo(self.layout.dtype).bits


def as_dtype(dtype: DTypeLike | None) -> np.dtype | None:
    """The dtype of a stored trace: a real floating-point one, or None for that of the step."""
    if dtype is None:
        return None
    try:
        known = jnp.dtype(dtype)
    except TypeError:
        raise TypeError(f"`trace_dtype` is {dtype!r}, which is no dtype; use one such as `jnp.bfloat16`.") from None
    if not jnp.issubdtype(known, jnp.floating):
        raise TypeError(f"`trace_dtype` is {known}; it must be a floating-point dtype such as `jnp.bfloat16`.")
    return known


def stored(dtype: DTypeLike | None, layout: TraceLayout) -> np.dtype:
    """In which dtype the arrays of this trace are kept. No complex dtype is smaller than that of the step."""
    is_complex = jnp.issubdtype(layout.dtype, jnp.complexfloating)
    return layout.dtype if dtype is None or is_complex else jnp.dtype(dtype)

"""A rule is a choice of what is kept of an effective weight's past.

The estimator knows a rule by its **keepers** alone. A keeper holds one part of dh/dw~, the influence of all the past of
one effective weight w~ on the state:

    value  <-  init()                                before the first step
    value  <-  advance(value, transition)            J <- (dh'/dh) J + dh'/dw~, as far as the rule keeps it
    g . J   =  contract(value, signal)               a learning signal meets it: a cotangent of w~

and takes a whole window of steps at once where its recursion allows that (`advance_window`). By position, on blocks of
the state, factored, filtered, random: each is a keeper. The rule itself is a frozen configuration; what a keeper keeps
lives outside, in the `ETrace` that the user carries.
"""

import abc
import dataclasses
import functools
import hashlib
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jaxtyping import Array, Inexact, PyTree

from ..._read import Analysis, Cut, Source, Tail, Zeros
from .._head import FactoredShare
from .._status import Stored
from .._transition import Signal, Transition, Transitions
from ..by_position import make_filtered_layouts, make_trace_layouts, TraceLayout
from ..on_blocks import BlockLayout, make_block_layout

Share = Inexact[Array, "..."] | FactoredShare
"""What a keeper adds to the gradient of its effective weight, multiplied out or as factors."""


@dataclasses.dataclass(frozen=True, eq=False)
class AbstractKeeper(abc.ABC):
    """What is kept of one effective weight's past, at one place where the weight enters the step."""

    rule: "AbstractRule"
    """The rule that keeps it."""
    weight: "Weight"
    layout: TraceLayout | BlockLayout
    """Where the weight enters the step. What a step does there is what it asks of a `Transition`."""

    @abc.abstractmethod
    def init(self) -> PyTree[Array]:
        """The value before the first step: zeros."""

    @abc.abstractmethod
    def advance(self, value: PyTree[Array], transition: Transition) -> PyTree[Array]:
        """The value after one more step."""

    @abc.abstractmethod
    def advance_window(self, value: PyTree[Array], transitions: Transitions) -> PyTree[Array] | None:
        """The value after a window of steps, to rounding that of `advance` at each of them.

        None: there is no shorter way. Then the estimator takes the steps one by one, for all such keepers together.
        """

    @abc.abstractmethod
    def contract(self, value: PyTree[Array], signal: Signal) -> Share | None:
        """The cotangent of the effective weight, or its factors; None for none."""

    @property
    @abc.abstractmethod
    def follows_d(self) -> bool:
        """Is `advance` J <- D J + dh'/dw~ with the true D, by position, and `contract` g . J, and nothing else?

        Then learning signals of many steps, carried back by D, meet the value as one. False is always right: each meets
        it by itself.
        """

    @abc.abstractmethod
    def rows(self, transition: Transition, signal: Signal) -> Inexact[Array, "..."]:
        """g . dh/dy, by the rows of the head: times x, what one step alone puts into the value."""

    @property
    @abc.abstractmethod
    def work(self) -> int:
        """Multiply-adds of one step, to advance the value and to contract it."""

    @property
    @abc.abstractmethod
    def missed_at_window_0(self) -> int:
        """The old states, as bits, of which window 0 misses credit: the output takes it past the new states."""

    @property
    def is_missed_at_window_0(self) -> bool:
        """Does window 0 miss credit of the states that it lies in?"""
        return any(self.missed_at_window_0 >> leaf & 1 for leaf in self.layout.followed)

    @functools.cached_property
    def groups(self) -> frozenset[int]:
        """The hidden groups that it lies in; of a filter without a group of its own, those that it stands for."""
        leaves = frozenset(self.layout.own)
        return frozenset(g.index for g in self.weight.analysis.groups if not leaves.isdisjoint(g.leaves))

    @property
    def title(self) -> str:
        """What it is, for error messages."""
        paths = [path for g in sorted(self.groups) for path in self.weight.analysis.groups[g].paths]
        return f"{' and '.join(self.weight.names)} in {paths} by {self.rule}"

    @property
    def meaning(self) -> str:
        """What its numbers are about: how the weight is made of the parameters, and which states it enters where."""
        analysis, layout = self.weight.analysis, self.layout
        filters = analysis.tail(layout.group).filters if isinstance(layout, TraceLayout) else ()
        made = "\n".join([analysis.recipes[self.weight.variable], *map(analysis.map_of, filters)])
        told = hashlib.blake2b(made.encode(), digest_size=8)
        for array in (*layout.place, *(one.reads for one in filters)):
            told.update(array.tobytes())
        return told.hexdigest()

    @property
    def alike(self) -> Hashable:
        """Equal for keepers whose values have the same arrays."""
        return self.rule, self.layout.alike

    @property
    def is_ours(self) -> bool:
        """Is it one of this package, under a rule of this package?"""
        package = __name__.partition(".")[0]
        return all(type(one).__module__.partition(".")[0] == package for one in (self, self.rule))

    @functools.cached_property
    def _like(self) -> PyTree[jax.ShapeDtypeStruct]:
        return jax.eval_shape(self.init)

    @property
    def arrays(self) -> list[jax.ShapeDtypeStruct]:
        """All that it keeps."""
        return jtu.tree_leaves(self._like)

    @property
    def bytes(self) -> int:
        """The memory of all that it keeps."""
        return sum(array.size * array.dtype.itemsize for array in self.arrays)

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """The shapes of the trace itself, without what is counted or noted beside it."""
        value = self._like
        arrays = jtu.tree_leaves(value.e if isinstance(value, Stored) else value)
        return [tuple(array.shape) for array in arrays if jnp.issubdtype(array.dtype, jnp.inexact)]


class Layouts:
    """Where the effective weights of a step can be kept: found once, whatever rules are asked."""

    def __init__(self, analysis: Analysis):
        self.analysis = analysis
        self._blocks: dict[tuple[Source, int | None], BlockLayout] = {}

    @functools.cached_property
    def by_position(self) -> tuple[TraceLayout, ...]:
        """One for every site, in data-flow order."""
        return make_trace_layouts(self.analysis)

    @functools.cached_property
    def _zeros(self) -> Zeros:
        return Zeros(self.analysis.step.program)

    @functools.cached_property
    def sites(self) -> Mapping[int, list[TraceLayout]]:
        """The same, by weight."""
        return _by_weight(self.by_position)

    @functools.cached_property
    def _sources(self) -> Mapping[int, list[Source]]:
        return _by_weight(self.analysis.structure.sources)

    @functools.cached_property
    def filtered(self) -> Mapping[int, list[TraceLayout]]:
        """The same with the filters of their groups, by weight; groups without filters are as they are."""
        found, analysis = make_filtered_layouts(self.analysis), self.analysis
        if not found:
            return self.sites
        held = {n for tail in analysis.filtered.tails for n in tail.group.leaves}
        as_it_was = [site for site in self.by_position if held.isdisjoint(site.leaves)]
        return _by_weight(sorted([*as_it_was, *found], key=lambda layout: layout.number))

    def on_blocks(self, weight: int, steps: int | None) -> tuple[BlockLayout, ...]:
        """One for every source of a weight, on what it reaches in so many steps; for None, in any number."""
        sources = self._sources.get(weight, [])
        for source in sources:
            if (source, steps) not in self._blocks:
                self._blocks[source, steps] = make_block_layout(self.analysis, source, steps, self._zeros)
        return tuple(self._blocks[source, steps] for source in sources)


def _by_weight(places: Iterable[Any]) -> dict[int, list[Any]]:
    parted: dict[int, list[Any]] = {}
    for place in places:
        parted.setdefault(place.weight, []).append(place)
    return parted


@dataclasses.dataclass(frozen=True, eq=False)
class Weight:
    """One effective weight, as a rule sees it: where it enters the step, and what no trace follows."""

    variable: int
    """Which variable of the step it is."""
    sites: tuple[TraceLayout, ...]
    """The layout of a trace for every hidden group that it enters, as far as the rule was chosen for it there."""
    layouts: Layouts

    @property
    def analysis(self) -> Analysis:
        """All that is known about the step from its structure."""
        return self.layouts.analysis

    def blocks(self, steps: int | None) -> tuple[BlockLayout, ...]:
        """The layouts of its influence on all that it reaches in so many steps; for None, in any number."""
        return self.layouts.on_blocks(self.variable, steps)

    @functools.cached_property
    def parameters(self) -> tuple[int, ...]:
        """The numbers of the parameters behind it."""
        bits, count = self.analysis.bits.get(self.variable, 0), len(self.analysis.step.parameters)
        return tuple(p for p in range(count) if bits >> p & 1)

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """Those of the parameters behind it."""
        paths = self.analysis.step.model.inexact_paths
        return tuple(shown(paths[p]) for p in self.parameters)

    @property
    def by_position(self) -> "Followed":
        """The part of the Jacobian that stays in its position."""
        return Followed(self, self.sites, self.analysis.dropped, self.analysis.tails)

    @property
    def filtered(self) -> "Followed":
        """That, and what others make of it by fixed linear maps. Of a weight that several rules share, that alone."""
        if len(self.sites) < len(self.layouts.sites.get(self.variable, [])):
            return self.by_position
        analysis, sites = self.analysis, tuple(self.layouts.filtered.get(self.variable, []))
        return Followed(self, sites, analysis.dropped_but_for_filters, analysis.filtered.every)


@dataclasses.dataclass(frozen=True, eq=False)
class Followed:
    """The part of the Jacobian that traces by position follow."""

    weight: Weight
    sites: tuple[TraceLayout, ...]
    """Where the weight enters it."""
    cuts: Sequence[Sequence[Cut]]
    """By parameter, the credit that is dropped."""
    tails: Sequence[Tail]

    def dropped(self, parameter: int) -> Sequence[Cut]:
        """The credit of one parameter that is dropped."""
        return self.cuts[parameter]

    @property
    def is_exact(self) -> bool:
        """Does it hold all credit that matters?"""
        return not any(map(self.dropped, self.weight.parameters))

    @property
    def is_whole(self) -> bool:
        """Does it hold all that the weight does to any new state, whether the state matters or not?"""
        analysis = self.weight.analysis
        credit = analysis.bits[self.weight.variable]
        for site in self.sites:
            credit |= analysis.step.state_bits(site.followed)
        cuts = [cut for tail in self.tails for cut in tail.cuts]
        return not any(analysis.bits.get(cut.operand, 0) & credit for cut in cuts)


def shown(path: Sequence[Any], whole: str = "the model") -> str:
    """A path as brainscale prints it; a pytree that is one array has none."""
    return str(path) if path else f"<{whole}>"


class AbstractRule(eqx.Module):
    """What is kept of the influence of the past."""

    @abc.abstractmethod
    def keep(self, weight: Weight) -> Sequence[AbstractKeeper]:
        """What is kept of the past of one effective weight; nothing for none."""

    @abc.abstractmethod
    def drops(self, weight: Weight, parameter: int) -> Sequence[Cut]:
        """The credit of one parameter behind the weight that is dropped; nothing if the gradient is exact."""

    @abc.abstractmethod
    def holds_all(self, weight: Weight) -> bool:
        """Do its keepers hold all that the weight does to any new state, now and later, as exactly as the step is?"""

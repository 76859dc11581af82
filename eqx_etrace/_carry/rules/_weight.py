"""Where the effective weights of a step can be kept, and one of them as a rule sees it."""

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..._read import Analysis, Cut, Source, Tail, Zeros
from ..by_position import make_filtered_layouts, make_trace_layouts, TraceLayout
from ..on_blocks import BlockLayout, make_block_layout, make_product_layout, ProductLayout


class Layouts:
    """Where the effective weights of a step can be kept: found once, whatever rules are asked."""

    def __init__(self, analysis: Analysis):
        self.analysis = analysis
        self._products: dict[Source, ProductLayout] = {}
        self._blocks: dict[tuple[Source, int | None, bool], BlockLayout] = {}

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

    def on_blocks(self, weight: int, steps: int | None, in_layer: bool = False) -> tuple[BlockLayout, ...]:
        """One for every source of a weight, on what it reaches in so many steps; for None, in any number.

        `in_layer`: on the states of the layer that the source enters alone.
        """
        sources, analysis = self._sources.get(weight, []), self.analysis
        for source in sources:
            if (source, steps, in_layer) not in self._blocks:
                layer = analysis.layer_of(source) if in_layer else None
                self._blocks[source, steps, in_layer] = make_block_layout(analysis, source, steps, self._zeros, layer)
        return tuple(self._blocks[source, steps, in_layer] for source in sources)

    def products(self, weight: int) -> tuple[ProductLayout, ...]:
        """One for every source of a weight."""
        sources = self._sources.get(weight, [])
        for source in sources:
            if source not in self._products:
                self._products[source] = make_product_layout(self.analysis, source)
        return tuple(self._products[source] for source in sources)


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

    @property
    def products(self) -> tuple[ProductLayout, ...]:
        """Those of its influence as a product."""
        return self.layouts.products(self.variable)

    @property
    def by_layer(self) -> tuple[BlockLayout, ...]:
        """Those of its influence within the layer that it enters."""
        return self.layouts.on_blocks(self.variable, None, in_layer=True)

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

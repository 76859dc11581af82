"""Stage 4: everything that is known about a step from its structure, put together.

A **parameter relation** is one place where one parameter enters one hidden group, such as a recurrent matrix at the
product with the old state.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence

from ._dead_ends import without_dead_ends, without_still_states
from ._effective_weights import Body, find_body, find_fixed
from ._exactness import cut_before_the_output, find_dropped, find_unfollowed, find_zero
from ._filters import Filtered, find_filtered
from ._new_states import find_read_out, ReadOut
from ._recipe import recipe, recipes
from .by_position import (
    Cut,
    Filter,
    find_arrivals,
    find_hidden_groups,
    find_tail,
    HiddenGroup,
    Knowledge,
    Site,
    Tail,
)
from .on_blocks import find_layers, find_structure, PatternTooLargeError, Source, Structure
from .program import union
from .step import check_loops, Path, Step


@dataclasses.dataclass(frozen=True)
class ParamRelation:
    """One place where one parameter enters one hidden group."""

    path: Path
    """The path of the parameter in the model."""
    group: int
    """The index of the hidden group."""
    kind: str
    """`dense`, `convolution` or `elementwise`: the operation at which the parameter meets data."""
    source: str
    """The user's line of that operation."""
    site: int = dataclasses.field(repr=False)
    """The trace that serves it; parameters behind one effective weight share it."""
    parameter: int = dataclasses.field(repr=False)
    """Its number among the parameters."""


@dataclasses.dataclass(frozen=True, eq=False)
class Analysis:
    """Everything known about a step from its structure."""

    step: Step
    bits: Mapping[int, int]
    """What each variable depends on, differentiably: one bit per parameter, then one per hidden state."""
    fixed: frozenset[int]
    body: Body
    known: Knowledge
    groups: tuple[HiddenGroup, ...]
    tails: tuple[Tail, ...]
    sites: tuple[Site, ...]
    """All sites, in data-flow order; a trace is kept for each."""
    relations: tuple[ParamRelation, ...]
    dropped: tuple[tuple[Cut, ...], ...]
    """For each parameter, the credit that a position-diagonal trace drops; empty if it is exact."""
    watched: tuple[int, ...] = ()
    """Constants that the step closes over, and that traces are only good for as long as they stay the same."""

    @functools.cached_property
    def recipes(self) -> Mapping[int, str]:
        """How each effective weight is made of the parameters, by variable."""
        return recipes(self.step, self.fixed)

    def map_of(self, one: Filter) -> str:
        """How the map is made through which a filter is read."""
        return recipe(one.entrance.equation, self.recipes)

    @property
    def structure(self) -> Structure:
        """The pattern of the step's Jacobian; found when a rule needs it.

        **Raises** `PatternTooLargeError` if it cannot be written down.
        """
        structure = self._structure
        if isinstance(structure, PatternTooLargeError):
            raise structure
        return structure

    @functools.cached_property
    def _structure(self) -> Structure | PatternTooLargeError:
        try:
            return find_structure(self.step, self.body)
        except PatternTooLargeError as error:
            return error

    @functools.cached_property
    def layers(self) -> list[frozenset[int]]:
        """For each array of the state, those of its layer: states that feed each other."""
        return find_layers(self.structure, [group.leaves for group in self.groups], len(self.step.states))

    def layer_of(self, source: Source) -> frozenset[int]:
        """The states of the layers that a weight enters, by their positions or, if by none, in whatever way."""
        entered = [tail.group.leaves for tail in self.tails for site in tail.sites if _is_at(site, source)]
        leaves = frozenset().union(*entered) or self.structure.entered_by(source)
        return frozenset().union(*(self.layers[leaf] for leaf in leaves))

    @functools.cached_property
    def filtered(self) -> Filtered:
        """The groups with their filters; found when a rule asks."""
        return find_filtered(self.step, self.known, self.groups, self.tails)

    @functools.cached_property
    def dropped_but_for_filters(self) -> tuple[tuple[Cut, ...], ...]:
        """For each parameter, the credit that a position-diagonal trace with filters drops."""
        if not self.filtered.tails and self.filtered.every == self.tails:
            return self.dropped
        return find_dropped(self.step, self.bits, self.filtered.every)

    def tail(self, number: int) -> Tail:
        """Of a group; beyond these, of a group with filters."""
        return self.tails[number] if number < len(self.tails) else self.filtered.tails[number - len(self.tails)]

    def site(self, number: int) -> Site:
        """Of a group, in data-flow order; beyond these, of the groups with filters, one after the other."""
        return self.sites[number] if number < len(self.sites) else self._filtered_sites[number - len(self.sites)]

    @functools.cached_property
    def _filtered_sites(self) -> list[Site]:
        return [site for tail in self.filtered.tails for site in tail.sites]

    @functools.cached_property
    def read_out(self) -> ReadOut:
        """How the output reads the new state."""
        return find_read_out(self.step, self.fixed, self.body)

    @functools.cached_property
    def past_new(self) -> int:
        """The old states, as bits, from which the output takes something other than through a new state."""
        return union(self.read_out.past_new, self.step.out_inexact)

    @functools.cached_property
    def past_tails(self) -> int:
        """These, and those from which a new state that the output reads takes something over a cut edge."""
        return self.past_new | union(self.read_out.past_new, cut_before_the_output(self.step, self.tails))

    @functools.cached_property
    def zero(self) -> tuple[str | None, ...]:
        """For each parameter, why its gradient is zero whatever the numbers; None if it is not."""
        return find_zero(self.step, self.bits)

    @functools.cached_property
    def unfollowed(self) -> tuple[tuple[Cut, ...], ...]:
        """For each parameter, the credit that no Jacobian follows: calls whose rule is not linear."""
        return find_unfollowed(self.step, self.bits, self.body)


def read_as_written(step: Step) -> Analysis:
    """All that is known of a step as it stands."""
    step, bits = without_still_states(*without_dead_ends(step))
    program = step.program
    check_loops(program, bits, (*step.out_inexact, *step.new_states))
    fixed = find_fixed(step)
    order = {var: i for i, eqn in enumerate(program.equations) for var in eqn.outputs}
    arrivals = find_arrivals(step)
    groups = find_hidden_groups(step, arrivals)
    known = Knowledge(bits, fixed, arrivals, order)
    tails = tuple(find_tail(step, known, group) for group in groups)
    every = [site for tail in tails for site in tail.sites]
    sites = tuple(sorted(every, key=lambda site: (order[site.equation.outputs[0]], site.group)))
    return Analysis(
        step=step,
        bits=bits,
        fixed=fixed,
        body=find_body(step, bits, fixed),
        known=known,
        groups=groups,
        tails=tails,
        sites=sites,
        relations=tuple(_relations(step, bits, sites)),
        dropped=find_dropped(step, bits, tails),
    )


def _is_at(site: Site, source: Source) -> bool:
    return (site.weight, site.output) == (source.weight, source.output)


def _relations(step: Step, bits: Mapping[int, int], sites: Sequence[Site]) -> list[ParamRelation]:
    return [
        ParamRelation(
            path=path,
            group=site.group,
            kind=site.kind,
            source=site.equation.source,
            site=number,
            parameter=p,
        )
        for number, site in enumerate(sites)
        for p, path in enumerate(step.model.inexact_paths)
        if bits[site.weight] >> p & 1
    ]

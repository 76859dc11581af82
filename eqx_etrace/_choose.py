"""The most exact rules that fit into a given memory.

Rules are chosen for *units*: effective weights that share a parameter are chosen for together, because a parameter is
exact only if all of its effective weights are. Every unit begins with nothing. First, units become exact by the
cheapest rule that makes them so, the smallest first, as long as they fit; what is left of the memory then buys the
other units better rules, one rank after the other.
"""

import dataclasses
import operator
from collections.abc import Sequence
from typing import Any

from ._account import all_rows
from ._analysis import Analysis, ParamRelation, Path, PatternTooLargeError
from ._assign import assign, Assignment, Rule
from ._graph import ETraceGraph
from ._rule import AbstractRule, DRTRL, NoTrace, PPProp, RTRL, SnAp

Key = tuple[Path, int, int]


@dataclasses.dataclass(frozen=True)
class ChosenRule:
    """A function from a `ParamRelation` to the rule that was chosen for it; `str()` of it says what was chosen."""

    choices: tuple[tuple[Key, AbstractRule], ...]

    def __call__(self, relation: ParamRelation) -> AbstractRule:
        """The rule of one relation."""
        found = dict(self.choices).get(_key(relation))
        if found is None:
            raise ValueError(
                f"These rules were chosen for another graph: it has no relation of {relation.path} with hidden group "
                f"{relation.group}. Choose anew with `choose_rule(graph, memory=...)` for the graph of this step."
            )
        return found

    def __str__(self) -> str:
        return "\n".join(f"{path} in group {group}: {rule}" for (path, group, _), rule in self.choices)


@dataclasses.dataclass(frozen=True)
class _Offer:
    """What one rule asks of one unit, and gives it."""

    rule: AbstractRule
    bytes: int
    is_exact: bool


def choose_rule(
    graph: ETraceGraph, *, memory: int, among: Sequence[AbstractRule] | None = None
) -> AbstractRule | ChosenRule:
    """The most exact rules whose traces fit into a given memory, by relation.

        rule = choose_rule(online.graph(model, state, x, y), memory=100_000_000)
        online = etrace_value_and_grad(loss_step, rule)

    Only memory is weighed: `work` and `passes` of the report of what is chosen say what it costs in time, for a wide
    recurrent network hundreds of times more than `DRTRL()`. A parameter that is not exact is not measured.

    One rule for everything if it fits and is exact. Otherwise every parameter first gets the rule of `among` that takes
    the least, as far as memory goes; then as many as possible are made exact, the cheapest first; then the rest gets
    the first rule of `among` that still fits. What not even the least fits for gets `NoTrace()`. A parameter without a
    relation, such as the first layer of an encoder, has a trace only under a rule for everything; here it keeps the
    window's gradient.

    **Arguments**

    - `graph`: of the step, as `compile_graph` or the `.graph` of a transform gives it.
    - `memory`: the most bytes that all traces together may take.
    - `among`: the rules to choose among, the most exact first. By default `RTRL`, `SnAp(2)`, `DRTRL()` and
      `PPProp(0.95)`.

    **Returns** a rule, or a function from a `ParamRelation` to a rule; both are what the transforms take.

    **Raises** `ValueError` for a memory that is negative, `TypeError` for one that is no integer, for what is no graph,
    and for an `among` that holds no rules.
    """
    most = _check_memory(memory)
    if not isinstance(graph, ETraceGraph):
        raise TypeError(
            f"The first argument is `{type(graph).__name__}`; it must be a graph: `compile_graph(step, model, state, "
            "*inputs)`, or `.graph(...)` of a transform."
        )
    ranked = (RTRL(most), SnAp(2, most), DRTRL(), PPProp(0.95)) if among is None else _check_ranked(among)
    analysis = graph._analysis
    uniform = [(_total(found), rule) for rule in ranked if (found := _assigned(analysis, rule)) and _all_exact(found)]
    if uniform and min(size for size, _ in uniform) <= most:
        return min(uniform, key=operator.itemgetter(0))[1]
    units = _units(analysis)
    chosen = _fill(_offers(analysis, ranked, units), most)
    rule_of = {w: offer.rule for unit, offer in zip(units, chosen, strict=True) for w in unit}
    return ChosenRule(tuple((_key(r), rule_of[analysis.sites[r.site].weight]) for r in analysis.relations))


def _fill(offers: Sequence[Sequence[_Offer]], most: int) -> list[_Offer]:
    """One offer for every unit, of so many bytes together; the offers of a unit are the most exact first."""
    chosen = [_Offer(NoTrace(), 0, False)] * len(offers)

    def try_all(wanted: list[tuple[int, _Offer]]) -> None:
        for u, offer in sorted(wanted, key=lambda one: (one[1].bytes, one[0])):
            others = sum(held.bytes for i, held in enumerate(chosen) if i != u)
            if not chosen[u].is_exact and others + offer.bytes <= most:
                chosen[u] = offer

    try_all([(u, min(mine, key=lambda offer: offer.bytes)) for u, mine in enumerate(offers) if mine])
    try_all([(u, offer) for u, mine in enumerate(offers) for offer in mine if offer.is_exact])
    for rank in reversed(range(max(map(len, offers), default=0))):
        try_all([(u, mine[rank]) for u, mine in enumerate(offers)])
    return chosen


def _check_memory(memory: Any) -> int:
    if isinstance(memory, bool) or not hasattr(memory, "__index__"):
        raise TypeError(f"`memory` is {memory!r}; it must be an integer, a number of bytes.")
    most = operator.index(memory)
    if most < 0:
        raise ValueError(f"`memory` is {most}; it is a number of bytes and must not be negative.")
    return most


def _check_ranked(among: Sequence[AbstractRule]) -> tuple[AbstractRule, ...]:
    ranked = tuple(among) if isinstance(among, Sequence) else ()
    if not ranked or not all(isinstance(rule, AbstractRule) for rule in ranked):
        raise TypeError(
            f"`among` is {among!r}; it must be a list of rules such as `[RTRL(), DRTRL()]`, the most exact first."
        )
    return ranked


def _key(relation: ParamRelation) -> Key:
    return relation.path, relation.group, relation.site


def _assigned(analysis: Analysis, rule: Rule) -> Assignment | None:
    """None where the structure is too large to be written down."""
    try:
        found = assign(analysis, rule)
        return found if found.influences is not None else None
    except PatternTooLargeError:
        return None


def _total(assignment: Assignment, kept) -> int:
    return sum(row.trace_bytes for row in all_rows(assignment, kept))


def _all_exact(assignment: Assignment) -> bool:
    return all(row.exact for row in all_rows(assignment))


def _units(analysis: Analysis) -> list[frozenset[int]]:
    """Effective weights with relations, those that share a parameter together."""
    units: list[tuple[frozenset[int], int]] = []
    parameters = (1 << len(analysis.step.parameters)) - 1
    for weight in dict.fromkeys(site.weight for site in analysis.sites):
        mine, bits = frozenset([weight]), analysis.bits[weight] & parameters
        for other in [unit for unit in units if unit[1] & bits]:
            units.remove(other)
            mine, bits = mine | other[0], bits | other[1]
        units.append((mine, bits))
    return [unit for unit, _ in units]


def _offers(analysis: Analysis, ranked: Sequence[AbstractRule], units: Sequence[frozenset[int]]) -> list[list[_Offer]]:
    """For every unit, what each rule offers, by relation."""
    offers: list[list[_Offer]] = [[] for _ in units]
    for rule in ranked:
        found = _assigned(analysis, lambda _, rule=rule: rule)
        if found is None:
            continue
        size: dict[Path, int] = {}
        inexact = set()
        for row in all_rows(found):
            size[row.path] = size.get(row.path, 0) + row.trace_bytes
            inexact |= set() if row.exact else {row.path}
        for unit, mine in zip(units, offers, strict=True):
            paths = {r.path for r in analysis.relations if analysis.sites[r.site].weight in unit}
            mine.append(_Offer(rule, sum(size[path] for path in paths), not paths & inexact))
    return offers

"""The most exact rules that fit into a given memory.

Rules are chosen for *units*: effective weights that share a parameter are chosen for together, because a parameter is
exact only if all of its effective weights are. What is made as large as can be is the number of *weights* (scalar
parameters) whose gradient is exact:

    max  sum_u exact[u] weights[u]      so that      sum_u bytes[u] <= memory ,

where bytes[u] is that of the cheapest rule that makes u exact, or of the cheapest rule of all: a knapsack. The best
choice is found by keeping, unit by unit, the choices that no other beats. Where these become too many, it is the most
weights per byte first, or the one unit with the most weights if that is better. What is left of the memory then buys
the other units better rules, one rank after the other.
"""

import dataclasses
import math
import operator
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from .._carry import AbstractRule, DRTRL, NoTrace, PPProp, RTRL, shown, SnAp
from .._read import Analysis, ParamRelation, Path, PatternTooLargeError
from .._spend import assign, RuleOrChoice
from ._cost import all_rows, Ledger, Row
from ._graph import ETraceGraph

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
                f"These rules were chosen for another graph: it has no relation of {shown(relation.path)} with hidden "
                f"group {relation.group}. Choose anew with `choose_rule(graph, memory=...)` for the graph of this step."
            )
        return found

    def __str__(self) -> str:
        return "\n".join(f"{shown(path)} in group {group}: {rule}" for (path, group, _), rule in self.choices)


@dataclasses.dataclass(frozen=True)
class _Offer:
    """What one rule asks of one unit, and gives it."""

    rule: AbstractRule
    bytes: int
    is_exact: bool


@dataclasses.dataclass(frozen=True)
class _Unit:
    """Effective weights that are chosen for together."""

    weights: frozenset[int]
    size: int
    """How many scalar parameters are behind them."""
    offers: tuple[_Offer, ...]
    """By rule, the most exact first."""


def choose_rule(
    graph: ETraceGraph, *, memory: int, among: Sequence[AbstractRule] | None = None
) -> AbstractRule | ChosenRule:
    """The most exact rules whose traces fit into a given memory, by relation.

        rule = choose_rule(online.graph(model, state, x, y), memory=100_000_000)
        online = etrace_value_and_grad(loss_step, rule)

    Only memory is weighed: `work` and `passes` of the report of what is chosen say what it costs in time, for a wide
    recurrent network hundreds of times more than `DRTRL()`. A parameter that is not exact is not measured.

    One rule for everything if it fits and is exact. Otherwise as many *weights* (scalars, not arrays) as possible are
    made exact, while every other parameter keeps at least the trace that takes the least; then the rest gets the first
    rule of `among` that still fits. So more memory never makes fewer weights exact. (Of dozens of parameters that are
    all unlike, no choice may be proven the best; then it has at least half of the weights that one could make exact.)
    Where not even the traces that take the least fit together, the smallest of them are kept, and the others get
    `NoTrace()`. A parameter without a relation, such as the first layer of an encoder, has a trace only under a rule
    for everything; here it keeps the window's gradient.

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
    analysis, ledger = graph._analysis, graph._ledger
    uniform = [(_rows(ledger, rule), rule) for rule in ranked]
    exact = [(_total(rows), i) for i, (rows, _) in enumerate(uniform) if rows and all(row.exact for row in rows)]
    if exact and min(exact)[0] <= most:
        return uniform[min(exact)[1]][1]
    units = _units(analysis, ledger, ranked)
    chosen = _fill(units, most)
    rule_of = {w: offer.rule for unit, offer in zip(units, chosen, strict=True) for w in unit.weights}
    return ChosenRule(tuple((_key(r), rule_of[analysis.sites[r.site].weight]) for r in analysis.relations))


_NOTHING = _Offer(NoTrace(), 0, False)
_MOST_CHOICES = 2**12
"""So many choices are looked at; layers that are alike have few."""


def _fill(units: Sequence[_Unit], most: int) -> list[_Offer]:
    """One offer for every unit, of so many bytes together."""
    least = [min(unit.offers, key=_bytes, default=_NOTHING) for unit in units]
    if sum(map(_bytes, least)) > most:
        return _as_many(least, most)
    exact = [min((o for o in unit.offers if o.is_exact), key=_bytes, default=None) for unit in units]
    chosen = list(least)
    for u in _most_weights(units, least, exact, most - sum(map(_bytes, least))):
        chosen[u] = exact[u] or least[u]
    left = most - sum(map(_bytes, chosen))
    for rank in range(max((len(unit.offers) for unit in units), default=0)):
        for u, unit in sorted(enumerate(units), key=lambda one: (one[1].offers[rank].bytes, one[0])):
            offer, held = unit.offers[rank], chosen[u]
            is_better = not held.is_exact and rank < unit.offers.index(held)
            if is_better and offer.bytes - held.bytes <= left:
                chosen[u], left = offer, left - offer.bytes + held.bytes
    return chosen


def _bytes(offer: _Offer) -> int:
    return offer.bytes


def _as_many(least: Sequence[_Offer], most: int) -> list[_Offer]:
    """The smallest first, as many as fit."""
    chosen = [_NOTHING] * len(least)
    for u in sorted(range(len(least)), key=lambda u: (least[u].bytes, u)):
        if least[u].bytes <= most:
            chosen[u], most = least[u], most - least[u].bytes
    return chosen


def _most_weights(
    units: Sequence[_Unit], least: Sequence[_Offer], exact: Sequence[_Offer | None], left: int
) -> Sequence[int]:
    """Which units to make exact, so that they have as many weights as can be."""
    price = {u: offer.bytes - least[u].bytes for u, offer in enumerate(exact) if offer is not None}
    paid = [u for u in price if 0 < price[u] <= left]
    return [*(u for u in price if price[u] <= 0), *_best(units, price, paid, left)]


def _best(units: Sequence[_Unit], price: Mapping[int, int], paid: Sequence[int], left: int) -> Sequence[int]:
    """The choices that no other beats in both, what they cost and how many weights they have; of these the last."""
    choices: list[tuple[int, int, tuple[int, ...]]] = [(0, 0, ())]
    for u in paid:
        more = [(cost + price[u], size + units[u].size, (*which, u)) for cost, size, which in choices]
        ordered = sorted([*choices, *more], key=lambda choice: (choice[0], -choice[1]))
        choices = []
        for choice in ordered:
            if choice[0] <= left and (not choices or choice[1] > choices[-1][1]):
                choices.append(choice)
        if len(choices) > _MOST_CHOICES:
            return _greedy(units, price, paid, left)
    return choices[-1][2]


def _greedy(units: Sequence[_Unit], price: Mapping[int, int], paid: Sequence[int], left: int) -> Sequence[int]:
    """By weights per byte, up to the first that does not fit, or the largest alone: at least half of the best."""
    first, spent = [], 0
    for u in sorted(paid, key=lambda u: (-Fraction(units[u].size, price[u]), u)):
        spent += price[u]
        if spent > left:
            break
        first.append(u)
    largest = max(paid, key=lambda u: (units[u].size, -u))
    return first if sum(units[u].size for u in first) >= units[largest].size else [largest]


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


def _rows(ledger: Ledger, rule: RuleOrChoice) -> tuple[Row, ...]:
    """Nothing where the structure is too large to be written down."""
    try:
        return all_rows(assign(ledger.layouts, rule), ledger)
    except PatternTooLargeError:
        return ()


def _total(rows: Sequence[Row]) -> int:
    return sum(row.trace_bytes for row in rows)


def _units(analysis: Analysis, ledger: Ledger, ranked: Sequence[AbstractRule]) -> list[_Unit]:
    """Effective weights with relations, those that share a parameter together, and what each rule offers them."""
    paths = analysis.step.model.inexact_paths
    sizes = [math.prod(analysis.step.program.shape(var)) for var in analysis.step.parameters]
    offered = [(rule, rows) for rule in ranked if (rows := _rows(ledger, lambda _, rule=rule: rule))]
    units = []
    for weights, bits in _connected(analysis):
        numbers = [p for p in range(len(paths)) if bits >> p & 1]
        mine = {paths[p] for p in numbers}
        offers = [_offer(rule, [row for row in rows if row.path in mine]) for rule, rows in offered]
        units.append(_Unit(weights, sum(sizes[p] for p in numbers), tuple(offers)))
    return units


def _offer(rule: AbstractRule, rows: Sequence[Row]) -> _Offer:
    return _Offer(rule, _total(rows), all(row.exact for row in rows))


def _connected(analysis: Analysis) -> list[tuple[frozenset[int], int]]:
    """Effective weights, and the parameters behind them as bits."""
    units: list[tuple[frozenset[int], int]] = []
    parameters = (1 << len(analysis.step.parameters)) - 1
    for weight in dict.fromkeys(site.weight for site in analysis.sites):
        mine, bits = frozenset([weight]), analysis.bits[weight] & parameters
        for other in [unit for unit in units if unit[1] & bits]:
            units.remove(other)
            mine, bits = mine | other[0], bits | other[1]
        units.append((mine, bits))
    return units

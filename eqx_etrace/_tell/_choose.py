"""The most exact rules that fit into a given memory.

Rules are chosen for *units*: effective weights that share a parameter are chosen for together, because a parameter is
exact only if all of its effective weights are. What is made as large as can be is the number of *weights* (scalar
parameters) whose gradient is exact (`_knapsack`).
"""

import dataclasses
import math
from collections.abc import Collection, Sequence

from .._carry import AbstractRule, as_bytes, DRTRL, OSTL, PPProp, RTRL, shown, SnAp
from .._read import Analysis, ParamRelation, Path, PatternTooLargeError
from .._spend import assign, RuleOrChoice
from ._cost import all_rows, Ledger, Row
from ._graph import ETraceGraph
from ._knapsack import fill, Offer, Unit

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


def choose_rule(
    graph: ETraceGraph, *, memory: int, among: Sequence[AbstractRule] | None = None
) -> AbstractRule | ChosenRule:
    """The most exact rules whose traces fit into a given memory, by relation.

        rule = choose_rule(online.graph(model, state, x, y), memory=100_000_000)
        online = etrace_value_and_grad(loss_step, rule)

    Only memory is weighed: `work` and `passes` of the report of what is chosen say what it costs in time, for a wide
    recurrent network hundreds of times more than `DRTRL()` with a call per step, and tens of times with `scan`. A
    parameter that is not exact is not measured.

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
    - `among`: the rules to choose among, the most exact first. By default `RTRL`, `SnAp(2)`, `OSTL`,
      `DRTRL()` with and without filters, and `PPProp(0.95)`.

    **Returns** a rule, or a function from a `ParamRelation` to a rule; both are what the transforms take.

    **Raises** `ValueError` for a memory that is negative, `TypeError` for one that is no integer, for what is no graph,
    and for an `among` that holds no rules.
    """
    most = as_bytes("memory", memory)
    if not isinstance(graph, ETraceGraph):
        raise TypeError(
            f"The first argument is `{type(graph).__name__}`; it must be a graph: `compile_graph(step, model, state, "
            "*inputs)`, or `.graph(...)` of a transform."
        )
    usual = (RTRL(most), SnAp(2, most), OSTL(most), DRTRL(), DRTRL(filters=False), PPProp(0.95))
    ranked = usual if among is None else _check_ranked(among)
    analysis, ledger = graph._analysis, graph._ledger
    whole = [_offer(rule, rows) for rule in ranked if (rows := _rows(ledger, rule))]
    fitting = [offer for offer in whole if offer.is_exact and offer.bytes <= most]
    if fitting:
        return min(fitting, key=lambda offer: offer.bytes).rule
    units = _units(analysis, ledger, ranked)
    rule_of: dict[int, AbstractRule] = {}
    for unit, offer in zip(units, fill(units, most), strict=True):
        rule_of |= dict.fromkeys(unit.weights, offer.rule)
    return ChosenRule(tuple((_key(r), rule_of[analysis.sites[r.site].weight]) for r in analysis.relations))


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


def _units(analysis: Analysis, ledger: Ledger, ranked: Sequence[AbstractRule]) -> list[Unit]:
    """Effective weights with relations, those that share a parameter together, and what each rule offers them."""
    step, units = analysis.step, []
    offered = [(rule, rows) for rule in ranked if (rows := _rows(ledger, lambda _, rule=rule: rule))]
    for weights, bits in _connected(analysis):
        numbers = [p for p in range(len(step.parameters)) if bits >> p & 1]
        paths = {step.model.inexact_paths[p] for p in numbers}
        size = sum(math.prod(step.program.shape(step.parameters[p])) for p in numbers)
        units.append(Unit(weights, size, tuple(_offer(rule, _of(rows, paths)) for rule, rows in offered)))
    return units


def _of(rows: Sequence[Row], paths: Collection[Path]) -> list[Row]:
    """Those of the parameters with these paths."""
    return [row for row in rows if row.path in paths]


def _offer(rule: AbstractRule, rows: Sequence[Row]) -> Offer:
    """What a rule asks of some parameters, and gives them."""
    return Offer(rule, sum(row.trace_bytes for row in rows), all(row.exact for row in rows))


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

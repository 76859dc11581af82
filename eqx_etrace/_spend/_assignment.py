"""Which rule serves what: from a user's rule to traces by position and influences on blocks."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

from .._carry import (
    AbstractBlockRule,
    AbstractPositionRule,
    AbstractRule,
    DRTRL,
    Influence,
    make_influence,
    NoTrace,
    RTRL,
)
from .._read import Analysis, ParamRelation, Path, Zeros

_SMALLER = "`SnAp(1)`, "
_KINDS = (AbstractPositionRule, AbstractBlockRule)
Rule = AbstractRule | Callable[[ParamRelation], AbstractRule]


@dataclasses.dataclass(frozen=True, eq=False)
class Assignment:
    """The rule of every site, and of every effective weight that has influences on blocks instead."""

    analysis: Analysis
    sites: tuple[AbstractPositionRule, ...]
    """By site; `NoTrace` where the weight has influences."""
    blocks: Mapping[int, AbstractBlockRule]
    """By effective weight."""

    @functools.cached_property
    def influences(self) -> tuple[Influence, ...]:
        """Of every source of the weights that have a block rule."""
        if not self.blocks:
            return ()
        zeros = Zeros(self.analysis.step.program)
        return tuple(
            make_influence(self.analysis, source, self.blocks[source.weight].steps, zeros.of(source.weight))
            for source in self.analysis.structure.sources
            if source.weight in self.blocks
        )

    def check_limits(self) -> None:
        """Do the influences fit within the limits of their rules?"""
        for rule in dict.fromkeys(self.blocks.values()):
            mine = [influence for influence in self.influences if self.blocks[influence.source.weight] == rule]
            needed = sum(influence.bytes for influence in mine)
            if needed <= rule.most_bytes:
                continue
            largest = max(mine, key=lambda influence: influence.bytes)
            names, scalars = " and ".join(self.names(largest.source.weight)), largest.shape[1]
            raise TraceTooLargeError(
                f"{rule} needs {needed:,} bytes for its traces, more than its limit of {rule.most_bytes:,}. "
                f"The largest is that of {names}, {largest.shape}: each of its elements influences {scalars} scalars "
                "of the state.",
                f"Raise the limit (`{_with_limit(rule, needed)}`), or use {_SMALLER if rule.steps != 1 else ''}"
                "`DRTRL()` or `PPProp(decay)`, which approximate; `ETraceGraph.report` gives the memory of each.",
            )

    def names(self, weight: int) -> list[str]:
        """The parameters behind an effective weight."""
        step, bits = self.analysis.step, self.analysis.bits
        return [shown(path) for p, path in enumerate(step.model.inexact_paths) if bits.get(weight, 0) >> p & 1]


def shown(path: Path, whole: str = "the model") -> str:
    """A path as brainscale prints it; a pytree that is one array has none."""
    return str(path) if path else f"<{whole}>"


class TraceTooLargeError(ValueError):
    """The traces of a rule take more than its limit: what they take, and what to do."""

    def __str__(self) -> str:
        return " ".join(map(str, self.args))


def _with_limit(rule: AbstractBlockRule, limit: int) -> str:
    steps = "" if rule.steps is None else f"{rule.steps}, "
    return f"{type(rule).__name__}({steps}limit={limit})"


def check_rule(rule: Any) -> Any:
    """A rule, or a function that gives one; a rule's class is the mistake that everyone makes once."""
    if isinstance(rule, type) or not (isinstance(rule, _KINDS) or callable(rule)):
        advice = f" Make one: `{rule.__name__}(...)`." if isinstance(rule, type) else ""
        raise TypeError(
            "`rule` must be a rule such as `DRTRL()`, or a function from a `ParamRelation` to a rule; "
            f"found {rule!r}.{advice}"
        )
    return rule


def assign(analysis: Analysis, rule: Rule) -> Assignment:
    """Give every site and every weight its rule."""
    chosen = _by_site(analysis, rule)
    blocks: dict[int, AbstractBlockRule] = {}
    if isinstance(rule, AbstractBlockRule):
        blocks = dict.fromkeys(analysis.body.weights, rule)
    for site, found in zip(analysis.sites, chosen, strict=True):
        if isinstance(found, AbstractBlockRule):
            blocks[site.weight] = found
    _check_whole_weights(analysis, chosen, blocks)
    simple = {w for w, found in blocks.items() if isinstance(found, RTRL) and _is_exact_by_position(analysis, w)}
    sites = tuple(
        found if isinstance(found, AbstractPositionRule) else (DRTRL() if site.weight in simple else NoTrace())
        for site, found in zip(analysis.sites, chosen, strict=True)
    )
    return Assignment(analysis, sites, {w: found for w, found in blocks.items() if w not in simple})


def _is_exact_by_position(analysis: Analysis, weight: int) -> bool:
    return not any(cuts for p, cuts in enumerate(analysis.dropped) if analysis.bits.get(weight, 0) >> p & 1)


def _check_whole_weights(
    analysis: Analysis, chosen: tuple[AbstractRule, ...], blocks: Mapping[int, AbstractBlockRule]
) -> None:
    """An influence holds all that a weight does, whatever the group."""
    for site, found in zip(analysis.sites, chosen, strict=True):
        if site.weight in blocks and blocks[site.weight] != found:
            names = [shown(r.path) for r in analysis.relations if analysis.sites[r.site].weight == site.weight]
            raise ValueError(
                f"The rule function returned {blocks[site.weight]} and {found} for relations of one weight "
                f"({', '.join(sorted(set(names)))}). {type(blocks[site.weight]).__name__} keeps all that a weight "
                "influences, in every group; return it for all of them."
            )


def _by_site(analysis: Analysis, rule: Rule) -> tuple[AbstractRule, ...]:
    if isinstance(rule, AbstractRule):
        return (rule,) * len(analysis.sites)
    chosen: list[AbstractRule | None] = [None] * len(analysis.sites)
    for relation in analysis.relations:
        found = rule(relation)
        if not isinstance(found, _KINDS):
            raise TypeError(
                f"The rule function returned {found!r} for {shown(relation.path)}; it must return a rule such as "
                "`DRTRL()`."
            )
        if chosen[relation.site] not in (None, found):
            raise ValueError(
                f"{shown(relation.path)} shares its effective weight, and so its trace, with another parameter, but "
                f"the rule function returned {chosen[relation.site]} for one, {found} for the other. Return one rule "
                "for both."
            )
        chosen[relation.site] = found
    return tuple(found for found in chosen if found is not None)

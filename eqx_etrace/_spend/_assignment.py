"""Which rule serves what: from the rule that a user gives to the keepers of every effective weight."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .._carry import (
    AbstractKeeper,
    AbstractRule,
    check_limits,
    Layouts,
    shown,
    TraceLayout,
    TraceTooLargeError,
    Weight,
)
from .._given import in_words
from .._read import Analysis, ParamRelation

RuleOrChoice = AbstractRule | Callable[[ParamRelation], AbstractRule]
"""One rule for everything, or a function that chooses one for each relation."""


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """One effective weight, at the sites that one rule was chosen for, and what that rule keeps of it."""

    weight: Weight
    rule: AbstractRule

    @functools.cached_property
    def keepers(self) -> tuple[AbstractKeeper, ...]:
        """In the order of the sites, or of the sources."""
        kept = self.rule.keep(self.weight)
        if not isinstance(kept, Sequence) or not all(isinstance(keeper, AbstractKeeper) for keeper in kept):
            raise TypeError(
                f"`{type(self.rule).__name__}.keep` must return a list of keepers, empty for none; for the weight of "
                f"{' and '.join(self.weight.names)} it returned {kept!r}."
            )
        return tuple(kept)

    @property
    def titles_of_nothing(self) -> tuple[str, ...]:
        """Of a rule that keeps nothing, where it keeps that."""
        groups, names = self.weight.analysis.groups, " and ".join(self.weight.names)
        sites = () if self.keepers else self.weight.sites
        return tuple(f"{names} in {list(groups[site.group].paths)} by {self.rule}" for site in sites)


@dataclasses.dataclass(frozen=True, eq=False)
class Assignment:
    """Every effective weight that has a rule, with what is kept of it."""

    layouts: Layouts
    parts: tuple[Part, ...]

    @property
    def analysis(self) -> Analysis:
        """All that is known about the step from its structure."""
        return self.layouts.analysis

    @functools.cached_property
    def keepers(self) -> tuple[AbstractKeeper, ...]:
        """All of them in data-flow order: by site, then by source."""
        every = [keeper for part in self.parts for keeper in part.keepers]
        return tuple(sorted(every, key=lambda k: (not isinstance(k.layout, TraceLayout), k.layout.number)))

    @property
    def titles_of_nothing(self) -> list[str]:
        """Where rules that keep nothing were chosen: they, too, tell one assignment from another.

        Nothing is in their order. That of the weights changes as a weakly typed array is replaced by a strong one.
        """
        return sorted(title for part in self.parts for title in part.titles_of_nothing)

    def parts_of(self, weight: int) -> Sequence[Part]:
        """The parts of one effective weight; of one without a rule none."""
        return self.by_weight.get(weight, [])

    @functools.cached_property
    def by_weight(self) -> Mapping[int, Sequence[Part]]:
        """The parts of every effective weight that has a rule."""
        parts: dict[int, list[Part]] = {}
        for part in self.parts:
            parts.setdefault(part.weight.variable, []).append(part)
        return parts

    def holds_all(self, weight: int) -> bool:
        """Does what is kept of a weight hold all that it does to any new state, now and later?"""
        parts = self.parts_of(weight)
        if not parts:
            return Weight(weight, (), self.layouts).by_position.is_whole
        return all(part.rule.holds_all(part.weight) for part in parts)

    @functools.cached_property
    def refusal(self) -> str | None:
        """Why `init` would refuse the rules, if it would."""
        try:
            check_limits(self.keepers)
        except TraceTooLargeError as error:
            return str(error)
        return None


def _is_among(rule: AbstractRule, rules: Sequence[AbstractRule]) -> bool:
    """By identity first: a rule may hold traced numbers, which cannot be compared."""
    return any(rule is other for other in rules) or rule in rules


def check_step(step: Any, order: str = "`(step, rule)`") -> Any:
    """A function, in its place before the rule, or before what else stands in `order`."""
    if isinstance(step, AbstractRule) or not callable(step):
        found = str(step) if isinstance(step, AbstractRule) else in_words(step)
        raise TypeError(f"The first argument must be the step, a function; found {found}. The order is {order}.")
    return step


def check_rule(rule: Any) -> Any:
    """A rule, or a function that gives one; a rule's class is the mistake that everyone makes once."""
    if isinstance(rule, type) or not (isinstance(rule, AbstractRule) or callable(rule)):
        advice = f" Make one: `{rule.__name__}(...)`." if isinstance(rule, type) else ""
        if isinstance(rule, Mapping):
            advice = " A function looks up in it: `lambda relation: rules[relation.path]`."
        raise TypeError(
            "`rule` must be a rule such as `DRTRL()`, or a function from a `ParamRelation` to a rule; "
            f"found {rule!r}.{advice}"
        )
    return rule


def assign(layouts: Layouts, rule: RuleOrChoice) -> Assignment:
    """Give every effective weight what the rule keeps of it."""
    if isinstance(rule, AbstractRule):
        weights = layouts.analysis.body.weights
        whole = [Weight(w, tuple(layouts.sites.get(w, [])), layouts) for w in weights]
        return Assignment(layouts, tuple(Part(weight, rule) for weight in whole))
    chosen = _by_site(layouts.analysis, rule)
    parts: list[Part] = []
    for weight, sites in layouts.sites.items():
        by_rule: list[tuple[AbstractRule, list[TraceLayout]]] = []
        for site in sites:
            rule = chosen[site.number]
            mine = next((served for other, served in by_rule if _is_among(rule, [other])), None)
            if mine is None:
                by_rule.append((rule, [site]))
            else:
                mine.append(site)
        parts += [Part(Weight(weight, tuple(served), layouts), rule) for rule, served in by_rule]
    assignment = Assignment(layouts, tuple(parts))
    _check_shared_weights(assignment)
    return assignment


def _check_shared_weights(assignment: Assignment) -> None:
    """An influence on blocks holds all that a weight does, whatever the group: beside another trace it counts twice."""
    for parts in assignment.by_weight.values():
        whole = next(filter(_is_on_blocks, parts), None)
        other = next((part for part in parts if part is not whole), None)
        if whole is not None and other is not None:
            raise ValueError(
                f"The rule function returned {whole.rule} and {other.rule} for relations of one weight "
                f"({', '.join(sorted(whole.weight.names))}). {type(whole.rule).__name__} keeps all that a weight "
                "influences, in every group; return it for all of them."
            )


def _is_on_blocks(part: Part) -> bool:
    return not all(isinstance(keeper.layout, TraceLayout) for keeper in part.keepers)


def _by_site(analysis: Analysis, choose: Callable[[ParamRelation], AbstractRule]) -> list[AbstractRule]:
    """The rule of every site: what the function says of the relations that share it."""
    chosen: dict[int, AbstractRule] = {}
    for relation in analysis.relations:
        try:
            rule = choose(relation)
        except Exception as error:
            named = dict.fromkeys(relation.path for relation in analysis.relations)
            paths = ", ".join(map(str, named))
            error.add_note(
                f"This happened while the rule function was asked for the rule of {shown(relation.path)}. It is "
                f"called with one `ParamRelation`, whose `relation.path` is one of {paths}; it returns a rule for each."
            )
            raise
        if not isinstance(rule, AbstractRule):
            raise TypeError(
                f"The rule function returned {rule!r} for {shown(relation.path)}; it must return a rule such as "
                "`DRTRL()`, and `NoTrace()` where there is to be none."
            )
        before = chosen.setdefault(relation.site, rule)
        if not _is_among(rule, [before]):
            raise ValueError(
                f"{shown(relation.path)} shares its effective weight, and so its trace, with another parameter, but "
                f"the rule function returned {before} for one, {rule} for the other. Return one rule for both."
            )
    return [chosen[number] for number in range(len(analysis.sites))]

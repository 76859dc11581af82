"""What a rule gives each parameter, and what it costs: found from the structure, before anything runs."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu

from .._carry import AbstractPositionRule, AbstractRule, Influence, make_traces, NoTrace, Stored
from .._read import Analysis, Cut, ParamRelation, Path
from .._spend import assign, Assignment, TraceTooLargeError


@dataclasses.dataclass(frozen=True)
class Row:
    """One parameter in one hidden group, or one parameter without a trace."""

    path: Path
    group: int | None
    """The hidden group; None without a trace."""
    exact: bool
    """Is the parameter's gradient equal to BPTT, in exact arithmetic and at any window from 1?"""
    exact_at_window_0: bool
    """And at window 0, where the learning signal is the derivative by the new states that its traces are of?"""
    zero: str | None
    """Why its gradient is zero whatever the numbers, and so that of BPTT, too; None if it is not."""
    dropped: tuple[Cut, ...]
    """The credit that the rule drops for this parameter: the operation and the user's line."""
    trace_shape: tuple[tuple[int, ...], ...]
    """The shape of each array of its trace. For D-RTRL, one per state: (weights side by side, lanes, units, features).
    For influences: (blocks, scalars of a block, rows, features)."""
    trace_bytes: int
    """The memory of its trace, 0 where it shares the trace of an earlier row."""
    work: int
    """Multiply-adds of one step on its trace, by which it advances and is contracted; counted where the memory is."""
    rule: str


class Kept:
    """The traces by position of a step, and the arrays that rules keep of them: found once, whatever is asked."""

    def __init__(self, analysis: Analysis):
        self.analysis, self.traces, self.paths = analysis, make_traces(analysis), analysis.step.model.inexact_paths
        self._known: dict[object, Any] = {}

    def arrays(self, rule: AbstractPositionRule, site: int) -> list[jax.ShapeDtypeStruct]:
        """All that is kept."""
        return jtu.tree_leaves(self._value(rule, site))

    def shapes(self, rule: AbstractPositionRule, site: int) -> list[tuple[int, ...]]:
        """Of the trace itself, without what is counted or noted beside it."""
        value = self._value(rule, site)
        held = jtu.tree_leaves(value.e if isinstance(value, Stored) else value)
        return [tuple(array.shape) for array in held if jnp.issubdtype(array.dtype, jnp.inexact)]

    def _value(self, rule: AbstractPositionRule, site: int) -> Any:
        """Traces of one layout have the same arrays, whatever they are of."""
        trace = self.traces[site]
        head = trace.head.shape, trace.head.has_features, trace.head.output
        key = rule, head, trace.partners, trace.couplings, trace.entries, trace.dtype
        if key not in self._known:
            self._known[key] = jax.eval_shape(lambda: rule.init(trace))
        return self._known[key]


class Account:
    """What each parameter's traces are and cost; shared ones count once."""

    def __init__(self, assignment: Assignment, kept: Kept):
        self.assignment, self.analysis, self.kept = assignment, assignment.analysis, kept
        self.rules, self.traces = assignment.sites, kept.traces
        self.relations: dict[int, list[ParamRelation]] = {}
        for relation in self.analysis.relations:
            self.relations.setdefault(relation.parameter, []).append(relation)
        self.groups = {i: self._groups(i) for i in assignment.influences}
        self.counted: set[object] = set()

    def rows(self, p: int) -> list[Row]:
        """Of one parameter: one per group, or one without a trace."""
        sites = self.relations.get(p, [])
        influences = [i for i in self.groups if self.analysis.bits.get(i.source.weight, 0) >> p & 1]
        dropped = self._dropped(p, sites, influences)
        exact, at_0 = not dropped, not dropped and not self._is_passed_by(sites, influences)
        path = self.kept.paths[p]
        groups = sorted({r.group for r in sites}.union(*(self.groups[i] for i in influences)))
        zero = self.analysis.zero[p]
        return [Row(path, g, exact, at_0, zero, dropped, *self._kept(g, sites, influences)) for g in groups or [None]]

    def _kept(
        self, group: int | None, sites: list[ParamRelation], influences: list[Influence]
    ) -> tuple[tuple[tuple[int, ...], ...], int, int, str]:
        """Shapes, bytes, work and rules of what is kept in one group."""
        mine = [r.site for r in sites if r.group == group]
        here = [site for site in mine if not isinstance(self.rules[site], NoTrace)]
        blocks = [i for i in influences if group in self.groups[i]]
        arrays = {site: self.kept.arrays(self.rules[site], site) for site in here}
        shapes = [shape for site in here for shape in self.kept.shapes(self.rules[site], site)]
        shapes += [influence.shape for influence in blocks]
        new, new_blocks = self._new(here), self._new(blocks)
        size = sum(a.size * a.dtype.itemsize for site in new for a in arrays[site]) + sum(i.bytes for i in new_blocks)
        work = sum(self.rules[s].work(self.traces[s]) for s in new) + sum(i.work for i in new_blocks)
        names = {type(self.assignment.blocks[i.source.weight]).__name__ for i in blocks}
        names |= set() if blocks else {type(self.rules[site]).__name__ for site in mine}
        return tuple(shapes), size, work, ", ".join(sorted(names))

    def _groups(self, influence: Influence) -> frozenset[int]:
        """Those that it reaches."""
        return frozenset(g.index for g in self.analysis.groups if not influence.leaves.isdisjoint(g.leaves))

    def _is_passed_by(self, sites: list[ParamRelation], influences: list[Influence]) -> bool:
        """Does the output take past credit from the old states of these traces other than through their new ones?"""
        analysis, blocks = self.analysis, self.assignment.blocks
        by_position = {r.group for r in sites if analysis.sites[r.site].weight not in blocks}
        kept = [leaf for group in by_position for leaf in analysis.groups[group].leaves]
        on_blocks = [leaf for influence in influences for leaf in influence.leaves]
        return any(analysis.past_tails >> leaf & 1 for leaf in kept) or any(
            analysis.past_new >> leaf & 1 for leaf in on_blocks
        )

    def _new(self, found: list[Any]) -> list[Any]:
        """Sites or influences that no earlier row counts."""
        new = [one for one in dict.fromkeys(found) if one not in self.counted]
        self.counted.update(new)
        return new

    def _dropped(self, p: int, sites: list[ParamRelation], influences: list[Influence]) -> tuple[Cut, ...]:
        analysis, blocks, found = self.analysis, self.assignment.blocks, []
        weights = [w for w in analysis.body.weights if analysis.bits.get(w, 0) >> p & 1]
        if any(w not in blocks for w in weights):
            found += analysis.dropped[p]
        by_position = [r.site for r in sites if analysis.sites[r.site].weight not in blocks]
        found += [cut for site in by_position if (cut := self._given_up(site)) is not None]
        if any(w in blocks for w in weights):
            found += analysis.unfollowed[p]
        for influence in influences:
            if not influence.is_whole:
                found += analysis.dropped[p] or [self._beyond(influence)]
        return tuple(dict.fromkeys(found))

    def _beyond(self, influence: Influence) -> Cut:
        steps = self.assignment.blocks[influence.source.weight].steps
        eqn = None if influence.source.use is None else influence.source.use.equation
        what = f"influence that takes more than {steps} step{'' if steps == 1 else 's'}"
        return Cut(min(self.groups[influence]), influence.source.weight, what, "" if eqn is None else eqn.source)

    def _given_up(self, site: int) -> Cut | None:
        """What the rule itself drops, whatever the graph."""
        what = self.rules[site].approximates(self.traces[site])
        where = self.analysis.sites[site]
        return None if what is None else Cut(where.group, where.weight, what, where.equation.source)


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a rule would give and take."""

    rule: str
    exact: int
    """How many parameters would have the gradient of BPTT."""
    trace_bytes: int
    work: int
    """Multiply-adds of one step on all traces."""
    passes: int
    """Reverse passes of one step, or of a tail, that read its Jacobian."""
    over_limit: bool
    """Would `init` refuse the rule, because its traces take more than its limit?"""


def cost_of(kept: Kept, rule: AbstractRule) -> Cost:
    """Of one rule for everything."""
    assignment = assign(kept.analysis, rule)
    rows = all_rows(assignment, kept)
    approximate = {row.path for row in rows if not row.exact}
    size, work = sum(row.trace_bytes for row in rows), sum(row.work for row in rows)
    exact = len({row.path for row in rows} - approximate)
    return Cost(str(rule), exact, size, work, passes_of(assignment), refusal(assignment) is not None)


def all_rows(assignment: Assignment, kept: Kept) -> tuple[Row, ...]:
    """Of every parameter, in order."""
    account = Account(assignment, kept)
    return tuple(row for p in range(len(assignment.analysis.step.parameters)) for row in account.rows(p))


def refusal(assignment: Assignment) -> str | None:
    """Why `init` would refuse the rules, if it would."""
    try:
        assignment.check_limits()
    except TraceTooLargeError as error:
        return str(error)
    return None


def passes_of(assignment: Assignment) -> int:
    """Reverse passes: one per colour for influences, one per state of every group with traces."""
    analysis = assignment.analysis
    by_position = {analysis.sites[n].group for n, rule in enumerate(assignment.sites) if not isinstance(rule, NoTrace)}
    colours = 1 + int(analysis.structure.colours.max(initial=-1)) if assignment.influences else 0
    return colours + sum(analysis.groups[g].num_states for g in by_position)

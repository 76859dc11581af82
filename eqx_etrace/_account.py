"""What a rule gives each parameter, and what it costs: found from the structure, before anything runs."""

import dataclasses

import jax
import jax.tree_util as jtu

from ._analysis import Analysis, Cut, ParamRelation, Path
from ._assign import assign, Assignment, TraceTooLargeError
from ._rule import AbstractPositionRule, AbstractRule, NoTrace
from ._trace import Influence, make_traces, Trace


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


class Account:
    """What each parameter's traces are and cost; shared ones count once."""

    def __init__(self, assignment: Assignment):
        self.assignment, self.analysis = assignment, assignment.analysis
        self.rules, self.traces = assignment.sites, make_traces(assignment.analysis)
        self.counted: set[tuple[str, int]] = set()

    def rows(self, p: int) -> list[Row]:
        """Of one parameter: one per group, or one without a trace."""
        analysis = self.analysis
        sites = [r for r in analysis.relations if r.parameter == p]
        influences = [i for i in self.assignment.influences if analysis.bits.get(i.source.weight, 0) >> p & 1]
        dropped = self._dropped(p, sites, influences)
        exact, at_0 = not dropped, not dropped and not self._is_passed_by(sites, influences)
        path = self.analysis.step.model.inexact_paths[p]
        found = []
        for group in sorted({r.group for r in sites}.union(*map(self._groups, influences))) or [None]:
            here = [r.site for r in sites if r.group == group and not isinstance(self.rules[r.site], NoTrace)]
            blocks = [i for i in influences if group in self._groups(i)]
            new_sites = self._new("site", here)
            new_blocks = self._new("influence", [self.assignment.influences.index(i) for i in blocks])
            shapes = [shape for site in here for shape in _shapes(self.rules[site], self.traces[site])]
            size = sum(_bytes(self.rules[s], self.traces[s]) for s in new_sites)
            work = sum(self.rules[s].work(self.traces[s]) for s in new_sites)
            for number in new_blocks:
                size += self.assignment.influences[number].bytes
                work += self.assignment.influences[number].work
            names = {type(self.rules[r.site]).__name__ for r in sites if r.group == group and not blocks}
            names |= {type(self.assignment.blocks[i.source.weight]).__name__ for i in blocks}
            shapes += [i.shape for i in blocks]
            rule = ", ".join(sorted(names))
            found.append(Row(path, group, exact, at_0, dropped, tuple(shapes), size, work, rule))
        return found

    def _leaves(self, influence: Influence) -> set[int]:
        """The hidden states that an influence reaches."""
        return set(self.analysis.structure.leaf[influence.slots[influence.slots >= 0]].tolist())

    def _groups(self, influence: Influence) -> set[int]:
        return {g.index for g in self.analysis.groups if self._leaves(influence) & set(g.leaves)}

    def _is_passed_by(self, sites: list[ParamRelation], influences: list[Influence]) -> bool:
        """Does the output take past credit from the old states of these traces other than through their new ones?"""
        analysis, blocks = self.analysis, self.assignment.blocks
        by_position = {r.group for r in sites if analysis.sites[r.site].weight not in blocks}
        kept = [leaf for group in by_position for leaf in analysis.groups[group].leaves]
        on_blocks = [leaf for influence in influences for leaf in self._leaves(influence)]
        return any(analysis.past_tails >> leaf & 1 for leaf in kept) or any(
            analysis.past_new >> leaf & 1 for leaf in on_blocks
        )

    def _new(self, kind: str, numbers: list[int]) -> list[int]:
        found = [n for n in dict.fromkeys(numbers) if (kind, n) not in self.counted]
        self.counted.update((kind, n) for n in found)
        return found

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
        return Cut(min(self._groups(influence)), influence.source.weight, what, "" if eqn is None else eqn.source)

    def _given_up(self, site: int) -> Cut | None:
        """What the rule itself drops, whatever the graph."""
        what = self.rules[site].approximates(self.traces[site])
        where = self.analysis.sites[site]
        return None if what is None else Cut(where.group, where.weight, what, where.equation.source)


def _shapes(rule: AbstractPositionRule, trace: Trace) -> list[tuple[int, ...]]:
    arrays = jtu.tree_leaves(jax.eval_shape(lambda: rule.init(trace)))
    return [tuple(a.shape) for a in arrays if a.ndim > 0]


def _bytes(rule: AbstractPositionRule, trace: Trace) -> int:
    arrays = jtu.tree_leaves(jax.eval_shape(lambda: rule.init(trace)))
    return sum(a.size * a.dtype.itemsize for a in arrays)


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


def cost_of(analysis: Analysis, rule: AbstractRule) -> Cost:
    """Of one rule for everything."""
    assignment = assign(analysis, rule)
    rows = all_rows(assignment)
    approximate = {row.path for row in rows if not row.exact}
    size, work = sum(row.trace_bytes for row in rows), sum(row.work for row in rows)
    exact = len({row.path for row in rows} - approximate)
    return Cost(str(rule), exact, size, work, passes_of(assignment), refusal(assignment) is not None)


def all_rows(assignment: Assignment) -> tuple[Row, ...]:
    """Of every parameter, in order."""
    account = Account(assignment)
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

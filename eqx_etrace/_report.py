"""What a rule computes for each parameter, said before anything runs."""

import dataclasses

import jax
import jax.tree_util as jtu

from ._analysis import Analysis, Cut, ParamRelation, Path
from ._assign import assign, Assignment, Rule
from ._rule import AbstractPositionRule, NoTrace
from ._trace import Influence, make_traces, Trace


@dataclasses.dataclass(frozen=True)
class Row:
    """One parameter in one hidden group, or one parameter without a trace."""

    path: Path
    group: int | None
    """The hidden group; None without a trace."""
    exact: bool
    """Is the parameter's gradient equal to BPTT, in exact arithmetic and at any window from 1?"""
    dropped: tuple[Cut, ...]
    """The credit that the rule drops for this parameter: the operation and the user's line."""
    trace_shape: tuple[tuple[int, ...], ...]
    """The shape of each array of its trace, one per state for D-RTRL."""
    trace_bytes: int
    """The memory of its trace, 0 where it shares the trace of an earlier row."""
    work: int
    """Multiply-adds of one step on its trace, counted where the memory is."""
    rule: str


@dataclasses.dataclass(frozen=True)
class Report:
    """`rows`, one per (parameter, group); `str()` is a table."""

    rows: tuple[Row, ...]
    trace_bytes: int
    """The memory of all traces together."""
    work: int
    """Multiply-adds of one step on all traces."""

    def __str__(self) -> str:
        head = ("parameter", "group", "gradient", "rule", "trace", "memory", "work")
        table = [head, *(_cells(row) for row in self.rows)]
        widths = [max(len(row[i]) for row in table) for i in range(len(head))]
        lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in table]
        lines.insert(1, "  ".join("-" * w for w in widths))
        return "\n".join(
            [
                *lines,
                f"All traces together: {show_bytes(self.trace_bytes)}, {self.work:,} multiply-adds per step.",
                *self._dropped_lines(),
            ]
        )

    def _dropped_lines(self) -> list[str]:
        served: dict[tuple[str, int], list[Path]] = {}
        for row in self.rows:
            for cut in row.dropped:
                paths = served.setdefault((str(cut), cut.group), [])
                if row.path not in paths:
                    paths.append(row.path)
        if not served:
            return []
        lines = ["", "Beyond the window, credit is dropped:"]
        for (what, group), paths in served.items():
            named = ", ".join(map(str, paths[:4])) + (f" and {len(paths) - 4} more" if len(paths) > 4 else "")
            lines.append(f"   into group {group}: {what}   (for {named})")
        return lines


def _cells(row: Row) -> tuple[str, ...]:
    times = {shape: row.trace_shape.count(shape) for shape in row.trace_shape}
    shapes = " + ".join((f"{n} x " if n > 1 else "") + str(list(shape)) for shape, n in times.items()) or "-"
    shared = row.group is not None and row.trace_bytes == 0 and bool(row.trace_shape)
    return (
        str(row.path),
        "-" if row.group is None else str(row.group),
        "exact" if row.exact else ("approximate" if row.group is not None else "window only"),
        row.rule or "-",
        shapes,
        "shared" if shared else show_bytes(row.trace_bytes),
        "-" if shared else f"{row.work:,}",
    )


def show_bytes(count: int) -> str:
    """Bytes as a person reads them."""
    if count < 1000:
        return f"{count} B"
    size = float(count)
    for unit in ("kB", "MB", "GB"):
        size /= 1000
        if size < 1000:
            return f"{size:.1f} {unit}"
    return f"{size / 1000:.1f} TB"


class _Account:
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
            found.append(Row(path, group, not dropped, dropped, tuple(shapes), size, work, ", ".join(sorted(names))))
        return found

    def _groups(self, influence: Influence) -> set[int]:
        """The hidden groups that an influence reaches."""
        leaves = set(self.analysis.structure.leaf[influence.slots[influence.slots >= 0]].tolist())
        return {g.index for g in self.analysis.groups if leaves & set(g.leaves)}

    def _new(self, kind: str, numbers: list[int]) -> list[int]:
        found = [n for n in dict.fromkeys(numbers) if (kind, n) not in self.counted]
        self.counted.update((kind, n) for n in found)
        return found

    def _dropped(self, p: int, sites: list[ParamRelation], influences: list[Influence]) -> tuple[Cut, ...]:
        analysis, blocks, found = self.analysis, self.assignment.blocks, []
        weights = [w for w in analysis.body.weights if analysis.bits.get(w, 0) >> p & 1]
        if not influences or any(w not in blocks for w in weights):
            found += analysis.dropped[p]
        by_position = [r.site for r in sites if analysis.sites[r.site].weight not in blocks]
        found += [cut for site in by_position if (cut := self._given_up(site)) is not None]
        if influences:
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


def make_report(analysis: Analysis, rule: Rule) -> Report:
    account = _Account(assign(analysis, rule))
    rows = tuple(row for p in range(len(analysis.step.parameters)) for row in account.rows(p))
    return Report(rows, sum(row.trace_bytes for row in rows), sum(row.work for row in rows))


def _shapes(rule: AbstractPositionRule, trace: Trace) -> list[tuple[int, ...]]:
    arrays = jtu.tree_leaves(jax.eval_shape(lambda: rule.init(trace)))
    return [tuple(a.shape) for a in arrays if a.ndim > 0]


def _bytes(rule: AbstractPositionRule, trace: Trace) -> int:
    arrays = jtu.tree_leaves(jax.eval_shape(lambda: rule.init(trace)))
    return sum(a.size * a.dtype.itemsize for a in arrays)

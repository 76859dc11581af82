"""What a rule computes for each parameter, said before anything runs."""

import dataclasses
from collections.abc import Callable

import jax
import jax.tree_util as jtu
from jaxtyping import PyTree

from ._analysis import Analysis, Cut, Path
from ._plan import choose_rules, Rule
from ._rule import AbstractRule
from ._trace import make_traces, Trace


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
    rule: str


@dataclasses.dataclass(frozen=True)
class Report:
    """`rows`, one per (parameter, group); `str()` is a table."""

    rows: tuple[Row, ...]
    trace_bytes: int
    """The memory of all traces together."""

    def __str__(self) -> str:
        head = ("parameter", "group", "gradient", "rule", "trace", "memory")
        table = [head, *(_cells(row) for row in self.rows)]
        widths = [max(len(row[i]) for row in table) for i in range(len(head))]
        lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in table]
        lines.insert(1, "  ".join("-" * w for w in widths))
        return "\n".join(
            [
                *lines,
                f"All traces together: {show_bytes(self.trace_bytes)}.",
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


def make_report(analysis: Analysis, rule: Rule) -> Report:
    rules, traces = choose_rules(analysis, rule), make_traces(analysis)
    sizes = [_bytes(lambda r=r, t=t: r.init(t)) for r, t in zip(rules, traces, strict=True)]
    factored = [_given_up(analysis, r, t) for r, t in zip(rules, traces, strict=True)]
    rows, counted = [], set()
    for p, path in enumerate(analysis.step.model.inexact_paths):
        mine = [r for r in analysis.relations if r.parameter == p]
        dropped = (*analysis.dropped[p], *(cut for r in mine for cut in factored[r.site]))
        for group in sorted({r.group for r in mine}) or [None]:
            here = [r for r in mine if r.group == group]
            new = {r.site for r in here} - counted
            counted |= new
            names = sorted({type(rules[r.site]).__name__ for r in here})
            arrays = tuple(shape for r in here for shape in _shapes(rules[r.site], traces[r.site]))
            rows.append(Row(path, group, not dropped, dropped, arrays, sum(sizes[s] for s in new), ", ".join(names)))
    return Report(tuple(rows), sum(sizes))


def _given_up(analysis: Analysis, rule: AbstractRule, trace: Trace) -> tuple[Cut, ...]:
    """What the rule itself drops, whatever the graph."""
    what = rule.approximates(trace)
    return () if what is None else (Cut(trace.group, trace.weight, what, analysis.sites[trace.number].equation.source),)


def _shapes(rule: AbstractRule, trace: Trace) -> list[tuple[int, ...]]:
    arrays = jtu.tree_leaves(jax.eval_shape(lambda: rule.init(trace)))
    return [tuple(a.shape) for a in arrays if a.ndim > 0]


def _bytes(make: Callable[[], PyTree]) -> int:
    return sum(a.size * a.dtype.itemsize for a in jtu.tree_leaves(jax.eval_shape(make)))

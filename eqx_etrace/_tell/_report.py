"""What a rule computes for each parameter, said before anything runs."""

import collections
import dataclasses
import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .._carry import AbstractRule, DRTRL, NoTrace, OSTL, PPProp, RTRL, shown, SnAp
from .._read import Cut, Path, PatternTooLargeError, UNUSED
from .._spend import assign, RuleOrChoice
from ._cost import all_rows, Cost, cost_of, held_without_traces, Ledger, passes_of, Price, Row

_WHOLE = RTRL()
_ALTERNATIVES: tuple[AbstractRule, ...] = NoTrace(), PPProp(0.95), DRTRL(), SnAp(1), OSTL(), SnAp(2), _WHOLE
"""Rules that need no number of the network's, and no random key."""
_MOST_PRICES = 6
"""Parameters of which a report says what they would take under another rule."""


@dataclasses.dataclass(frozen=True)
class Report:
    """What a rule computes for each parameter; `str()` is a table.

    `rows` has one row per parameter and hidden group in which it has a trace, or one without a group. `exact`: the
    gradient is that of BPTT, at any window from 1 on, and at 0 where no line below the table says otherwise.
    `approximate`: credit beyond the window is dropped, as listed below the table. `unbiased`: it is an estimate, whose
    mean over random keys is exact. `window only`: there is no trace.
    `zero`: nothing leads from the parameter to the output, so that BPTT, too, has zero; a line below says why. A trace
    that serves several parameters is counted once, and `shared` by the others.

    `str()` also counts what other rules would give and take, once per graph: about a second for a dense network of
    1,024 units in a batch of 16. `rows` and the totals are known without it.
    """

    rows: tuple[Row, ...]
    trace_bytes: int
    """The memory of all traces together."""
    held_bytes: int
    """About what a call takes at most, if its new state and trace take the place of the old: model, state, inputs,
    traces, a gradient for every parameter, and what the step itself has in between. XLA may keep less of the last, and
    a reverse pass more."""
    work: int
    """Multiply-adds of one step on all traces, to advance and to contract them; without the reverse passes."""
    passes: int
    """Reverse passes of one step, or of a tail, that read its Jacobian: one per state of a group for traces by
    position, one per colour for influences on blocks."""
    refusal: str | None
    """Why `init` would refuse the rule: its traces take more than its limit. None if it would not."""
    _count: Callable[[], tuple[Cost, ...]] = dataclasses.field(repr=False, compare=False)

    @property
    def alternatives(self) -> tuple[Cost, ...]:
        """What other rules would give and take, each for all parameters; only those that can be counted."""
        return self._count()

    def __str__(self) -> str:
        head = ("parameter", "group", "gradient", "rule", "trace", "memory", "work")
        return "\n".join(
            [
                *self._nothing_learned_lines(),
                *_table(head, map(_cells, self.rows)),
                f"All traces together: {show_bytes(self.trace_bytes)}, {self.work:,} multiply-adds per step, beside "
                f"{self.passes} reverse pass{'' if self.passes == 1 else 'es'} for the Jacobian.",
                *([] if self.refusal is None else [f"Refused by `init`: {self.refusal}"]),
                *self._zero_lines(),
                *self._dropped_lines(),
                *self._price_lines(),
                *self._window_0_lines(),
                *self._alternative_lines(),
            ]
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled whole: what other rules would cost is counted first, as the graph itself cannot be pickled."""
        known = [getattr(self, field.name) for field in dataclasses.fields(self)[:-1]]
        return Report, (*known, functools.partial(tuple, self.alternatives))

    def __copy__(self) -> "Report":
        return self

    def __deepcopy__(self, memo: Any) -> "Report":
        return self

    def _nothing_learned_lines(self) -> list[str]:
        if any(row.zero is None for row in self.rows):
            return []
        lines = ["Nothing is learned: the gradient of every parameter is zero, whatever the numbers."]
        if all(row.zero == UNUSED for row in self.rows):
            lines.append(
                "No parameter is used. Does the step close over its model? It must take it as its first argument."
            )
        return [*lines, ""]

    def _zero_lines(self) -> list[str]:
        served: dict[str, list[Path]] = {}
        for row in self.rows:
            if row.zero is not None and row.path not in served.setdefault(row.zero, []):
                served[row.zero].append(row.path)
        lines = ["", "The gradient is zero, and so is that of BPTT:"] if served else []
        return [*lines, *(f"   {_named(paths)}: {why}" for why, paths in served.items())]

    def _window_0_lines(self) -> list[str]:
        missed = dict.fromkeys(row.path for row in self.rows if row.missed_at_window_0 and not row.zero)
        if not missed:
            return []
        what = (
            "At window 0, credit is missed that the output takes from the old state past the new states of the traces"
        )
        return ["", f"{what}   (for {_named(list(missed))})"]

    def _alternative_lines(self) -> list[str]:
        total = len({row.path for row in self.rows})
        head = ("rule for all", "exact", "memory", "work", "passes")
        rows = [
            (cost.rule, f"{cost.exact} of {total}", _memory(cost), f"{cost.work:,}", str(cost.passes))
            for cost in self.alternatives
        ]
        counted = {cost.rule for cost in self.alternatives}
        rows += [(str(rule), "-", "too large", "-", "-") for rule in _ALTERNATIVES if str(rule) not in counted]
        return ["", *_table(head, rows)]

    def _dropped_lines(self) -> list[str]:
        return [
            *self._cuts("Beyond the window, credit is dropped:", lambda cut: not (cut.is_followed or cut.is_random)),
            *self._cuts("Beyond the window, credit is as exact as a solver that may stop early:", _is_followed),
            *self._cuts("Beyond the window, credit is an estimate, right in the mean:", lambda cut: cut.is_random),
        ]

    def _cuts(self, title: str, belongs: Callable[[Cut], bool]) -> list[str]:
        served: dict[tuple[str, str, int], list[Path]] = {}
        for row in self.rows:
            for cut in row.dropped:
                paths = served.setdefault((cut.where, cut.why, cut.group), [])
                if belongs(cut) and row.path not in paths:
                    paths.append(row.path)
        lines: list[str] = []
        for (where, why, group), paths in served.items():
            lines += [f"   into group {group}: {where}   (for {_named(paths)})"] if paths else []
            lines += [f"      {why}"] if paths and why else []
        return ["", title, *lines] if lines else []

    def _price_lines(self) -> list[str]:
        """What `RTRL` would take for each parameter that it would make exact, alone."""
        whole = next((cost for cost in self.alternatives if cost.rule == str(_WHOLE)), None)
        prices = [] if whole is None else self._gained(whole)
        if whole is None or not prices:
            return []
        listed = [
            f"   {shown(price.path)}: {show_bytes(price.trace_bytes)}, {price.work:,} multiply-adds per step"
            for price in prices[:_MOST_PRICES]
        ]
        more = [f"   and {len(prices) - _MOST_PRICES} more"] if len(prices) > _MOST_PRICES else []
        passes = f"{whole.passes} reverse pass{'' if whole.passes == 1 else 'es'}"
        return ["", f"`{_WHOLE}` would keep it, beside {passes}. Each of these alone would take:", *listed, *more]

    def _gained(self, whole: Cost) -> list[Price]:
        """Those that are exact there, and are not here."""
        lost = {row.path for row in self.rows if not row.exact and row.zero is None}
        return [price for price in whole.prices if price.exact and price.path in lost]


def _is_followed(cut: Cut) -> bool:
    return cut.is_followed


def _named(paths: Sequence[Path]) -> str:
    return ", ".join(map(shown, paths[:4])) + (f" and {len(paths) - 4} more" if len(paths) > 4 else "")


def _memory(cost: Cost) -> str:
    return show_bytes(cost.trace_bytes) + (", over its limit" if cost.over_limit else "")


def _cells(row: Row) -> tuple[str, ...]:
    group = "-" if row.group is None else str(row.group)
    is_shared = row.group is not None and row.trace_bytes == 0 and bool(row.trace_shape)
    cost = ("shared", "-") if is_shared else (show_bytes(row.trace_bytes), f"{row.work:,}")
    return (shown(row.path), group, _gradient(row), row.rule or "-", _shapes(row), *cost)


def _shapes(row: Row) -> str:
    counts = collections.Counter(row.trace_shape)
    terms = [str(list(shape)) if count == 1 else f"{count} x {list(shape)}" for shape, count in counts.items()]
    return " + ".join(terms) or "-"


def _gradient(row: Row) -> str:
    if row.zero is not None:
        return "zero"
    if row.exact or row.group is None:
        return "exact" if row.exact else "window only"
    return "unbiased" if row.unbiased else "approximate"


def make_report(ledger: Ledger, rule: RuleOrChoice, count: Callable[[], tuple[Cost, ...]]) -> Report:
    assignment = assign(ledger.layouts, rule)
    rows = all_rows(assignment, ledger)
    size, work = sum(row.trace_bytes for row in rows), sum(row.work for row in rows)
    held = size + held_without_traces(assignment.analysis)
    return Report(rows, size, held, work, passes_of(assignment), assignment.refusal, count)


def count_alternatives(ledger: Ledger) -> tuple[Cost, ...]:
    """Of all rules that can be counted."""
    return tuple(cost for rule in _ALTERNATIVES if (cost := _counted(ledger, rule)) is not None)


def _counted(ledger: Ledger, rule: AbstractRule) -> Cost | None:
    """None where the structure is too large to be written down."""
    try:
        return cost_of(ledger, rule)
    except PatternTooLargeError:
        return None


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    table = [head, *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in table]
    return [lines[0], "  ".join("-" * width for width in widths), *lines[1:]]


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

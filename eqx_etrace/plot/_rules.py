"""What several rules give and take."""

from collections.abc import Callable, Mapping
from typing import Any

from .._given import in_words
from .._tell import Report
from ._axes import axes_for, matplotlib


def rules(reports: Mapping[str, Report], *, axes: Any = None) -> tuple[Any, Any]:
    """The memory of the traces and the multiply-adds of a step under several rules, on logarithmic axes.

        rules({str(rule): graph.report(rule) for rule in (DRTRL(), SnAp(2), RTRL())})

    **Arguments**

    - `reports`: from names to reports of one graph.
    - `axes`: two axes of matplotlib to draw into; those of a new figure if None.

    **Returns** the axes of memory and of work. A row is a rule, in the order given. Beside its name stands how many
    parameters have the gradient of BPTT, and how many reverse passes a step takes for the Jacobian. A mark is filled
    if all have it. A rule that keeps nothing has no mark, but a zero.

    **Raises** `ValueError` without a report; `ImportError` without the extra `eqx_etrace[plot]`.
    """
    _check_reports(reports)
    memory, work = axes_for(axes, 1, 2, (7.0, 0.9 + 0.5 * len(reports)), sharey=True)
    whole = [_exact_of(report)[0] == _exact_of(report)[1] for report in reports.values()]
    _dots(memory, [report.trace_bytes for report in reports.values()], whole, _bytes)
    _dots(work, [report.work for report in reports.values()], whole, _count)
    memory.set(xlabel="memory of the traces")
    work.set(xlabel="multiply-adds per step")
    memory.set_yticks(range(len(reports)), [_label(name, report) for name, report in reports.items()])
    memory.set_ylim(len(reports) - 0.5, -0.5)
    work.set_ylim(len(reports) - 0.5, -0.5)
    return memory, work


def _check_reports(reports: Any) -> None:
    held = [v for v in reports.values() if not isinstance(v, Report)] if isinstance(reports, Mapping) else [reports]
    if held:
        found = f"{'holds' if isinstance(reports, Mapping) else 'is'} {in_words(held[0])}"
        raise TypeError(
            f"`reports` {found}; it must go from names to reports: "
            "`{str(rule): graph.report(rule) for rule in rules}`."
        )
    if not reports:
        raise ValueError("`reports` is empty; there must be at least one.")


def _exact_of(report: Report) -> tuple[int, int]:
    """How many parameters have the gradient of BPTT, and how many there are."""
    every = {row.path for row in report.rows}
    return len(every - {row.path for row in report.rows if not row.exact}), len(every)


def _label(name: str, report: Report) -> str:
    exact, total = _exact_of(report)
    return f"{name}\n{exact} of {total} exact, {report.passes} pass{'' if report.passes == 1 else 'es'}"


def _dots(ax: Any, values: list[int], whole: list[bool], write: Callable[[int | float], str]) -> None:
    """A mark for each, its number beside it; on a logarithmic axis zero is written at the left."""
    positive = [value for value in values if value > 0] or [1]
    low, high = min(positive) / 3, max(positive) * 3
    for row, (value, is_whole) in enumerate(zip(values, whole, strict=True)):
        ax.axhline(row, color="0.9", linewidth=0.8, zorder=0)
        if value > 0:
            ax.plot(value, row, "o", color="C0", markerfacecolor="C0" if is_whole else "white", markersize=7)
        # On the side where there is room.
        is_left = value * value < low * high
        place = {"xytext": (8 if is_left else -8, 0), "textcoords": "offset points", "va": "center"}
        paper = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}
        ax.annotate(
            write(value), (max(value, low), row), ha="left" if is_left else "right", fontsize=9, bbox=paper, **place
        )
    ax.set(xscale="log", xlim=(low, high))
    ax.xaxis.set_major_locator(matplotlib("ticker").LogLocator(numticks=4))
    ax.minorticks_off()
    ax.tick_params(axis="y", length=0)
    ax.xaxis.set_major_formatter(lambda value, _: write(value))


def _bytes(value: int | float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} TB"


def _count(value: int | float) -> str:
    for unit in ("", " k", " M", " G"):
        if value < 1000:
            return f"{value:.3g}{unit}"
        value /= 1000
    return f"{value:.3g} T"

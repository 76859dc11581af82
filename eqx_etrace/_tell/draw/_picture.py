"""The picture of a graph under a rule, as words: what is drawn, before anybody lays it out.

Groups that are alike but for numbers in their paths, three or more in a row, are drawn once.
"""

import dataclasses
import itertools
from collections.abc import Collection, Iterable, Sequence

from ..._read import Analysis, Cut, Path
from .._cost import Row
from .._report import Report, show_bytes
from ._flow import Arrow, find_flow, Flow, INPUTS, Node, OUTPUT

EXACT, APPROXIMATE, WINDOW, ZERO = "exact", "approximate", "window only", "zero"
_FEWEST = 3
"""So many groups alike are drawn as one."""


@dataclasses.dataclass(frozen=True)
class Item:
    """A state or a parameter."""

    path: Path
    shape: tuple[int, ...]
    status: str = ""
    """Of a parameter: `EXACT`, `APPROXIMATE`, `WINDOW` or `ZERO`."""
    how: str = ""
    """Of a parameter: where it meets data, its rule, the memory of its trace."""


@dataclasses.dataclass(frozen=True)
class Box:
    """One hidden group, or several alike: its states, and the parameters that enter it."""

    nodes: tuple[Node, ...]
    states: tuple[tuple[Item, ...], ...]
    """By node, in the same order in each."""
    parameters: tuple[tuple[Item, ...], ...]
    dropped: tuple[str, ...]
    """Mixing on the way of a parameter into this group, which the rule drops: the operation and the user's line."""

    @property
    def is_dropped(self) -> bool:
        """Is there any?"""
        return bool(self.dropped)

    @property
    def title(self) -> str:
        first, *_, last = (self.nodes[0], *self.nodes)
        if isinstance(first, str):
            return first
        if len(self.nodes) == 1:
            return f"hidden group {first}"
        return f"hidden groups {first} to {last}: {len(self.nodes)} alike"


@dataclasses.dataclass(frozen=True)
class Line:
    """An arrow between boxes, by their numbers."""

    source: int
    target: int
    is_past: bool
    has_derivative: bool
    is_dropped: bool
    is_chain: bool
    """From each group of a box to the next."""
    where: tuple[str, ...]
    """The operations that mix, and the user's lines; of what is dropped."""


@dataclasses.dataclass(frozen=True)
class Picture:
    """Boxes and lines."""

    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]
    caption: str


def make_picture(analysis: Analysis, report: Report, rule: str) -> Picture:
    """What to draw of a step under a rule."""
    flow = find_flow(analysis)
    nodes: list[Node] = [INPUTS, *(g.index for g in analysis.groups), OUTPUT]
    # A tail does not know why no filter carries a cut on; a row of the report does.
    dropped = {dataclasses.replace(cut, why="") for row in report.rows for cut in row.dropped}
    boxes = [_box(analysis, report, flow, node, dropped) for node in nodes]
    lines = [_line(arrow, nodes, dropped) for arrow in flow.arrows]
    homes = _homes(boxes, lines)
    members: dict[int, list[Box]] = {}
    for box, home in zip(boxes, homes, strict=True):
        members.setdefault(home, []).append(box)
    moved = dict.fromkeys(_moved(line, homes) for line in lines)
    caption = f"{rule}: {show_bytes(report.trace_bytes)} of traces, {report.work:,} multiply-adds per step"
    return Picture(tuple(map(_merged, members.values())), tuple(moved), caption)


def _box(analysis: Analysis, report: Report, flow: Flow, node: Node, dropped: Collection[Cut]) -> Box:
    parameters = tuple(_parameter(analysis, report, node, p) for p in _parameters(analysis, flow, node))
    if isinstance(node, str):
        return Box((node,), ((),), (parameters,), ())
    step, group = analysis.step, analysis.groups[node]
    pairs = zip(group.paths, group.leaves, strict=True)
    states = tuple(Item(path, step.program.shape(step.states[leaf])) for path, leaf in pairs)
    arrows = [arrow for arrow in flow.arrows if arrow.target == node and arrow.source != INPUTS]
    own = set(dropped).difference(*(arrow.cuts for arrow in arrows))
    lines = dict.fromkeys(str(cut) for cut in analysis.tails[node].cuts if cut in own)
    return Box((node,), (states,), (parameters,), tuple(lines))


def _parameters(analysis: Analysis, flow: Flow, node: Node) -> list[int]:
    """Those that a node reads, or has a trace of; with the output, those that nothing reads."""
    traced = {r.parameter for r in analysis.relations if r.group == node}
    numbers = sorted({*flow.parameters.get(node, ()), *traced})
    nowhere = {*range(len(analysis.step.parameters))}.difference(*flow.parameters.values())
    return numbers + (sorted(nowhere) if node == OUTPUT else [])


def _parameter(analysis: Analysis, report: Report, node: Node, p: int) -> Item:
    step = analysis.step
    path, shape = step.model.inexact_paths[p], step.program.shape(step.parameters[p])
    rows = [row for row in report.rows if row.path == path]
    here = next((row for row in rows if row.group == node), rows[0])
    kinds = sorted({r.kind for r in analysis.relations if (r.parameter, r.group) == (p, node)})
    return Item(path, shape, _status(here), ", ".join([*kinds, *_memory(here, node)]))


def _status(row: Row) -> str:
    if row.zero is not None:
        return ZERO
    return EXACT if row.exact else (APPROXIMATE if row.trace_shape else WINDOW)


def _memory(row: Row, node: Node) -> Iterable[str]:
    if row.group != node or not row.trace_shape:
        return ["no trace"]
    return [f"{row.rule} {show_bytes(row.trace_bytes)}" if row.trace_bytes else f"{row.rule}, shared"]


def _line(arrow: Arrow, nodes: Sequence[Node], dropped: Collection[Cut]) -> Line:
    source, target = nodes.index(arrow.source), nodes.index(arrow.target)
    mine = () if arrow.source == INPUTS else arrow.cuts
    where = tuple(dict.fromkeys(str(cut) for cut in mine if cut in dropped))
    return Line(source, target, arrow.is_past, arrow.has_derivative, bool(where), False, where)


def _homes(boxes: Sequence[Box], lines: Sequence[Line]) -> list[int]:
    """For each box, the box that it is drawn as."""
    marks = [_mark(i, box, lines) for i, box in enumerate(boxes)]
    homes = []
    for _, run in itertools.groupby(range(len(boxes)), key=marks.__getitem__):
        alike = list(run)
        start = len(homes)
        homes += [start] * len(alike) if len(alike) >= _FEWEST else alike
    return [sorted({*homes}).index(h) for h in homes]


def _mark(number: int, box: Box, lines: Sequence[Line]) -> object:
    """Equal for boxes that are alike but for numbers in paths, and for where they stand."""
    every = (*box.states[0], *box.parameters[0])
    items = [(_unnumbered(item.path), item.shape, item.status, item.how) for item in every]
    coming = [(line.source - number, line.is_past, line.is_dropped) for line in lines if line.target == number]
    kind = box.nodes[0] if isinstance(box.nodes[0], str) else "group"
    return kind, tuple(items), tuple(sorted(coming)), box.dropped


def _unnumbered(path: Path) -> Path:
    return tuple("#" if isinstance(key, int) else key for key in path)


def _merged(boxes: Sequence[Box]) -> Box:
    return Box(
        tuple(node for box in boxes for node in box.nodes),
        tuple(states for box in boxes for states in box.states),
        tuple(parameters for box in boxes for parameters in box.parameters),
        boxes[0].dropped,
    )


def _moved(line: Line, homes: Sequence[int]) -> Line:
    source, target = homes[line.source], homes[line.target]
    chain = source == target and line.source != line.target
    return dataclasses.replace(line, source=source, target=target, is_chain=chain)

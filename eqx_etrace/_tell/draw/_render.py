"""From a picture to SVG and PNG, by Graphviz."""

import functools
import html
import importlib
import itertools
from collections.abc import Sequence
from pathlib import Path as File
from typing import Any

from ..._read import Path
from ._picture import APPROXIMATE, Box, EXACT, Item, Line, Picture, WINDOW, ZERO

_COLOURS = {EXACT: "#cfe8d5", APPROXIMATE: "#fbe0b5", WINDOW: "#dcdcdc", ZERO: "#e4d7f2"}
_LEGEND = {
    EXACT: "gradient equals that of BPTT",
    APPROXIMATE: "some credit beyond the window is dropped",
    WINDOW: "no trace: no credit beyond the window",
    ZERO: "gradient is zero: nothing leads to the output",
}
_RED, _GREY, _DARK = "#c0392b", "#9a9a9a", "#333333"


class Drawing:
    """A drawn graph. Shows itself in a notebook."""

    def __init__(self, dot: str):
        self.dot = dot
        """The graph in Graphviz's language."""

    @functools.cached_property
    def svg(self) -> str:
        """The drawing as SVG."""
        return _layout(self.dot, "svg").decode()

    @functools.cached_property
    def png(self) -> bytes:
        """The drawing as PNG."""
        return _layout(self.dot, "png")

    def save(self, path: str | File) -> None:
        """Write the drawing to a file whose name ends in `.svg`, `.png` or `.dot`.

        **Raises** `ValueError` for another ending.
        """
        contents = {".svg": lambda: self.svg.encode(), ".png": lambda: self.png, ".dot": self.dot.encode}
        file = File(path)
        if file.suffix not in contents:
            raise ValueError(f"{str(path)!r} ends in {file.suffix!r}; a drawing is saved as .svg, .png or .dot.")
        file.write_bytes(contents[file.suffix]())

    def _repr_svg_(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return "Drawing(); `.save('graph.svg')` writes it to a file"


def render(picture: Picture) -> Drawing:
    """Write a picture in Graphviz's language.

    **Raises** `ImportError` where pygraphviz, which brings Graphviz, is not installed.
    """
    _graphviz()
    head = [
        f'rankdir=TB; label=<{_caption(picture)}>; labelloc=b; fontname="Helvetica"; fontsize=11;',
        "nodesep=0.35; ranksep=0.55;",
        'node [shape=plain, fontname="Helvetica", fontsize=11];',
        'edge [fontname="Helvetica", fontsize=9];',
    ]
    boxes = [f"n{i} [label=<{_table(box)}>];" for i, box in enumerate(picture.boxes)]
    return Drawing("\n".join(["digraph {", *head, *boxes, *map(_arrow, picture.lines), "}"]))


def _graphviz() -> Any:
    try:
        return importlib.import_module("pygraphviz")
    except ImportError as error:
        raise ImportError(
            "Drawing a graph needs pygraphviz, which is not installed. Install the extra: "
            "`pip install 'eqx_etrace[draw]'`. `show_graph` and `report` print without it."
        ) from error


def _layout(dot: str, kind: str) -> bytes:
    resolution = {"png": "-Gdpi=144"}.get(kind, "")
    return _graphviz().AGraph(string=dot).draw(format=kind, prog="dot", args=resolution)


def _table(box: Box) -> str:
    rows = [_row(f"<b>{html.escape(box.title)}</b>")]
    rows += [_row(_named(items, "state")) for items in zip(*box.states, strict=True)]
    for items in zip(*box.parameters, strict=True):
        first = items[0]
        how = html.escape(f" {first.how}" + (" each" if len(items) > 1 else ""))
        rows.append(_row(f'{_named(items, "model")}<font point-size="9">{how}</font>', _COLOURS[first.status]))
    rows += [_row(f'<font color="{_RED}" point-size="9">{html.escape(_short(where))}</font>') for where in box.dropped]
    border = 2 if box.states[0] else 1
    return f'<table border="{border}" cellborder="0" cellspacing="0" cellpadding="4">{"".join(rows)}</table>'


def _row(text: str, colour: str = "white") -> str:
    return f'<tr><td align="left" bgcolor="{colour}">{text}</td></tr>'


def _named(items: Sequence[Item], whole: str) -> str:
    shape = " &#215; ".join(map(str, items[0].shape)) or "scalar"
    return f'{html.escape(shown([item.path for item in items], whole))} <font color="{_GREY}">{shape}</font>'


def shown(paths: Sequence[Path], whole: str) -> str:
    """`layers[0].r.V`, or `layers[1...19].r.V` for several; `state[0]` or `the state` where no name comes first."""
    text = whole if paths[0] and isinstance(paths[0][0], int) else ""
    for keys in zip(*paths, strict=True):
        if isinstance(keys[0], int):
            text += f"[{keys[0]}]" if len({*keys}) == 1 else f"[{keys[0]}...{keys[-1]}]"
        else:
            text += f".{keys[0]}" if text else str(keys[0])
    return text or f"the {whole}"


def _arrow(line: Line) -> str:
    colour = _RED if line.is_dropped else (_DARK if line.has_derivative else _GREY)
    style = "dashed" if line.is_past else ("solid" if line.has_derivative else "dotted")
    attributes = f'color="{colour}", fontcolor="{colour}", style="{style}"'
    words = _words(line)
    if words:
        attributes += f", label=<{'<br/>'.join(f' {html.escape(word)} ' for word in words)}>"
    if line.is_chain:
        attributes += ", tailport=w, headport=w"
    if line.is_past and line.source != line.target:
        attributes += ", constraint=false"
    return f"n{line.source} -> n{line.target} [{attributes}];"


def _words(line: Line) -> list[str]:
    said = {"to the next": line.is_chain, "state before": line.is_past, "no derivative": not line.has_derivative}
    return [*(words for words, here in said.items() if here), *map(_short, line.where)]


def _short(where: str) -> str:
    what, _, line = where.partition(" at ")
    operation = what.split(" ")[0]
    return f"{operation}, {line.split(' (')[0]}" if line else what


def _caption(picture: Picture) -> str:
    items = itertools.chain.from_iterable(row for box in picture.boxes for row in box.parameters)
    used = {item.status for item in items}
    keys = [_key(status, _LEGEND[status], _COLOURS[status]) for status in _LEGEND if status in used]
    if any(part.is_dropped for part in (*picture.lines, *picture.boxes)):
        keys.append(_key(f'<font color="{_RED}">red</font>', "credit that is dropped beyond the window"))
    if any(line.is_past for line in picture.lines):
        keys.append(_key("dashed", "reads the state of the step before"))
    title = f'<tr><td colspan="2" align="left"><b>{html.escape(picture.caption)}</b></td></tr>'
    return f'<table border="0" cellborder="0" cellspacing="2">{title}{"".join(keys)}</table>'


def _key(word: str, meaning: str, colour: str = "white") -> str:
    return f'<tr><td bgcolor="{colour}">{word}</td><td align="left">{meaning}</td></tr>'

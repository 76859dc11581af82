"""Formulas are typeset when the pages are built: a browser needs no network to show them."""

import re
from html import unescape
from typing import Any

from latex2mathml.converter import convert

_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def on_page_content(html: str, **_: Any) -> str:
    """Called by mkdocs: `arithmatex` marks the formulas, MathML takes their place."""
    return _FORMULA.sub(_typeset, html)


def _typeset(found: re.Match[str]) -> str:
    display = "inline" if found[1] == "span" else "block"
    return (
        f'<{found[1]} class="formula">{convert(unescape(found[2]), display=display)}</{found[1]}>'
    )

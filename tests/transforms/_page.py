"""The table of the page."""

import pathlib

from ._setting import RULES
from ._table import CELLS, NO_DECAY, REFUSED

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "transforms.md"


def table() -> str:
    """A row for every transform, a column for every rule."""
    head = f"| | {' | '.join(f'`{name}`' for name in RULES)} |\n|---|{'---|' * len(RULES)}"
    return "\n".join([head, *map(_row, CELLS)])


def _row(transform: str) -> str:
    return f"| {transform} | {' | '.join(_cell(name, transform) for name in RULES)} |"


def _cell(name: str, transform: str) -> str:
    if (name, transform) in REFUSED:
        return "refused"
    return "-" if transform == "`vmap` over decays" and name in NO_DECAY else "yes"

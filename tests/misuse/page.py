"""The page of answers, `docs/errors.md`, made of what is said."""

import re
import textwrap
from collections.abc import Mapping

from .case import Case, CASES

TEXT = """# What is said of a wrong use

An error says what was found, where, why it cannot work, and what to do. The tests make {count} wrong uses, one after
the other, and read the answers as a user gets them. {right} of them have one meaning only, and are accepted. There the
tests compare the result with the right one.

| kind | uses | accepted, and right |
|---|---|---|
{rows}

What Python itself says, of an argument that is left out or of a method that is called on a class, stands as it is.

## One example of each kind

{examples}
The table and the answers are written by `PYTHONPATH=tests python -m misuse.write`. A test compares the page with what
is said.
"""

_LINES = textwrap.TextWrapper(104, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)


def _example(case: Case, says: str) -> str:
    plain = re.sub(r"\n-{20}\n[^\n]*", "", says).strip()
    said = f"{case.error.__name__ if case.error else ''}: {plain}"
    lines = "\n".join(_LINES.fill(line) for line in said.splitlines())
    title = f"**{case.kind[:1].upper()}{case.kind[1:]}**: {case.name}."
    return f"{title}\n\n```text\n{lines}\n```\n"


def page(answers: Mapping[str, Mapping[str, str]]) -> str:
    """All of it."""
    rows, examples = [], []
    for kind in dict.fromkeys(case.kind for case in CASES.values()):
        mine = [case for case in CASES.values() if case.kind == kind]
        rows.append(f"| {kind} | {len(mine)} | {sum(case.error is None for case in mine)} |")
        first = next(case for case in mine if case.error is not None)
        examples.append(_example(first, answers[first.name]["says"]))
    right = sum(case.error is None for case in CASES.values())
    return TEXT.format(count=len(CASES), right=right, rows="\n".join(rows), examples="\n".join(examples))

"""Write `docs/errors.md`: `PYTHONPATH=tests python -m misuse.write`."""

import pathlib

from . import CASES
from .page import page

if __name__ == "__main__":
    answers = {name: case.answer() for name, case in CASES.items()}
    (pathlib.Path(__file__).parents[2] / "docs" / "errors.md").write_text(page(answers))

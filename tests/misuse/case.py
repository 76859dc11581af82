"""A case: a wrong use, and what its answer must say."""

import dataclasses
import json
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Case:
    """One wrong use. Each text must be in the answer; one that is empty is not asked for."""

    kind: str
    name: str
    use: Callable[[], Any]
    error: type[Exception] | None
    """None: the use is accepted, and gives a pair, what came out and what is right."""
    found: str = ""
    why: str = ""
    do: str = ""
    where: str = ""
    """The line or the name of the user's step, where that is the cause."""

    def answer(self) -> dict[str, str]:
        """What a user is told: the type of the error, and the message with its notes."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                result = self.use()
        except Exception as error:
            kind = type(error) if self.error is None or not isinstance(error, self.error) else self.error
            return {"type": kind.__name__, "says": "\n".join([str(error), *getattr(error, "__notes__", [])])}
        if self.error is not None:
            return {"type": "nothing", "says": "It was accepted."}
        got, right = result
        same = np.allclose(np.asarray(got, float), np.asarray(right, float), rtol=1e-5, atol=1e-6)
        return {"type": "accepted", "says": "right" if same else f"wrong: {got} in place of {right}"}


CASES: dict[str, Case] = {}


def _add(case: Case) -> None:
    assert case.name not in CASES, case.name
    CASES[case.name] = case


def wrong(kind: str, error: type[Exception], *, found: str, do: str, why: str = "", where: str = "") -> Any:
    """A use that must be refused. Its name is that of the function."""

    def named(use: Callable[[], Any]) -> Callable[[], Any]:
        _add(Case(kind, use.__name__.replace("_", " "), use, error, found, why, do, where))
        return use

    return named


def accepted(kind: str) -> Any:
    """A use that looks wrong, and has one meaning: it gives what came out, and what is right."""

    def named(use: Callable[[], Any]) -> Callable[[], Any]:
        _add(Case(kind, use.__name__.replace("_", " "), use, None))
        return use

    return named


def main() -> None:
    """Print the answers of all cases, as JSON."""
    json.dump({name: case.answer() for name, case in CASES.items()}, sys.stdout)

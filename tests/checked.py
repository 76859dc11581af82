"""beartype, asked once per signature: what checks the types of the library in every test.

A function inside a function is decorated whenever its `def` runs, a few hundred times in a second of tracing, and
beartype writes and compiles a check each time. What jaxtyping hands to a type checker is no such function but a stub
of its signature, so one check serves all that were defined in one place with one signature.
"""

import inspect
from collections.abc import Callable
from typing import Any

from beartype import beartype

_checks: dict[tuple[str, str, str], Callable[..., Any]] = {}


def checked(stub: Callable[..., Any]) -> Callable[..., Any]:
    signature = (stub.__module__, stub.__qualname__, str(inspect.signature(stub)))
    if signature not in _checks:
        _checks[signature] = beartype(stub)
    return _checks[signature]

"""Beartype, one check for all functions that look alike.

jaxtyping's import hook decorates functions inside functions, too, and does so each time that these are made. What it
hands over is a stand-in that has the signature and nothing else. To make its check takes milliseconds, and a third of
the time of the tests went there. So stand-ins of one name and one signature share their check.
"""

from collections.abc import Callable
from typing import Any

from beartype import beartype

_checks: dict[Any, Callable[..., Any]] = {}


def checked(stand_in: Callable[..., Any]) -> Callable[..., Any]:
    code = stand_in.__code__
    if code.co_filename != "<string>" or stand_in.__closure__ is not None:
        return beartype(stand_in)
    looks = (stand_in.__module__, stand_in.__qualname__, code, tuple(stand_in.__annotations__.items()))
    try:
        hash(looks)
    except TypeError:
        return beartype(stand_in)
    if looks not in _checks:
        _checks[looks] = beartype(stand_in)
    return _checks[looks]

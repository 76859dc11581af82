"""Lines of the user's code, for reports and errors: `file.py:12 (function)`."""

import contextlib
import functools
import importlib.util
import inspect
import itertools
import os
import re
import traceback
from typing import Any

import equinox
import jax
import jaxtyping
from jax.extend.source_info_util import summarize as _summarize

from . import _jax


def _home(module: Any) -> str:
    return os.path.dirname(module.__file__) + os.sep


def _installed(package: str) -> list[str]:
    """Where an optional package is, if it is; it is not imported."""
    spec = importlib.util.find_spec(package)
    return list(spec.submodule_search_locations or ()) if spec else []


# A user wants the line of *their* code that made an equation, not the line in a layer they called.
_FOREIGN = (
    *(_home(module) for module in (jax, equinox, jaxtyping)),
    *_installed("saiunit"),
    os.path.dirname(__file__) + os.sep,
    contextlib.__file__,
    functools.__file__,
    "<@beartype",
    "<frozen",
)

_INSTALLED = re.compile(r"[/\\](site|dist)-packages[/\\]")
_STAGING = os.path.join(os.path.dirname(__file__), "_read") + os.sep
"""What calls the user's step: all further out is no part of it."""


def is_foreign(params: dict[str, Any]) -> bool:
    """Is the function that a call-like equation runs one of an installed package, such as `jnp.roll`?

    Their jaxprs are cached, and so carry the lines of the first call: the line of this call is that of the equation.
    """
    debug_info = getattr(_jax.opened(params.get("jaxpr", params.get("call_jaxpr")))[0], "debug_info", None)
    file = getattr(debug_info, "func_filename", None) or "<frozen"
    return file.startswith(_FOREIGN) or bool(_INSTALLED.search(file))


def source_line(eqn: Any) -> str:
    """`file.py:12 (function)`: the innermost frame of user code behind an equation; nothing if it is this package's.

    Of what an installed package does, its own line, then the user's: `layer.py:7 (call), called at file.py:12 (step)`.
    """
    frames = getattr(getattr(eqn.source_info, "traceback", None), "frames", ())
    inside = itertools.takewhile(lambda frame: not frame.file_name.startswith(_STAGING), frames)
    theirs = [frame for frame in inside if not frame.file_name.startswith(_FOREIGN)]
    if not theirs:
        known = _summarize(eqn.source_info)
        return "" if os.path.dirname(__file__) in known else known
    user = next((frame for frame in theirs if not _INSTALLED.search(frame.file_name)), theirs[0])
    return _shown(user) if user is theirs[0] else f"{_shown(theirs[0])}, called at {_shown(user)}"


def raised_at(error: BaseException) -> str:
    """`file.py:12 (function)`: the innermost line of the user's behind an error; nothing if there is none."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [f for f in frames if not f.filename.startswith(_FOREIGN) and not _INSTALLED.search(f.filename)]
    return f"{os.path.basename(theirs[-1].filename)}:{theirs[-1].lineno} ({theirs[-1].name})" if theirs else ""


def _shown(frame: Any) -> str:
    return f"{os.path.basename(frame.file_name)}:{frame.line_num} ({frame.function_name})"


def definition_line(function: Any) -> str:
    """`name (file.py:12)`: where a user's function is defined."""
    inner = getattr(function, "__func__", function)
    name = getattr(inner, "__name__", type(function).__name__)
    code = getattr(inspect.unwrap(inner) if callable(inner) else inner, "__code__", None)
    return f"`{name}`" if code is None else f"`{name}` ({os.path.basename(code.co_filename)}:{code.co_firstlineno})"

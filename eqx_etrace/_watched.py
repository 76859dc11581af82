"""Who watches layers at work: what reads a step as a network of layers, and not as arithmetic."""

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
Watcher = Callable[[Callable[..., Any], tuple[Any, ...]], Any]
"""Is given a method and its arguments, `self` first, and returns what the method would, or what stands for it."""

_watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


def watched(method: Callable[P, T]) -> Callable[P, T]:
    """A method whose calls are handed to whoever watches. Calls that it makes itself are not."""

    @functools.wraps(method)
    def called(*args: P.args, **kwargs: P.kwargs) -> T:
        watcher = _watcher.get()
        if watcher is None:
            return method(*args, **kwargs)
        given = inspect.signature(method).bind(*args, **kwargs)
        with watching(None):
            return watcher(method, given.args)

    return called


@contextlib.contextmanager
def watching(watcher: Watcher | None) -> Iterator[None]:
    """Calls of watched methods go to this one meanwhile, in this thread."""
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)

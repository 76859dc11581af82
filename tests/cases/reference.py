"""What BPTT gives on a case: once per process, for every rule and window that is compared with it."""

import functools
from typing import Any

from oracle import bptt, by_path

from .table import CASES


@functools.cache
def reference(name: str) -> dict[tuple[Any, ...], Any]:
    """The gradient of the summed losses, by path."""
    loss_step, model, state, inputs = CASES[name].build()
    return by_path(bptt(loss_step, model, state, *inputs))

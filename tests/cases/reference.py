"""What a case gives without the library: once per process, for every rule and window that is compared with it."""

import functools
from typing import Any

from oracle import bptt, by_path
from oracle import trajectory as roll

from .table import CASES


@functools.cache
def reference(name: str) -> dict[tuple[Any, ...], Any]:
    """The gradient of the summed losses, by path."""
    loss_step, model, state, inputs = CASES[name].build()
    return by_path(bptt(loss_step, model, state, *inputs))


@functools.cache
def trajectory(name: str) -> tuple[Any, Any]:
    """The losses, and the state after each step."""
    loss_step, model, state, inputs = CASES[name].build()
    return roll(loss_step, model, state, *inputs)

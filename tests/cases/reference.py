"""What a case gives without the library: once per process, for every rule and window that is compared with it."""

import functools
from typing import Any

import equinox as eqx
from oracle import by_path, rollout

from .table import CASES


@functools.cache
def _bptt(name: str) -> tuple[Any, Any]:
    loss_step, model, state, inputs = CASES[name].build()

    @eqx.filter_jit
    def run(model):
        def total(model):
            losses, states = rollout(loss_step, model, state, *inputs)
            return losses.sum(), (losses, states)

        return eqx.filter_grad(total, has_aux=True)(model)

    return run(model)


def reference(name: str) -> dict[tuple[Any, ...], Any]:
    """The gradient of the summed losses, by path."""
    return by_path(_bptt(name)[0])


def trajectory(name: str) -> tuple[Any, Any]:
    """The losses, and the state after each step."""
    return _bptt(name)[1]

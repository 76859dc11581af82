"""Which of many cases are run when, so that all of them take a bearable time."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest

import eqx_etrace as etr


def runs(steps: Iterable[Callable[..., Any]]) -> list[Any]:
    """(step, rule): all under `DRTRL`, every third under `RTRL`; the others are slow. Every second on both JAX ends."""
    params = []
    for number, step in enumerate(steps):
        beyond = [] if number % 2 == 0 else [pytest.mark.outside_sample]
        by_blocks = [pytest.mark.outside_sample] if number % 3 == 0 else [pytest.mark.slow]
        params.append(pytest.param(step, etr.DRTRL(), id=f"{step.__name__}-DRTRL", marks=beyond))
        params.append(pytest.param(step, etr.RTRL(), id=f"{step.__name__}-RTRL", marks=by_blocks))
    return params

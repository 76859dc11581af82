"""Steps that must be exact at the size of need, and which of them are run when."""

import functools
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax.flatten_util import ravel_pytree
from oracle import bptt

import eqx_etrace as etr


def error(found: Any, expected: Any) -> float:
    """Of all arrays together, relative."""
    found, expected = ravel_pytree(found)[0], ravel_pytree(expected)[0]
    return float(jnp.linalg.norm(found - expected) / jnp.linalg.norm(expected))


def runs(steps: Iterable[Callable[..., Any]]) -> list[Any]:
    """(step, rule): all under `DRTRL`, every third under `RTRL`; the others are slow. Every second on both JAX ends."""
    params = []
    for number, step in enumerate(steps):
        beyond = [] if number % 2 == 0 else [pytest.mark.outside_sample]
        by_blocks = [pytest.mark.outside_sample] if number % 3 == 0 else [pytest.mark.slow]
        params.append(pytest.param(step, etr.DRTRL(), id=f"{step.__name__}-DRTRL", marks=beyond))
        params.append(pytest.param(step, etr.RTRL(), id=f"{step.__name__}-RTRL", marks=by_blocks))
    return params


def check_exact(step: Callable[..., Any], rule: Any, m: Any, state: Any, xs: Any, need: int) -> None:
    """Called exact, equal to BPTT at windows 0, 1, 3 and all steps, at most at twice the numbers that a trace needs."""
    online = etr.etrace_grad(step, rule)
    report = online.graph(m, state, xs[0]).report(rule)
    assert all(row.exact for row in report.rows)
    assert report.trace_bytes <= 2 * need * xs.dtype.itemsize
    start, wanted = online.init(m, state, xs[0]), bptt(step, m, state, xs)
    for window in (0, 1, 3, len(xs)):
        found, *_ = jax.jit(functools.partial(online.scan, window=window))(m, state, start, xs)
        assert error(found, wanted) < 1e-9, window

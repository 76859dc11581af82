"""A function for each of many arguments at once, or one after the other."""

from collections.abc import Callable
from typing import Any

import jax


def for_each(function: Callable[..., Any]) -> Callable[..., Any]:
    """`jax.vmap`, or `jax.lax.map` where there is an operation that JAX cannot batch (a sparse solve, a callback)."""

    def run(stacked: Any) -> Any:
        try:
            return jax.vmap(function)(stacked)
        except NotImplementedError:
            return jax.lax.map(function, stacked)

    return run

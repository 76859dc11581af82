"""The operations that random steps are made of.

Each takes a context, which gives it weights and inputs, two arrays of any shape and an integer that varies it. It
returns one array of any shape. All arrays are float64, or complex128 for the operations in `COMPLEX`.
"""

import functools
from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np


class Context(Protocol):
    """Where weights and inputs come from."""

    def weight(self, k: int, shape: tuple[int, ...], dtype: Any = float) -> jax.Array: ...

    @property
    def flag(self) -> jax.Array:
        """A boolean input."""
        ...

    @property
    def index(self) -> jax.Array:
        """An integer input, 0, 1 or 2."""
        ...


Operation = Callable[[Context, jax.Array, jax.Array, int], jax.Array]
OPERATIONS: dict[str, Operation] = {}
COMPLEX: set[str] = set()
NONLINEAR = {"clipped_cotangent"}
"""Operations whose backward rule is not linear in the cotangent: no Jacobian follows them."""


def real(x: jax.Array, k: int = 0) -> jax.Array:
    """A real view of x."""
    if not jnp.iscomplexobj(x):
        return x
    return (jnp.real, jnp.imag, lambda z: jnp.real(z * jnp.conj(z)))[k % 3](x)


def kind_of(a: jax.Array, b: jax.Array) -> Any:
    """The dtype that holds both."""
    return complex if jnp.iscomplexobj(a) or jnp.iscomplexobj(b) else float


def like(x: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """x in another shape: its elements in order, from the first again where there are too few."""
    size = int(np.prod(shape))
    return x if x.shape == shape else jnp.ravel(x)[np.arange(size) % x.size].reshape(shape)


def operation(f: Operation) -> Operation:
    """Enter f, which takes real arrays."""

    @functools.wraps(f)
    def on_real(c: Context, a: jax.Array, b: jax.Array, k: int) -> jax.Array:
        return f(c, real(a, k), real(b, k + 1), k)

    OPERATIONS[f.__name__] = on_real
    return f


def complex_operation(f: Operation) -> Operation:
    """Enter f, which takes real or complex arrays."""
    COMPLEX.add(f.__name__)
    OPERATIONS[f.__name__] = f
    return f

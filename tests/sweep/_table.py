"""What an operation of the sweep is, and how one is entered: a name, a function of one array, on one line."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


@dataclasses.dataclass(frozen=True)
class Operation:
    """A function of one real array of float64, by a name."""

    name: str
    function: Callable[[jax.Array], jax.Array]
    shape: tuple[int, ...]
    shift: float
    """It is met with values between `shift - 1` and `shift + 1`."""
    tolerance: float
    """Of gradients, relative to the largest element."""
    refused: bool
    """JAX has no reverse mode for it, on one version at least."""
    unfollowed: bool
    """Its derivative rule is not linear, and so no Jacobian follows it."""

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.function(x + self.shift)


OPERATIONS: dict[str, Operation] = {}


def on(
    shape: tuple[int, ...],
    shift: float = 0.0,
    *,
    tolerance: float = 1e-9,
    refused: bool = False,
    unfollowed: bool = False,
    **functions: Callable[[Any], Any],
) -> None:
    """Enter operations on arrays of one shape into the table."""
    for name, function in functions.items():
        assert name not in OPERATIONS, name
        OPERATIONS[name] = Operation(name, function, shape, shift, tolerance, refused, unfollowed)


def constant(*shape: int, seed: int = 0) -> jax.Array:
    """Numbers without a pattern, none of them near zero."""
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.choice([-1.0, 1.0], shape) * (0.3 + rng.random(shape)))


def complex_constant(*shape: int) -> jax.Array:
    return jax.lax.complex(constant(*shape, seed=1), constant(*shape, seed=2))


def through_complex(function: Callable[[jax.Array], jax.Array]) -> Callable[[jax.Array], jax.Array]:
    """A complex function between real arrays: the two halves along the leading axis."""

    def between(x: jax.Array) -> jax.Array:
        return both(function(jax.lax.complex(x[0], x[1])))

    return between


def both(z: jax.Array) -> jax.Array:
    """The two halves of a complex array along a new leading axis."""
    return jnp.stack([jnp.real(z), jnp.imag(z)])

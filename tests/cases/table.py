"""What a case is, and the small words that cases are written in."""

import dataclasses
import functools
import zlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

N, F, T, B = 4, 3, 6, 2
"""Units, inputs, steps, batch lanes."""

Build = Callable[["Draw"], tuple[Callable[..., Any], Any, Any, tuple[Any, ...]]]


class Draw:
    """Normal random arrays from a seed."""

    def __init__(self, name: str):
        self.rng = np.random.default_rng(zlib.crc32(name.encode()))

    def __call__(self, *shape: int, scale: float = 0.7) -> jax.Array:
        return jnp.asarray(scale * self.rng.standard_normal(shape))

    def key(self) -> jax.Array:
        return jax.random.key(int(self.rng.integers(2**31)))


@dataclasses.dataclass(frozen=True)
class Case:
    """A step with inputs over time."""

    name: str
    builder: Build
    exact: bool | dict[str, bool]
    """Is each parameter exact under D-RTRL? A dict goes by the first element of the path."""
    dropped: str
    """The operation that the report must name for the parameters that are not."""
    fires: Callable[[Any], Any] | None
    """From a state to who spikes, for spiking models."""

    def build(self) -> tuple[Callable[..., Any], Any, Any, tuple[Any, ...]]:
        return self._built

    @functools.cached_property
    def _built(self) -> tuple[Callable[..., Any], Any, Any, tuple[Any, ...]]:
        return self.builder(Draw(self.name))

    def is_exact(self, path: tuple[Any, ...]) -> bool:
        return self.exact if isinstance(self.exact, bool) else self.exact[path[0]]

    def __str__(self) -> str:
        return self.name


CASES: dict[str, Case] = {}


def case(
    exact: bool | dict[str, bool] = True, *, dropped: str = "", fires: Callable[[Any], Any] | None = None
) -> Callable[[Build], Build]:
    """Enter a builder into the table, under its own name."""

    def enter(builder: Build) -> Build:
        assert builder.__name__ not in CASES
        CASES[builder.__name__] = Case(builder.__name__, builder, exact, dropped, fires)
        return builder

    return enter


def supervised(cell: Callable[..., Any]) -> Callable[..., Any]:
    """`cell(model, state, x) -> (out, state)` with a squared error."""

    def loss_step(model, state, x, y):
        out, state = cell(model, state, x)
        return jnp.mean((out - y) ** 2), state

    return loss_step


def leaky(drive: Callable[[Any, Any], Any], model: Any, draw: Draw, *, inputs: tuple = (F,), states: tuple = (N,)):
    """A leaky integrator of `drive(model, x)`: what varies is how the parameters make the drive."""

    def cell(model, h, x):
        h = 0.8 * h + drive(model, x)
        return jnp.tanh(h), h

    return supervised(cell), model, draw(*states), (draw(T, *inputs), draw(T, *states))


def series(draw: Draw, inputs: tuple = (F,), outputs: tuple = (N,)) -> tuple[jax.Array, jax.Array]:
    """Inputs and targets over time."""
    return draw(T, *inputs), draw(T, *outputs)

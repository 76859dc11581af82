"""States and inputs of layers, and what to say where they do not fit."""

import functools
import inspect
import operator
from typing import Any

import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array

from .._given import a, in_words


def lanes(batch: int | tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a batch, which may be one number."""
    return batch if isinstance(batch, tuple) else (batch,)


def zeros(shape: Any, dtype: Any = None) -> Array:
    """Of a state: of this shape, and of a dtype that carries derivatives, JAX's default float if None."""
    return jnp.zeros(_checked(shape), _floating(dtype))


def ones(shape: Any, dtype: Any = None) -> Array:
    """As `zeros`."""
    return jnp.ones(_checked(shape), _floating(dtype))


def _floating(dtype: Any) -> Any:
    if dtype is not None and not jnp.issubdtype(dtype, jnp.inexact):
        raise TypeError(
            f"`dtype` is {jnp.dtype(dtype)}; a state carries derivatives, and must be of floats, such as `jnp.float32`."
        )
    return dtype


def _checked(shape: Any) -> Any:
    advice = "it must be one of integers: `init_state(n)`, `init_state((batch, n))`, or `init_state(x.shape)`."
    for n in shape if isinstance(shape, tuple | list) else (shape,):
        if isinstance(n, bool) or not hasattr(n, "__index__") or jnp.shape(n) != ():
            raise TypeError(f"The shape of a state has {in_words(n)}; {advice}")
        if not isinstance(n, Tracer) and operator.index(n) < 0:
            raise ValueError(f"The shape of a state has {n}, which is below zero; {advice}")
    return shape


@functools.cache
def _kind(layer: type) -> type | None:
    """The class of a layer's state, as its `init_state` says; None if that is no class."""
    kind = inspect.get_annotations(layer.init_state).get("return")  # pyright: ignore[reportAttributeAccessIssue]
    return kind if isinstance(kind, type) and issubclass(kind, tuple) else None


def check_state(layer: Any, state: Any, x: Any = None) -> None:
    """Is this the state of such a layer, and not that of another, which may have fields of the same names?"""
    kind, name = _kind(type(layer)), type(layer).__name__
    if kind is None or isinstance(state, kind):
        return
    swapped = " They are the wrong way round." if isinstance(x, kind) else ""
    raise TypeError(
        f"The state of `{name}` is {in_words(state)}; it must be {a(kind.__name__)}, which `init_state` of this layer "
        f"makes, or its last step returned. A layer takes `(input, state)`.{swapped}"
    )


def check_fits(what: str, x: Any, state: Any) -> None:
    """Does an input of this shape, which may broadcast, leave the state in its shape?"""
    given, held = jnp.shape(x), jnp.shape(state)
    front = (1,) * (len(held) - len(given))
    if len(given) > len(held) or any(n not in (1, m) for n, m in zip((*front, *given), held, strict=True)):
        raise ValueError(
            f"The {what} has the shape {list(given)} and the state {list(held)}. Make the state by "
            f"`init_state({given})`: for as many units, and lanes, as the {what} has."
        )


def check_line(x: Any, line: Any, slots: int) -> None:
    """Has this delay line so many slots, each for an input like this?"""
    if jnp.shape(line) != (slots, *jnp.shape(x)):
        raise ValueError(
            f"The input has the shape {list(jnp.shape(x))}, so the line must be {[slots, *jnp.shape(x)]}; it is "
            f"{list(jnp.shape(line))}. Make the state by `init_state(x.shape)` of this delay."
        )


def check_lanes(cell: Any, x: Any, state: Any, in_size: int, units: int) -> None:
    """Has the input of a cell as many features as the cell takes, and its state as many units and lanes?"""
    name = type(cell).__name__
    for what, value in (("input", x), ("state", state)):
        if not hasattr(value, "shape"):
            raise TypeError(
                f"The {what} of `{name}` is {in_words(value)}; it must be an array. A cell takes `(x, state)`, and "
                "`init_state` of this cell makes the state."
            )
    given, held = jnp.shape(x), jnp.shape(state)
    if not given or given[-1] != in_size:
        raise ValueError(f"`{name}` takes {in_size} inputs, [*batch, {in_size}]; found the shape {list(given)}.")
    if held[-1:] != (units,):
        raise ValueError(
            f"The state of `{name}` has the shape {list(held)}, and the cell {units} units: [*batch, {units}]. Make "
            f"the state by `init_state` of this cell."
        )
    if given[:-1] != held[: len(given) - 1] or len(held) < len(given):
        raise ValueError(
            f"The input of `{name}` has the shape {list(given)} and its state {list(held)}: their lanes differ. Make "
            f"the state by `init_state(batch={given[:-1]})`."
        )

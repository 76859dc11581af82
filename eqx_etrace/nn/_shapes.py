"""Shapes of states and inputs, and what to say where they do not fit."""

from typing import Any

import jax.numpy as jnp


def lanes(batch: int | tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a batch, which may be one number."""
    return batch if isinstance(batch, tuple) else (batch,)


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


def check_lanes(cell: Any, x: Any, state: Any, in_size: int) -> None:
    """Has the input of a cell as many features as the cell takes, and as many lanes as the state?"""
    given, held = jnp.shape(x), jnp.shape(state)
    name = type(cell).__name__
    if not given or given[-1] != in_size:
        raise ValueError(f"`{name}` takes {in_size} inputs, [*batch, {in_size}]; found the shape {list(given)}.")
    if given[:-1] != held[: len(given) - 1] or len(held) < len(given):
        raise ValueError(
            f"The input of `{name}` has the shape {list(given)} and its state {list(held)}: their lanes differ. Make "
            f"the state by `init_state(batch={given[:-1]})`."
        )

"""What a model, a state and inputs are made of: arrays that JAX knows, and no objects that hide some."""

import dataclasses
import inspect
from typing import Any

import equinox as eqx
import jax.numpy as jnp

from ..._given import a, in_words
from ._pytree import Layout


def check_leaves(where: str, model: Layout, state: Layout, inputs: Layout) -> None:
    """Is every array seen by JAX, and one that JAX can compute with?"""
    for what, layout in (("the model", model), ("the state", state), ("the inputs", inputs)):
        for path, array, static in zip(layout.paths, layout.arrays, layout.static, strict=True):
            here = f"The leaf {path} of {what}" if path else f"{what[:1].upper()}{what[1:]}"
            if array is not None:
                _check_dtype(here, where, array.dtype)
            elif static is not None:
                _check_static(here, where, static)


def _check_dtype(here: str, where: str, dtype: Any) -> None:
    """Is it one of numbers?"""
    if getattr(dtype, "kind", "") in tuple("OSUMm"):
        raise TypeError(
            f"{here} is an array of the dtype {dtype}, and the step {where} can compute with numbers "
            "alone. Make it one of floats: `jnp.asarray(x.astype(float))`."
        )


def _hidden(leaf: Any) -> list[str]:
    """The attributes of an object that are trained elsewhere: arrays of floats."""
    if isinstance(leaf, type) or inspect.isroutine(leaf) or callable(getattr(leaf, "__wrapped__", None)):
        return []
    return [name for name, value in getattr(leaf, "__dict__", {}).items() if _is_array_of_floats(value)]


def _is_array_of_floats(value: Any) -> bool:
    """Of any library that JAX takes arrays of; a Python float is none."""
    return eqx.is_inexact_array_like(value) and hasattr(value, "shape")


def _check_static(here: str, where: str, leaf: Any) -> None:
    """Is it no object that hides what is trained?"""
    hidden = _hidden(leaf)
    if not hidden:
        return
    kind = type(leaf).__name__
    register = (
        f" (Or register the dataclass: `jax.tree_util.register_dataclass({kind})`.)"
        if dataclasses.is_dataclass(leaf)
        else ""
    )
    raise ValueError(
        f"{here} is {a(kind)}, which is no pytree: JAX sees one object, and not the arrays in it, "
        f"{', '.join(f'`{name}`' for name in hidden)}. In the step {where} they would be constants, which are not "
        f"trained and carry no credit. Make `{kind}` an `equinox.Module`, a `NamedTuple` or a dict.{register}"
    )


def _is_array_of_integers(array: Any) -> bool:
    return array is not None and bool(jnp.issubdtype(array.dtype, jnp.integer))


def what_else(leaves: Layout) -> str:
    """Advice about a pytree without arrays of floats, by what it is."""
    only = leaves.static[0] if len(leaves.static) == 1 else None
    if isinstance(only, type):
        return f" It is {in_words(only)}: make one, `{only.__name__}(...)`."
    if any(isinstance(leaf, float) for leaf in leaves.static):
        return " Python floats are constants: make an array of them, `jnp.asarray(...)`."
    if any(map(_is_array_of_integers, leaves.arrays)):
        return " Make floats of integers: `x.astype(float)`."
    return ""

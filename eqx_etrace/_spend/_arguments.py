"""What a user passes beside the model: windows, inputs with a time axis, cotangents."""

import operator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jax.core import Tracer
from jaxtyping import Array, PyTree

from .._given import in_words
from .._read import Layout
from ._call import Arrays


def check_window(window: Any) -> int:
    """A window is a whole number of steps, not negative."""
    if isinstance(window, Tracer):
        raise TypeError(
            "`window` is traced; it must be known when the step is. Compile with `equinox.filter_jit`, for which a "
            "number is no array, or with `jax.jit(..., static_argnames='window')`, or give `window` to the transform."
        )
    try:
        if isinstance(window, bool):
            raise TypeError
        steps = operator.index(window)
    except TypeError:
        raise TypeError(
            f"`window` is {window!r}, of type {type(window).__name__}; it must be an integer: how many of the most "
            "recent steps are differentiated exactly (1: online; 0: the literature's estimator)."
        ) from None
    if steps < 0:
        raise ValueError(
            f"`window` is {steps}; it must not be negative. Use 1 for online learning, the length of the data for BPTT."
        )
    return steps


def time_steps(inputs: tuple[Any, ...]) -> int:
    """The length of the leading axis of every input."""
    arrays = [x for x in jax.tree.leaves(inputs) if eqx.is_array(x)]
    if not all(x.ndim for x in arrays) or not arrays:
        why = "one of them is a scalar and has no axis" if arrays else "there is no array among them"
        raise ValueError(
            f"`scan` runs over the leading time axis of its inputs, but {why}. Pass arrays with a leading time axis; "
            "close over what stays the same."
        )
    lengths = {x.shape[0] for x in arrays}
    if len(lengths) > 1:
        raise ValueError(
            f"The leading time axes of the inputs of `scan` differ: {_shapes(inputs)}. `scan` takes many steps: every "
            "array has a time axis first, of one length. For a single step call the transform itself."
        )
    if lengths == {0}:
        raise ValueError("The inputs of `scan` have a leading time axis of length 0; there is no step to take.")
    return lengths.pop()


def _shapes(inputs: tuple[Any, ...]) -> str:
    arrays = [(jtu.keystr(path), x.shape) for path, x in jtu.tree_leaves_with_path(inputs) if eqx.is_array(x)]
    return ", ".join(f"inputs{path} has shape {list(shape)}" for path, shape in arrays)


def split_cotangents(arrays: Arrays, layout: Layout, given: PyTree, what: str) -> Arrays:
    """The cotangents that a user gave for the inexact arrays of a pytree, as it is split; None stands for zero.

    That of z = a + ib stands for Re(ct dz), so that its halves belong to a and to -b.
    """
    leaves = _leaves(layout, given, what)
    is_inexact = [a is not None and jnp.issubdtype(a.dtype, jnp.inexact) for a in layout.arrays]
    wanted = [leaf for leaf, here in zip(leaves, is_inexact, strict=True) if here]
    values = jtu.tree_leaves(layout.join(arrays, None))
    cotangents = [_as_value(leaf, value, what) for leaf, value in zip(wanted, values, strict=True)]
    return layout.split([jnp.conj(ct) if layout.in_halves else ct for ct in cotangents])[0]


def _leaves(layout: Layout, given: PyTree, what: str) -> list[Any]:
    """One for each leaf of the pytree."""
    advice = f"The {what} cotangent must have the structure of the {what}, with an array or None for each leaf."
    try:
        leaves = layout.treedef.flatten_up_to(_filled(layout, given))
    except ValueError as error:
        raise ValueError(f"{advice} {error}") from None
    if not all(leaf is None or jtu.treedef_is_leaf(jtu.tree_structure(leaf)) for leaf in leaves):
        raise ValueError(f"{advice} Found {jtu.tree_structure(given)}, expected {layout.treedef}.")
    return leaves


def _filled(layout: Layout, given: PyTree) -> PyTree:
    """With None for every leaf of a subtree for which there is None."""
    whole = jtu.tree_unflatten(layout.treedef, range(len(layout.arrays)))
    try:
        return jtu.tree_map(
            lambda part, of: jtu.tree_map(lambda _: None, of) if part is None else part,
            given,
            whole,
            is_leaf=lambda part: part is None,
        )
    except ValueError:  # another structure: what it is, is said of the cotangent as it was given
        return given


def _as_value(given: Any, value: Array, what: str) -> Array:
    """One cotangent in the dtype of what it belongs to."""
    if given is not None and jnp.iscomplexobj(given) and not jnp.iscomplexobj(value):
        raise TypeError(f"The {what} cotangent has a complex leaf; there the {what} is real, {value.dtype}.")
    if given is not None and not eqx.is_array_like(given):
        raise TypeError(f"The {what} cotangent has the leaf {in_words(given)}; it must be an array, or None for zero.")
    cotangent = jnp.zeros_like(value) if given is None else jnp.asarray(given, value.dtype)
    if cotangent.shape != value.shape:
        raise ValueError(
            f"The {what} cotangent has a leaf of shape {cotangent.shape}; there the {what} has shape {value.shape}."
        )
    return cotangent

"""What a step must be, and what to say when it is not."""

import inspect
import typing
from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jax.core import Tracer
from jaxtyping import Array, PyTree

from ... import _jax
from ..._given import in_words
from ..program import dependence, Equation, Program, union
from ._leaves import what_else
from ._pytree import Layout, Path


def check_pair(result: Any, wanted: str) -> tuple[Any, Any]:
    """A tuple of two, or an error that begins with what was wanted."""
    if not (isinstance(result, tuple) and len(result) == 2):
        raise TypeError(f"{wanted}; it returned {_what(result)}.")
    return result


def _what(result: Any) -> str:
    if isinstance(result, tuple):
        more = " (what is to come out beside the loss goes in front: `((loss, aux), new_state)`, with `has_aux=True`)"
        return f"a tuple of {len(result)}{more if len(result) > 2 else ''}"
    if isinstance(result, list):
        return f"a list of {len(result)}"
    return f"one array, {_show(result)}" if hasattr(result, "aval") else in_words(result)


def check_arguments(where: str, model: Layout, state: Layout) -> None:
    """Is there something to train, and a state to carry credit?"""
    if not model.inexact_paths:
        raise ValueError(
            "The model holds no inexact (floating-point or complex) array, so there is nothing to train. "
            f"Its leaves are {describe(model)}. Parameters must be inexact arrays of the first argument of the step "
            f"{where}.{what_else(model)}"
        )
    if not state.inexact_paths:
        raise ValueError(
            f"The step {where} has no hidden state: its second argument holds no inexact (floating-point or complex) "
            f"array; its leaves are {describe(state)}. Eligibility traces carry credit through a state; "
            "for a step without one use `jax.grad`; make a Python float in the state an array, and cast integers."
            f"{what_else(state)}"
        )


def check_numbers(where: str, model: PyTree, layout: Layout) -> None:
    """Is what the model declares as a Python number still one?"""
    for (keys, leaf), path in zip(jtu.tree_leaves_with_path(model), layout.paths, strict=True):
        # `jnp.array(0.2)`, without a dtype, looks the same under `jax.jit`: the class must say which of them it is.
        if _may_be_traced_number(leaf) and _declares_number(model, keys):
            raise TypeError(
                f"The leaf {path} of the model is declared as a Python number, but reached the step {where} as "
                f"an array, {_show(leaf)}, and arrays are trained. `jax.jit`, another transform or the carry of a loop "
                "made it one. Let it stay a number: make it `equinox.field(static=True)`; or compile with "
                "`equinox.filter_jit`, and carry only the arrays (`equinox.partition(model, equinox.is_array)`) or "
                "close over the model. If it is to be trained, give it a dtype: `jnp.array(value, dtype)`."
            )


def _may_be_traced_number(leaf: Any) -> bool:
    """Does it look as a Python float or complex does under a transform?"""
    is_scalar = isinstance(leaf, Tracer) and leaf.shape == () and jax.typeof(leaf).weak_type
    return is_scalar and bool(jnp.issubdtype(leaf.dtype, jnp.inexact))


def _declares_number(tree: PyTree, keys: Sequence[Any]) -> bool:
    """Is this leaf an attribute that its class annotates as a number and nothing else?"""
    if not keys or not isinstance(keys[-1], jtu.GetAttrKey):
        return False
    if any(isinstance(key, jtu.FlattenedIndexKey) for key in keys[:-1]):
        return False
    for key in keys[:-1]:
        tree = getattr(tree, key.name) if isinstance(key, jtu.GetAttrKey) else tree[_index(key)]
    annotations = [inspect.get_annotations(cls).get(keys[-1].name) for cls in type(tree).__mro__]
    return next((_is_number(a) for a in annotations if a is not None), False)


def _index(key: Any) -> Any:
    return key.key if isinstance(key, jtu.DictKey) else key.idx


def _is_number(annotation: Any) -> bool:
    if isinstance(annotation, str):
        names = {name.strip() for name in annotation.split("|")}
    else:
        names = {getattr(kind, "__name__", "") for kind in typing.get_args(annotation) or (annotation,)}
    return names <= {"int", "float", "complex", "None", "NoneType"}


def describe(layout: Layout) -> str:
    """The leaves of a pytree, in words."""
    leaves = zip(layout.paths, layout.arrays, layout.static, strict=True)
    shown = [
        f"{path or '<all of it>'}: {_show(array) if array is not None else repr(static)}"
        for path, array, static in leaves
    ]
    return ", ".join(shown[:8]) + (", ..." if len(shown) > 8 else "") if shown else "none"


def _show(array: Any) -> str:
    return f"{array.dtype}{list(array.shape)}"


def check_returned(where: str, state: PyTree, out: PyTree, new_state: PyTree) -> None:
    """Is what a step returned an output and a new state, in this order?"""
    old, new, first = (Layout.of(tree, in_halves=True) for tree in (state, new_state, out))
    if _is_like(old, first) and not _is_like(old, new):
        raise ValueError(
            f"The step {where} returned its pair the wrong way round: what comes first, {describe(first)}, is a state, "
            f"and what comes second, {describe(new)}, is none. Return `(out, new_state)`."
        )
    check_state(where, old, new)


def _is_like(one: Layout, other: Layout) -> bool:
    return one.treedef == other.treedef and one.arrays == other.arrays


def check_state(where: str, old: Layout, new: Layout) -> None:
    """Is the state the same pytree of shapes and dtypes after the step?"""
    if old.treedef != new.treedef:
        raise ValueError(
            f"The state changes its structure across the step {where}, so there is nothing to carry "
            f"from one step to the next. It went in as\n    {old.treedef}\nand came out as\n    {new.treedef}\n"
            "Return the new state in the structure of the old one, second of the pair `(out, new_state)`."
        )
    for path, before, after, was, now in zip(old.paths, old.arrays, new.arrays, old.static, new.static, strict=True):
        if before is None and after is None:
            if was is not now and was != now:
                raise ValueError(
                    f"{_named(path)}, which is static, changes across the step {where}, from {was!r} to {now!r}. "
                    "Make it an array (`jnp.asarray`) if it is to change."
                )
        elif before is None or after is None:
            raise TypeError(
                f"{_named(path)} is {_leaf(before, was)} before the step {where} and "
                f"{_leaf(after, now)} after it. Make it an array (`jnp.asarray`) in the initial state."
            )
        elif before.shape != after.shape:
            raise ValueError(
                f"{_named(path)} changes its shape across the step {where}, from {before.shape} to {after.shape}. "
                "A hidden state keeps its shape, and comes second of the pair `(out, new_state)`; give the "
                "initial state the shape that the step returns."
            )
        elif before.dtype != after.dtype:
            raise TypeError(
                f"{_named(path)} changes its dtype across the step {where}, "
                f"from {before.dtype} to {after.dtype}. "
                "Give the initial state that dtype, or cast inside the step."
            )


def _named(path: Path) -> str:
    return f"The leaf {path} of the state" if path else "The state"


def stands(state: PyTree, new_state: PyTree) -> bool:
    """Did the step return the state that it was given, every array of floats in it?"""
    pairs = zip(*map(jtu.tree_leaves, (state, new_state)), strict=True)
    return all(old is new for old, new in pairs if eqx.is_inexact_array(old))


def check_trained(where: str, is_used: bool, is_still: bool, model: Layout, outside: Sequence[str]) -> None:
    """Does the step read its model, and change its state? `outside`: the names of what it closes over."""
    if not is_used:
        closes = f" It closes over {' and '.join(f'`{name}`' for name in outside)}." if outside else ""
        raise ValueError(
            f"The step {where} reads nothing of its model, {describe(model)}, so that every gradient would be zero."
            f"{closes} Compute with the first argument of the step: what is trained comes in by it."
        )
    if is_still:
        raise ValueError(
            f"The step {where} returned its old state: it never changes, so that no credit is carried. Return the new "
            "one, second of the pair `(out, new_state)`. (For a step without a state use `jax.grad`.)"
        )


def check_loops(program: Program, bits: Mapping[int, int], targets: Sequence[int]) -> None:
    """Can all credit of `targets` be pulled back? `bits` says what depends on what is trained, or carries credit."""
    for eqn in program.equations:
        if eqn.jaxpr_eqn is None or not _jax.has_while(eqn.jaxpr_eqn):
            continue
        onward = union(dependence(program, eqn.outputs), targets)
        reached = [j for j in range(len(eqn.outputs)) if onward >> j & 1]
        moved = [i for i, v in enumerate(eqn.inputs) if bits.get(v, 0)]
        if reached and moved and not _has_pullback(program, eqn, moved, reached):
            inside = "" if eqn.name == "while" else f" inside the `{eqn.name}`"
            raise ValueError(
                f"Credit passes through the `while_loop`{inside} at {eqn.source}. JAX has no reverse-mode derivative "
                "for it; neither BPTT nor a trace can follow. Use `lax.scan`, or a `fori_loop` over a number of steps "
                "that is a Python integer; or keep credit out of it with `lax.stop_gradient`."
            )


def _has_pullback(program: Program, eqn: Equation, moved: Sequence[int], reached: Sequence[int]) -> bool:
    """Does JAX pull cotangents of the outputs `reached` back to the operands `moved`?"""

    def pull(*operands: Any) -> Any:
        def run(*given: Array) -> list[Array]:
            new = dict(zip(moved, given, strict=True))
            out = eqn.bind([new.get(i, operand) for i, operand in enumerate(operands)])
            return [out[j] for j in reached]

        out, back = jax.vjp(run, *(operands[i] for i in moved))
        return back([jnp.ones_like(y) for y in out])

    avals = [program.avals[v] for v in eqn.inputs]
    try:
        jax.eval_shape(pull, *(jax.ShapeDtypeStruct(a.shape, a.dtype) for a in avals))
    except ValueError:
        return False
    return True


def _leaf(array: Any, static: Any) -> str:
    return f"the Python value {static!r}" if array is None else f"the array {_show(array)}"

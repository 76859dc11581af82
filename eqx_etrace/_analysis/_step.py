"""The user's step, staged: which variables are parameters, hidden states, inputs and outputs.

`step(model, state, *inputs) -> (out, new_state)` takes arbitrary pytrees. A `Layout` remembers how the
arrays of one pytree were taken out, so that they can be put back. Only inexact arrays carry
derivatives; every other array is carried along, every other leaf is static.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jaxtyping import PyTree

from .. import _compat
from ._primitive import broadcasts
from ._program import flatten, Program, with_fresh_outputs

Path = tuple[Any, ...]


def _is_array(leaf: Any) -> bool:
    return eqx.is_array(leaf) or isinstance(leaf, jax.ShapeDtypeStruct)


def _is_inexact(leaf: Any) -> bool:
    return bool(jnp.issubdtype(leaf.dtype, jnp.inexact))


def _as_path(keys: Sequence[Any]) -> Path:
    """('layers', 2, 'V'): attribute and dict keys as they are, sequence positions as int."""
    names = ("name", "key", "idx")
    return tuple(next(getattr(k, n) for n in names if hasattr(k, n)) for k in keys)


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a pytree's arrays were taken out."""

    treedef: Any
    static: tuple[Any, ...]
    """Every leaf, with None in place of the arrays."""
    arrays: tuple[jax.ShapeDtypeStruct | None, ...]
    """Every leaf, with None in place of what is no array."""
    paths: tuple[Path, ...]

    @classmethod
    def of(cls, tree: PyTree) -> "Layout":
        found, treedef = jtu.tree_flatten_with_path(tree)
        leaves = [leaf for _, leaf in found]
        return cls(
            treedef,
            tuple(None if _is_array(x) else x for x in leaves),
            tuple(jax.ShapeDtypeStruct(x.shape, x.dtype) if _is_array(x) else None for x in leaves),
            tuple(_as_path(keys) for keys, _ in found),
        )

    @property
    def inexact_paths(self) -> tuple[Path, ...]:
        return tuple(p for p, a in zip(self.paths, self.arrays, strict=True) if a is not None and _is_inexact(a))

    def split(self, tree: PyTree) -> tuple[list[Any], list[Any]]:
        """The inexact arrays, then the other arrays."""
        leaves = [x for x in jtu.tree_leaves(tree) if _is_array(x)]
        return [x for x in leaves if _is_inexact(x)], [x for x in leaves if not _is_inexact(x)]

    def join(self, inexact: Sequence[Any], other: Sequence[Any] | None) -> PyTree:
        """The pytree again; with `other` None, only its inexact arrays and None elsewhere, as gradients are."""
        inexact_left, other_left = iter(inexact), iter(other or ())

        def leaf(array: Any, static: Any) -> Any:
            if array is None:
                return None if other is None else static
            if _is_inexact(array):
                return next(inexact_left)
            return None if other is None else next(other_left)

        return jtu.tree_unflatten(self.treedef, map(leaf, self.arrays, self.static))


@dataclasses.dataclass(frozen=True)
class Step:
    """A staged step. The fields from `parameters` on are variables of `program`."""

    program: Program
    model: Layout
    state: Layout
    inputs: Layout
    out: Layout
    aux: Layout
    """What the step returns beside its output, without derivatives."""
    parameters: tuple[int, ...]
    model_rest: tuple[int, ...]
    states: tuple[int, ...]
    states_rest: tuple[int, ...]
    inputs_inexact: tuple[int, ...]
    inputs_rest: tuple[int, ...]
    out_inexact: tuple[int, ...]
    out_rest: tuple[int, ...]
    aux_inexact: tuple[int, ...]
    aux_rest: tuple[int, ...]
    new_states: tuple[int, ...]
    new_states_rest: tuple[int, ...]


def stage_step(
    step: Callable[..., Any], model: PyTree, state: PyTree, inputs: tuple[Any, ...], *, has_aux: bool = False
) -> Step:
    """Stage a step on arrays or `ShapeDtypeStruct`s. With `has_aux` its output is a pair `(out, aux)`."""
    layouts = Layout.of(model), Layout.of(state), Layout.of(inputs)
    arguments = [part for lay, tree in zip(layouts, (model, state, inputs), strict=True) for part in lay.split(tree)]
    where = _compat.definition_line(step)
    _check_arguments(where, *layouts)
    found: list[Layout] = []

    def flat(*parts: Any) -> Any:
        trees = [lay.join(*parts[2 * i : 2 * i + 2]) for i, lay in enumerate(layouts)]
        out, new_state = _pair(step(trees[0], trees[1], *trees[2]), f"The step {where} must return a pair `(out, new_state)`")
        out, aux = _pair(out, f"With `has_aux` the step {where} must return `((out, aux), new_state)`") if has_aux else (out, ())
        found[:] = [Layout.of(out), Layout.of(aux)]
        new_layout = Layout.of(new_state)
        _check_state(where, layouts[1], new_layout)
        return *found[0].split(out), *found[1].split(aux), *new_layout.split(new_state)

    closed, shapes = jax.make_jaxpr(flat, return_shape=True)(*arguments)
    program = flatten(closed, broadcasts)
    sizes = [len(part) for part in shapes]
    start = sum(sizes[:4])
    program = with_fresh_outputs(program, range(start, start + sizes[4]))
    roles = [*_cut(program.inputs, [len(a) for a in arguments]), *_cut(program.outputs, sizes)]
    return Step(program, *layouts, *found, *roles)


def _cut(variables: tuple[int, ...], sizes: Sequence[int]) -> list[tuple[int, ...]]:
    left = iter(variables)
    return [tuple(next(left) for _ in range(n)) for n in sizes]


def _check_arguments(where: str, model: Layout, state: Layout, inputs: Layout) -> None:
    del inputs
    if not model.inexact_paths:
        raise ValueError(
            "The model holds no inexact (floating-point or complex) array, so there is nothing to train. "
            f"Its leaves are {_describe(model)}. Parameters must be inexact arrays of the first argument of the step."
        )
    if not state.inexact_paths:
        raise ValueError(
            f"The step {where} has no hidden state: its second argument holds no inexact (floating-point or complex) array; "
            f"its leaves are {_describe(state)}. Eligibility traces carry credit through a state; "
            "for a step without one use `jax.grad`. A Python float in the state must be made an array."
        )


def _describe(layout: Layout) -> str:
    leaves = zip(layout.paths, layout.arrays, layout.static, strict=True)
    shown = [f"{path}: {_show(array) if array is not None else repr(static)}" for path, array, static in leaves]
    return ", ".join(shown[:8]) + (", ..." if len(shown) > 8 else "") if shown else "none"


def _show(array: Any) -> str:
    return f"{array.dtype}{list(array.shape)}"


def _pair(result: Any, wanted: str) -> tuple[Any, Any]:
    if not (isinstance(result, tuple) and len(result) == 2):
        what = f"a tuple of {len(result)}" if isinstance(result, tuple) else f"a {type(result).__name__}"
        raise TypeError(f"{wanted}; it returned {what}.")
    return result


def _check_state(where: str, old: Layout, new: Layout) -> None:
    if old.treedef != new.treedef:
        raise ValueError(
            f"The state changes its structure across the step {where}, so there is nothing to carry from one step to the next. "
            f"It went in as\n    {old.treedef}\nand came out as\n    {new.treedef}\n"
            "Return the new state in the structure of the old one."
        )
    for path, before, after, was, now in zip(old.paths, old.arrays, new.arrays, old.static, new.static, strict=True):
        if before is None and after is None:
            if was is not now and was != now:
                raise ValueError(f"The static leaf {path} of the state changes across the step {where}, from {was!r} to {now!r}.")
        elif before is None or after is None:
            raise TypeError(
                f"The leaf {path} of the state is {_leaf(before, was)} before the step {where} and {_leaf(after, now)} after it. "
                "Make it an array (`jnp.asarray`) in the initial state."
            )
        elif before.shape != after.shape:
            raise ValueError(
                f"The leaf {path} of the state changes its shape across the step {where}, from {before.shape} to {after.shape}. "
                "A hidden state keeps its shape; give the initial state the shape that the step returns."
            )
        elif before.dtype != after.dtype:
            raise TypeError(
                f"The leaf {path} of the state changes its dtype across the step {where}, from {before.dtype} to {after.dtype}. "
                "Give the initial state that dtype, or cast inside the step."
            )


def _leaf(array: Any, static: Any) -> str:
    return f"the Python value {static!r}" if array is None else f"the array {_show(array)}"

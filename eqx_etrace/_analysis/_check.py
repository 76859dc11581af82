"""What a step must be, and what to say when it is not."""

from collections.abc import Mapping
from typing import Any

from .. import _compat
from ._dependence import union
from ._layout import Layout
from ._program import Program


def check_pair(result: Any, wanted: str) -> tuple[Any, Any]:
    """A tuple of two, or an error that begins with what was wanted."""
    if not (isinstance(result, tuple) and len(result) == 2):
        raise TypeError(f"{wanted}; it returned {_what(result)}.")
    return result


def _what(result: Any) -> str:
    if isinstance(result, tuple):
        return f"a tuple of {len(result)}"
    return f"one array, {_show(result)}" if hasattr(result, "aval") else f"a {type(result).__name__}"


def check_arguments(where: str, model: Layout, state: Layout) -> None:
    """Is there something to train, and a state to carry credit?"""
    if not model.inexact_paths:
        raise ValueError(
            "The model holds no inexact (floating-point or complex) array, so there is nothing to train. "
            f"Its leaves are {describe(model)}. Parameters must be inexact arrays of the first argument of the step."
        )
    if not state.inexact_paths:
        raise ValueError(
            f"The step {where} has no hidden state: its second argument holds no inexact (floating-point or complex) "
            f"array; its leaves are {describe(state)}. Eligibility traces carry credit through a state; "
            "for a step without one use `jax.grad`; make a Python float in the state an array, and cast integers."
        )


def describe(layout: Layout) -> str:
    """The leaves of a pytree, in words."""
    leaves = zip(layout.paths, layout.arrays, layout.static, strict=True)
    shown = [f"{path}: {_show(array) if array is not None else repr(static)}" for path, array, static in leaves]
    return ", ".join(shown[:8]) + (", ..." if len(shown) > 8 else "") if shown else "none"


def _show(array: Any) -> str:
    return f"{array.dtype}{list(array.shape)}"


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
                    f"The static leaf {path} of the state changes across the step {where}, from {was!r} to {now!r}. "
                    "Make it an array (`jnp.asarray`) if it is to change."
                )
        elif before is None or after is None:
            raise TypeError(
                f"The leaf {path} of the state is {_leaf(before, was)} before the step {where} and "
                f"{_leaf(after, now)} after it. Make it an array (`jnp.asarray`) in the initial state."
            )
        elif before.shape != after.shape:
            raise ValueError(
                f"The leaf {path} of the state changes its shape across the step {where}, "
                f"from {before.shape} to {after.shape}. "
                "A hidden state keeps its shape; give the initial state the shape that the step returns."
            )
        elif before.dtype != after.dtype:
            raise TypeError(
                f"The leaf {path} of the state changes its dtype across the step {where}, "
                f"from {before.dtype} to {after.dtype}. "
                "Give the initial state that dtype, or cast inside the step."
            )


def check_loops(program: Program, bits: Mapping[int, int]) -> None:
    """Can all credit be pulled back?"""
    for eqn in program.equations:
        if union(bits, eqn.outputs) and union(bits, eqn.inputs[_compat.carried_by_while(eqn)]):
            raise ValueError(
                f"Credit passes through the `while_loop` at {eqn.source}. JAX has no reverse-mode derivative for it; "
                "neither BPTT nor a trace can follow. Use `lax.scan`, or a `fori_loop` over a number of steps that is "
                "a Python integer; or keep credit out of it with `lax.stop_gradient`."
            )


def _leaf(array: Any, static: Any) -> str:
    return f"the Python value {static!r}" if array is None else f"the array {_show(array)}"

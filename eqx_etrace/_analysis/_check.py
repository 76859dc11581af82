"""What a step must be, and what to say when it is not."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from .. import _compat
from ._dependence import dependence
from ._layout import Layout, Path
from ._program import Equation, Program


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
    shown = [
        f"{path or '<all of it>'}: {_show(array) if array is not None else repr(static)}"
        for path, array, static in leaves
    ]
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
                "initial state the shape that the step returns, or drop the axis of the inputs that the state lacks."
            )
        elif before.dtype != after.dtype:
            raise TypeError(
                f"{_named(path)} changes its dtype across the step {where}, "
                f"from {before.dtype} to {after.dtype}. "
                "Give the initial state that dtype, or cast inside the step."
            )


def _named(path: Path) -> str:
    return f"The leaf {path} of the state" if path else "The state"


def check_loops(program: Program, bits: Mapping[int, int], targets: Sequence[int]) -> None:
    """Can all credit of `targets` be pulled back? `bits` says what depends on what is trained, or carries credit."""
    for eqn in (e for e in program.equations if e.jaxpr_eqn is not None and _compat.has_while(e.jaxpr_eqn)):
        onward = dependence(program, eqn.outputs)
        reached = [j for j in range(len(eqn.outputs)) if any(onward.get(v, 0) >> j & 1 for v in targets)]
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

"""The inputs of one step by name, and what to say where a trace was made for others."""

import re
from collections.abc import Sequence
from typing import Any

import jax

from .._read import Layout, without_address
from .._source import definition_line

Shape = tuple[int, ...]
_FIXED_SHAPES = (
    "A trace is for inputs of fixed shapes, the size of the batch included: pass inputs of those shapes, or make a "
    "trace for these with `.init(model, state, *inputs)`."
)


def arrays_of(layout: Layout) -> list[str]:
    """`input 0['x'] [3, 2]`, for every array."""
    arrays = [(path, a) for path, a in zip(layout.paths, layout.arrays, strict=True) if a is not None]
    return [f"input {path[0]}{list(path[1:]) or ''} {list(array.shape)}" for path, array in arrays]


def values_of(what: str, layout: Layout) -> list[str]:
    """What is no array, by name; functions without the address that they have in this process."""
    leaves = zip(layout.paths, layout.arrays, layout.static, strict=True)
    return [
        f"{what} {'.'.join(map(str, path))} = {without_address(value)}"
        for path, array, value in leaves
        if array is None
    ]


def check_inputs(made_for: Sequence[str], inputs: tuple[Any, ...], step: Any, length: int | None = None) -> None:
    """Have the arrays of one step the shapes of those that a trace was made for? `length`: of a scan over them."""
    layout = Layout.of(inputs)
    now, made = arrays_of(layout), [name for name in made_for if name.startswith("input ") and " = " not in name]
    values = [name for name in made_for if name.startswith("input ") and " = " in name]
    if now == made or values != values_of("input", layout):
        return
    taken = (
        f" `.scan` took the leading axis of every array among its inputs, {length}, for time; close over what stays "
        "the same."
    )
    raise ValueError(
        f"The inputs of one step {definition_line(step)} are {', '.join(now) or 'none'} here, but this trace was made "
        f"for {', '.join(made) or 'none'}.{'' if length is None else taken} {_advice(made, now, inputs, length)}"
    )


def _advice(made: Sequence[str], now: Sequence[str], inputs: tuple[Any, ...], length: int | None) -> str:
    if len(made) == len(now):
        return _on_axes([(_shape(was), _shape(here)) for was, here in zip(made, now, strict=True)], length)
    listed = [i for i, given in enumerate(inputs) if isinstance(given, list | tuple) and _are_alike(given)]
    if not listed:
        return _FIXED_SHAPES
    given = inputs[listed[0]]
    return f"inputs[{listed[0]}] is a `{type(given).__name__}` of {len(given)} arrays: stack it, `jnp.stack(xs)`."


def _on_axes(pairs: Sequence[tuple[Shape, Shape]], length: int | None) -> str:
    """Of shapes that were and are, what to do about an axis too many, too few, or at the wrong place."""
    if all(here[1:] == was and here for was, here in pairs):
        return _too_long(length)
    if length is not None and all(here == was[1:] and was for was, here in pairs):
        return "One time axis is missing: pass the inputs of one step to the transform itself, or add one, `x[None]`."
    if length is not None and all(was[:1] == (length,) and here[1:] == was[1:] for was, here in pairs):
        return f"They look like [batch, time], and time comes first: `jnp.swapaxes(x, 0, 1)`. {_FIXED_SHAPES}"
    return _FIXED_SHAPES


def _too_long(length: int | None) -> str:
    """There is one axis more than a step takes."""
    if length is None:
        return "Did you mean `.scan`, which takes a sequence? A call takes the inputs of one step."
    return (
        "There is one axis more than a step takes. If it is a batch, `[batch, time, ...]`, put time first, "
        "`jnp.swapaxes(x, 0, 1)`, and make the state and the trace for a batch. For a single sequence take `x[0]`."
    )


def _are_alike(given: Any) -> bool:
    leaves = jax.tree.leaves(given)
    shapes = {getattr(leaf, "shape", None) for leaf in leaves}
    return len(given) == len(leaves) and len(shapes) == 1 and None not in shapes


def _shape(name: str) -> Shape:
    """The shape at the end of a name."""
    found = re.search(r"\[([\d, ]*)\]$", name)
    assert found is not None, name
    return tuple(int(n) for n in found[1].split(",") if n.strip())

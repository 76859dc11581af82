"""How an operand reaches an output, by the flow of the primitive.

Data movements need no rule: the primitive itself is run on an array of element numbers.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, SupportsIndex

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from ..primitives import Contraction, Flow
from ._constant import constant_value
from ._link import ALIGNED, indices, Link, Merged, Mixed, MIXING, Moved, NONE, Positions
from ._program import Equation, Program
from ._slices import Slices, slices_of


def link_of(program: Program, eqn: Equation, operand: int, output: int) -> Link | None:
    """Of an operation with a derivative: a `Link`; None where none flows."""
    return _BY_FLOW[eqn.traits.flow](program, eqn, operand, output) if eqn.traits.flow in _BY_FLOW else MIXING


def _aligned(program: Program, eqn: Equation, operand: int, output: int) -> Link:
    return ALIGNED if program.shape(eqn.inputs[operand]) == program.shape(eqn.outputs[output]) else MIXING


def _paired(program: Program, eqn: Equation, operand: int, output: int) -> Link | None:
    del program, eqn
    return ALIGNED if operand == output else None


def _reduced(program: Program, eqn: Equation, operand: int, output: int) -> Link:
    del output
    return Merged(_rows(program.shape(eqn.inputs[operand]), eqn.params["axes"]))


def _rows(shape: tuple[int, ...], axes: Sequence[SupportsIndex]) -> Positions:
    """Where each element goes when `axes` are reduced."""
    kept = tuple(1 if d in axes else n for d, n in enumerate(shape))
    return np.broadcast_to(indices(kept), shape)


def _rearranged(program: Program, eqn: Equation, operand: int, output: int) -> Link:
    del output
    return Moved(
        np.asarray(_run(eqn, [indices(program.shape(eqn.inputs[operand]))]))
    )  # of no axes NumPy makes a scalar


def _parted(program: Program, eqn: Equation, operand: int, output: int) -> Link:
    return Moved(np.asarray(_run(eqn, [indices(program.shape(eqn.inputs[operand]))])[output]))


def _joined(program: Program, eqn: Equation, operand: int, output: int) -> Link:
    del output
    return Moved(np.asarray(_run(eqn, [_numbered(program, v, i == operand) for i, v in enumerate(eqn.inputs)])))


def _numbered(program: Program, var: int, numbered: bool) -> Positions:
    shape = program.shape(var)
    return indices(shape) if numbered else np.full(shape, NONE)


def _run(eqn: Equation, arrays: Sequence[Positions]) -> Any:
    """Run a data movement on element numbers, with NumPy where that is simple."""
    if eqn.traits.move is not None:
        return eqn.traits.move(*arrays, **eqn.params)
    with jax.ensure_compile_time_eval():
        return eqn.bind([jnp.asarray(a, np.int32) for a in arrays])[0]


def _indexed(program: Program, eqn: Equation, operand: int, output: int) -> Link:
    """Slices, gathers and scatters: a movement if the indices are known."""
    del output
    if eqn.params.get("update_jaxpr") is not None:  # `x.at[i].apply(f)` is more than a movement
        return MIXING
    known = _at_known_indices(program, eqn, operand)
    return _at_an_index(program, eqn, operand) if known is None else known


def _at_known_indices(program: Program, eqn: Equation, operand: int) -> Link | None:
    arrays = _with_known_indices(program, eqn, operand)
    if arrays is None:
        return None
    fill = {"fill_value": NONE} if "fill_value" in eqn.params else {}
    assert eqn.primitive is not None
    with jax.ensure_compile_time_eval():
        return Moved(np.asarray(eqn.primitive.bind(*map(jnp.asarray, arrays), **{**eqn.params, **fill})))


def _with_known_indices(program: Program, eqn: Equation, operand: int) -> list[Any] | None:
    """The indices, and the element numbers of the operand among arrays without any; None if an index is not known."""
    arrays: list[Any] = []
    for i, var in enumerate(eqn.inputs):
        is_index = not program.is_inexact(var)
        array = constant_value(program, var) if is_index else _numbered(program, var, i == operand)
        if array is None:
            return None
        arrays.append(array if is_index else array.astype(np.int32))
    return arrays


def _at_an_index(program: Program, eqn: Equation, operand: int) -> Link:
    """At an index of which only the axes are known: what an element may come from, and where it may go."""
    is_written = "slice_sizes" not in eqn.params
    if is_written and operand == 0:  # what is not written over stays where it is
        return ALIGNED
    slices = slices_of(program, eqn)
    if slices is None:
        return MIXING
    if not slices.is_single:
        return _between_blocks(slices, is_written)
    return Moved(slices.line) if is_written else Merged(slices.line)


def _between_blocks(slices: Slices, is_written: bool) -> Link:
    """Of an array and many slices of it, all elements that lie in one place along the whole axes mix."""
    array, out = slices.block, slices.block_of_slices
    return Mixed(Merged(out), Moved(array)) if is_written else Mixed(Merged(array), Moved(out))


def _scattered(program: Program, eqn: Equation, operand: int, output: int) -> Link:
    """What is added to, or multiplied with, elements at indices: each update enters one element, others beside it."""
    del output
    if operand == 0:
        return ALIGNED
    index = constant_value(program, eqn.inputs[1])
    if index is None:
        slices = slices_of(program, eqn)
        is_told_apart = slices is not None and (slices.is_single or slices.counted)
        return _at_an_index(program, eqn, operand) if is_told_apart else MIXING
    with jax.ensure_compile_time_eval():
        return Merged(np.asarray(entered(program, eqn, index)))


def entered(program: Program, eqn: Equation, index: Any) -> Int[Array, "..."]:
    """By element of the updates of a scatter, the element of the output that it enters; NONE if it is dropped."""
    numbers, operand = eqn.params["dimension_numbers"], program.shape(eqn.inputs[0])
    if not numbers.update_window_dims and not numbers.operand_batching_dims:
        return _named_by(jnp.asarray(index), operand, numbers.scatter_dims_to_operand_dims, eqn.params["mode"])
    hidden = (*numbers.inserted_window_dims, *numbers.operand_batching_dims)
    windows = iter(program.shape(eqn.inputs[2])[d] for d in sorted(numbers.update_window_dims))
    return jax.lax.gather(
        jnp.arange(math.prod(operand), dtype=np.int32).reshape(operand),
        jnp.asarray(index),
        jax.lax.GatherDimensionNumbers(
            offset_dims=numbers.update_window_dims,
            collapsed_slice_dims=numbers.inserted_window_dims,
            start_index_map=numbers.scatter_dims_to_operand_dims,
            operand_batching_dims=numbers.operand_batching_dims,
            start_indices_batching_dims=numbers.scatter_indices_batching_dims,
        ),
        slice_sizes=[1 if a in hidden else next(windows) for a in range(len(operand))],
        mode=eqn.params["mode"],
        fill_value=NONE,
    )


def _named_by(index: Array, shape: tuple[int, ...], axes: Sequence[int], mode: Any) -> Int[Array, "..."]:
    """The number of the element that each index names: what a gather of all numbers gives, without reading one."""
    index = index.astype(np.int32) if index.dtype.itemsize < 4 else index  # which may not hold a size
    sizes = np.asarray([shape[axis] for axis in axes], index.dtype)
    if mode == jax.lax.GatherScatterMode.CLIP:
        index = jnp.clip(index, 0, sizes - 1)
    strides = np.asarray([math.prod(shape[axis + 1 :]) for axis in axes], np.int32)
    number = (index.astype(np.int32) * strides).sum(-1, dtype=np.int32)
    return jnp.where(((index >= 0) & (index < sizes)).all(-1), number, np.int32(NONE))


def _contracted(program: Program, eqn: Equation, operand: int, output: int) -> Link:
    """A contraction keeps positions apart only where an operand's element enters one output."""
    of = Contraction.of([program.shape(v) for v in eqn.inputs], eqn.params["dimension_numbers"])
    mine = of.factors[operand]
    (b, m, k), (_, n, _) = mine.sizes, of.factors[1 - operand].sizes
    if not mine.contracted:  # an outer product: nothing is summed
        taken = mine.apart(indices(mine.shape))
        return Moved(of.together(np.broadcast_to(taken, (b, m, n)), operand))
    if n == 1:
        entered = of.apart(indices(program.shape(eqn.outputs[output])), operand)
        return Merged(mine.together(np.broadcast_to(entered, (b, m, k))))
    row = indices((b, m, 1))
    return Mixed(
        Merged(mine.together(np.broadcast_to(row, (b, m, k)))),
        Moved(of.together(np.broadcast_to(row, (b, m, n)), operand)),
    )


def _convolved(program: Program, eqn: Equation, operand: int, output: int) -> Link:
    """All places and channels of one group of channels, for every example; of a kernel, nothing is known."""
    if operand != 0 or eqn.params["batch_group_count"] != 1:
        return MIXING
    into, _, out = eqn.params["dimension_numbers"]
    groups = eqn.params["feature_group_count"]

    def block(shape: tuple[int, ...], axes: Sequence[int]) -> Positions:
        batch, channel = shape[axes[0]], shape[axes[1]]
        lead = np.repeat(indices((batch, groups)), channel // groups, 1)
        apart = [shape[axis] for axis in axes]
        whole = np.broadcast_to(lead.reshape(batch, channel, *(1,) * (len(shape) - 2)), apart)
        return whole.transpose(np.argsort(axes))

    made = program.shape(eqn.outputs[output])
    return Mixed(Merged(block(program.shape(eqn.inputs[0]), into)), Moved(block(made, out)))


def _lines(program: Program, eqn: Equation, operand: int, output: int) -> Link:
    """The elements of one line along an axis mix."""
    del output
    line = _rows(program.shape(eqn.inputs[operand]), [eqn.params[eqn.traits.axis]])
    return Mixed(Merged(line), Moved(line))


def _windowed(program: Program, eqn: Equation, operand: int, output: int) -> Link:
    """Where windows do not overlap, each element enters one; else the elements along the axes of the windows mix."""
    params, shape, out = eqn.params, program.shape(eqn.inputs[operand]), program.shape(eqn.outputs[output])
    lengths, strides = params["window_dimensions"], params["window_strides"]
    if not _are_apart(params):
        moved = _windowed_axes(params)
        return Mixed(Merged(_rows(shape, moved)), Moved(_rows(out, moved)))
    along = [indices((n,)) + low for n, (low, _) in zip(shape, params["padding"], strict=True)]
    window = np.stack(np.meshgrid(*(at // by for at, by in zip(along, strides, strict=True)), indexing="ij"), -1)
    within = np.stack(np.meshgrid(*(at % by for at, by in zip(along, strides, strict=True)), indexing="ij"), -1)
    is_inside = ((within < lengths) & (window >= 0) & (window < out)).all(-1)
    number = np.ravel_multi_index(tuple(np.moveaxis(np.where(is_inside[..., None], window, 0), -1, 0)), out)
    return Merged(np.where(is_inside, number, NONE))


def _are_apart(params: Mapping[str, Any]) -> bool:
    """Does no window overlap another, and is nothing dilated?"""
    sizes = zip(params["window_dimensions"], params["window_strides"], strict=True)
    is_apart = all(length <= stride for length, stride in sizes)
    return is_apart and {1} == {*params["base_dilation"], *params["window_dilation"]}


def _windowed_axes(params: Mapping[str, Any]) -> list[int]:
    """Those along which a window is more than the element itself."""
    still = (1, 1, (0, 0), 1, 1)
    padding, dilations = map(tuple, params["padding"]), (params["base_dilation"], params["window_dilation"])
    along = zip(params["window_dimensions"], params["window_strides"], padding, *dilations, strict=True)
    return [d for d, what in enumerate(along) if what != still]


_BY_FLOW: Mapping[Flow, Callable[[Program, Equation, int, int], Link | None]] = {
    Flow.ALIGNED: _aligned,
    Flow.PAIRED: _paired,
    Flow.REDUCED: _reduced,
    Flow.REARRANGED: _rearranged,
    Flow.PARTED: _parted,
    Flow.JOINED: _joined,
    Flow.INDEXED: _indexed,
    Flow.SCATTERED: _scattered,
    Flow.WINDOWED: _windowed,
    Flow.CONTRACTED: _contracted,
    Flow.CONVOLVED: _convolved,
    Flow.LINES: _lines,
}

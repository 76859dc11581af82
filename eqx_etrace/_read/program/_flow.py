"""How an operand reaches an output, by the flow of the primitive.

Data movements need no rule: the primitive itself is run on an array of element numbers.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, SupportsIndex

import jax
import jax.numpy as jnp
import numpy as np

from ..primitives import Contraction, Flow
from ._constant import constant_value
from ._link import ALIGNED, indices, Link, Merged, MIXING, Moved, NONE, Positions
from ._program import Equation, Program


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
    """Slices, gathers and scatters: a movement if the indices are known, otherwise mixing."""
    del output
    if eqn.params.get("update_jaxpr") is not None:  # `x.at[i].apply(f)` is more than a movement
        return MIXING
    arrays: list[Any] = []
    for i, var in enumerate(eqn.inputs):
        is_index = not program.is_inexact(var)
        array = constant_value(program, var) if is_index else _numbered(program, var, i == operand)
        if array is None:
            return MIXING
        arrays.append(array if is_index else array.astype(np.int32))
    fill = {"fill_value": NONE} if "fill_value" in eqn.params else {}
    assert eqn.primitive is not None
    with jax.ensure_compile_time_eval():
        return Moved(np.asarray(eqn.primitive.bind(*map(jnp.asarray, arrays), **{**eqn.params, **fill})))


def _contracted(program: Program, eqn: Equation, operand: int, output: int) -> Link:
    """A contraction keeps positions apart only where an operand's element enters one output."""
    of = Contraction.of([program.shape(v) for v in eqn.inputs], eqn.params["dimension_numbers"])
    mine = of.factors[operand]
    (b, m, k), (_, n, _) = mine.sizes, of.factors[1 - operand].sizes
    if not mine.contracted:  # an outer product: nothing is summed
        taken = mine.apart(indices(mine.shape))
        return Moved(of.together(np.broadcast_to(taken, (b, m, n)), operand))
    if n != 1:
        return MIXING
    entered = of.apart(indices(program.shape(eqn.outputs[output])), operand)
    return Merged(mine.together(np.broadcast_to(entered, (b, m, k))))


_BY_FLOW: Mapping[Flow, Callable[[Program, Equation, int, int], Link | None]] = {
    Flow.ALIGNED: _aligned,
    Flow.PAIRED: _paired,
    Flow.REDUCED: _reduced,
    Flow.REARRANGED: _rearranged,
    Flow.PARTED: _parted,
    Flow.JOINED: _joined,
    Flow.INDEXED: _indexed,
    Flow.CONTRACTED: _contracted,
}

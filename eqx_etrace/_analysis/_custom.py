"""Calls with a derivative rule of their own: surrogate spikes, clipped gradients, stable softplus.

The primal of a surrogate spike is a comparison, whose derivative is zero, and the rule of a
`custom_vjp` may do anything at all. So the primal is not asked. What counts is the function that maps
output cotangents to operand cotangents: it is staged, and the elements of the output cotangents are
followed through *it*, by value. A rule that mixes positions is `MIXING`. So is one that is not linear in the
cotangent (clipping, rounding, an added constant): no ones-cotangent can read a Jacobian from it, and it must meet the
cotangent of every step by itself, as it does in BPTT.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from .. import _compat
from ._link import ALIGNED, indices, Link, MANY, merge, Merged, MIXING, Mixing, NONE, Positions
from ._program import Equation, flatten, Program, Table

# Which operands an operation is linear in together, where those that the cotangent does not touch are zero: `x + 0`,
# not `x + 1`.
_LINEAR = frozenset(
    _compat.primitives(
        "add sub add_jaxvals neg copy real imag complex conj reduce_sum reshape squeeze transpose rev slice "
        "broadcast_in_dim split unstack stack concatenate pad optimization_barrier sharding_constraint name "
        "stop_gradient cumsum reduce_window_sum fft convert_element_type"
    )
)
_LINEAR_IN = {
    **dict.fromkeys(_LINEAR, slice(None)),
    **dict.fromkeys(_compat.primitives("div gather dynamic_slice"), slice(1)),
    **dict.fromkeys(_compat.primitives("dynamic_update_slice"), slice(2)),
    **dict.fromkeys(_compat.primitives("scatter_add"), slice(0, None, 2)),
    **dict.fromkeys(_compat.primitives("select_n triangular_solve"), slice(1, None)),
}
_LINEAR_IN_ONE = frozenset(_compat.primitives("mul dot_general conv_general_dilated"))
(_SOLVE,) = _compat.primitives("linear_solve")
_BY_VALUE = frozenset(_compat.primitives("stop_gradient"))
"""Primitives without a derivative that pass their operand on."""


@dataclasses.dataclass(frozen=True)
class Rule:
    """What the derivative rule of one call does."""

    is_linear: bool
    links: Mapping[tuple[int, int], Link]
    """By (operand, output); absent where no cotangent gets through."""


def find_rule(program: Program, eqn: Equation, operands: list[int], table: type[Table]) -> Rule:
    """Stage the rule of a call from output cotangents to the cotangents of these operands, and follow them."""
    if not operands:
        return Rule(True, {})
    outputs = [j for j, v in enumerate(eqn.outputs) if program.is_inexact(v)]
    backward = flatten(_stage_backward(program, eqn, operands, outputs), table)
    cotangents = backward.inputs[len(eqn.inputs) :]
    is_linear = _is_linear(backward, cotangents)
    found: dict[tuple[int, int], Link] = {}
    for j, cotangent in zip(outputs, cotangents, strict=True):
        touched, labels = _touched(backward, [cotangent]), _follow(backward, cotangent)
        for i, result in zip(operands, backward.outputs, strict=True):
            if result in touched:
                traced = is_linear and result in labels
                found[i, j] = _as_link(labels[result], program.shape(eqn.outputs[j])) if traced else MIXING
    return Rule(is_linear, found)


def _stage_backward(program: Program, eqn: Equation, operands: list[int], outputs: list[int]) -> _compat.ClosedJaxpr:
    def backward(primals: list[jax.Array], cotangents: list[jax.Array]) -> tuple[jax.Array, ...]:
        def forward(*inexact: jax.Array) -> list[jax.Array]:
            values = list(primals)
            for i, x in zip(operands, inexact, strict=True):
                values[i] = x
            out = eqn.bind(values)
            return [out[j] for j in outputs]

        return jax.vjp(forward, *[primals[i] for i in operands])[1](cotangents)

    arguments = list(eqn.inputs), [eqn.outputs[j] for j in outputs]
    return jax.make_jaxpr(backward)(
        *jax.tree.map(lambda v: jax.ShapeDtypeStruct(program.shape(v), program.avals[v].dtype), arguments)
    )


def _follow(program: Program, start: int) -> dict[int, Positions]:
    """Which elements of `start` the elements of each variable depend on; MANY once mixed."""
    labels: dict[int, Positions] = {start: indices(program.shape(start))}
    for eqn in program.equations:
        for i, operand in enumerate(eqn.inputs):
            if operand not in labels:
                continue
            for j, output in enumerate(eqn.outputs):
                edge = ALIGNED if eqn.primitive in _BY_VALUE else program.links(eqn, i, j)
                if edge is None:
                    continue
                shape = program.shape(output)
                found = np.full(shape, MANY) if isinstance(edge, Mixing) else edge.forward(labels[operand], shape)
                labels[output] = merge(labels[output], found) if output in labels else found
    return labels


def _as_link(target: Positions, shape: tuple[int, ...]) -> Link:
    if (target == MANY).any():
        return MIXING
    same = target.shape == shape and ((target == indices(shape)) | (target == NONE)).all()
    return ALIGNED if same else Merged(target)


def _touched(program: Program, start: Sequence[int]) -> set[int]:
    """Every variable whose value depends on these."""
    touched = set(start)
    for eqn in program.equations:
        if touched.intersection(eqn.inputs):
            touched.update(eqn.outputs)
    return touched


def _is_linear(program: Program, start: Sequence[int]) -> bool:
    """Is every variable that these touch a linear function of them together?"""
    touched = _touched(program, start)
    return all(
        _is_linear_step(program, eqn, [i for i, v in enumerate(eqn.inputs) if v in touched])
        for eqn in program.equations
        if touched.intersection(eqn.inputs)
    )


def _is_linear_step(program: Program, eqn: Equation, hit: list[int]) -> bool:
    if not all(
        _holds(program.avals[out].dtype, program.avals[eqn.inputs[i]].dtype) for out in eqn.outputs for i in hit
    ):
        return False  # what is rounded on the way
    if eqn.primitive in _LINEAR_IN_ONE:
        return len(hit) == 1
    together = range(len(eqn.inputs))[_linear_operands(eqn)]
    return set(together).issuperset(hit) and all(_is_zero(program, eqn.inputs[i]) for i in together if i not in hit)


def _linear_operands(eqn: Equation) -> slice:
    if eqn.primitive is _SOLVE:
        matrices = sum(eqn.params["const_lengths"])  # then the right-hand sides; an auxiliary output may be anything
        return slice(matrices, None) if len(eqn.inputs) - matrices == len(eqn.outputs) else slice(0)
    if eqn.params.get("fill_value"):  # what a `gather` reads out of bounds
        return slice(0)
    return slice(0) if eqn.primitive is None else _LINEAR_IN.get(eqn.primitive, slice(0))


def _holds(wide: np.dtype, narrow: np.dtype) -> bool:
    """Is every number of one dtype a number of the other, both inexact?"""
    if not all(jnp.issubdtype(dtype, jnp.inexact) for dtype in (wide, narrow)):
        return False
    a, b = jnp.finfo(wide), jnp.finfo(narrow)
    return a.nmant >= b.nmant and a.maxexp >= b.maxexp


def _is_zero(program: Program, var: int) -> bool:
    """Is it zero by structure: a constant, or zero laid out anew?"""
    if var in program.constants:
        value = program.constants[var]
        return not isinstance(value, Tracer) and not np.asarray(value).any()
    eqn = program.producer.get(var)
    if eqn is None or eqn.primitive not in _LINEAR:
        return False
    return all(_is_zero(program, v) for v in eqn.inputs)

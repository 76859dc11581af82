"""Calls with a derivative rule of their own: surrogate spikes, clipped gradients, stable softplus.

The primal of a surrogate spike is a comparison, whose derivative is zero, and the rule of a
`custom_vjp` may do anything at all. So the primal is not asked. What counts is the function that maps
output cotangents to operand cotangents: it is staged, and the elements of the output cotangent are
followed through *it*. A rule that mixes positions, or is not linear in the cotangent (gradient
clipping), is `MIXING`: no ones-cotangent can read a Jacobian from it.
"""

from collections.abc import Callable

import jax

from .. import _compat
from ._link import ALIGNED, indices, Link, MANY, merge, Merged, MIXING, Mixing, NONE, Positions
from ._program import Equation, flatten, Program

Rule = dict[tuple[int, int], Link]
LinkTable = Callable[[Equation, int, int], Link | None]

_LINEAR_IN_ALL = frozenset(
    _compat.primitives(
        "add sub add_jaxvals neg convert_element_type copy real imag complex conj reduce_sum reshape squeeze "
        "transpose rev slice broadcast_in_dim split unstack stack concatenate pad optimization_barrier "
        "sharding_constraint name reduce_precision"
    )
)
_LINEAR_IN_ONE = frozenset(_compat.primitives("mul dot_general conv_general_dilated"))
_LINEAR_IN_FIRST = frozenset(_compat.primitives("div gather dynamic_slice"))
_LINEAR_BUT_FIRST = frozenset(_compat.primitives("select_n"))


def rule_links(
    program: Program,
    eqn: Equation,
    broadcasts: Callable[[Equation], bool],
    links: Callable[[Program], LinkTable],
) -> Rule:
    """The links of a call with a custom derivative rule, by (operand, output); absent: no derivative."""
    operands = [i for i, v in enumerate(eqn.inputs) if program.is_inexact(v)]
    outputs = [j for j, v in enumerate(eqn.outputs) if program.is_inexact(v)]
    backward = flatten(_stage_backward(program, eqn, operands, outputs), broadcasts)
    table = links(backward)
    rule: Rule = {}
    for j, cotangent in zip(outputs, backward.inputs[len(eqn.inputs) :], strict=True):
        linear = _is_linear(backward, cotangent)
        reached = _follow(backward, table, cotangent)
        for i, result in zip(operands, backward.outputs, strict=True):
            if result in reached:
                rule[i, j] = _as_link(reached[result], program.shape(eqn.outputs[j])) if linear else MIXING
    return rule


def _stage_backward(program: Program, eqn: Equation, operands: list[int], outputs: list[int]) -> _compat.ClosedJaxpr:
    def backward(primals: list[jax.Array], cotangents: list[jax.Array]) -> tuple[jax.Array, ...]:
        def forward(*inexact: jax.Array) -> list[jax.Array]:
            values = list(primals)
            for i, x in zip(operands, inexact, strict=True):
                values[i] = x
            out = eqn.bind(values)
            return [out[j] for j in outputs]

        return jax.vjp(forward, *[primals[i] for i in operands])[1](cotangents)

    def abstract(var: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(program.shape(var), program.avals[var].dtype)

    primals = [abstract(v) for v in eqn.inputs]
    return jax.make_jaxpr(backward)(primals, [abstract(eqn.outputs[j]) for j in outputs])


def _follow(program: Program, table: LinkTable, start: int) -> dict[int, Positions]:
    """Which elements of `start` the elements of each variable depend on; MANY once mixed."""
    labels: dict[int, Positions] = {start: indices(program.shape(start))}
    for eqn in program.equations:
        for i, operand in enumerate(eqn.inputs):
            if operand not in labels:
                continue
            for j, output in enumerate(eqn.outputs):
                edge = table(eqn, i, j)
                if edge is None:
                    continue
                shape = program.shape(output)
                found = indices(shape) * 0 + MANY if isinstance(edge, Mixing) else edge.forward(labels[operand], shape)
                labels[output] = merge(labels[output], found) if output in labels else found
    return labels


def _as_link(target: Positions, shape: tuple[int, ...]) -> Link:
    if (target == MANY).any():
        return MIXING
    same = target.shape == shape and ((target == indices(shape)) | (target == NONE)).all()
    return ALIGNED if same else Merged(target)


def _is_linear(program: Program, start: int) -> bool:
    """Is every variable that the value of `start` touches a linear function of it?"""
    touched = {start}
    for eqn in program.equations:
        hit = [i for i, v in enumerate(eqn.inputs) if v in touched]
        if not hit:
            continue
        touched.update(eqn.outputs)
        if not (
            eqn.primitive in _LINEAR_IN_ALL
            or (eqn.primitive in _LINEAR_IN_ONE and len(hit) == 1)
            or (eqn.primitive in _LINEAR_IN_FIRST and hit == [0])
            or (eqn.primitive in _LINEAR_BUT_FIRST and 0 not in hit)
        ):
            return False
    return True

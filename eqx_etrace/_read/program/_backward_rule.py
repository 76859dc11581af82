"""Calls with a derivative rule of their own: surrogate spikes, clipped gradients, stable softplus, linear solves.

The primal of a surrogate spike is a comparison, whose derivative is zero, and the rule of a
`custom_vjp` may do anything at all. So the primal is not asked. What counts is the function that maps
output cotangents to operand cotangents: it is staged, and the elements of the output cotangents are
followed through *it*, by value. A rule that mixes positions is `MIXING`. So is one that is not linear in the
cotangent (clipping, rounding, an added constant): no ones-cotangent can read a Jacobian from it, and it must meet the
cotangent of every step by itself, as it does in BPTT.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from ... import _jax
from ._inline import flatten
from ._linear import Kind, kinds_of_outputs
from ._link import ALIGNED, indices, Link, MANY, merge, merged, MIXING, Mixing, Positions
from ._program import Equation, MakeTable, Program
from ._propagate import by_edge, propagate


@dataclasses.dataclass(frozen=True)
class BackwardRule:
    """What the derivative rule of one call does."""

    is_linear: bool
    links: Mapping[tuple[int, int], Link]
    """By (operand, output); absent where no cotangent gets through."""


def find_rule(program: Program, eqn: Equation, operands: list[int], table: MakeTable | None) -> BackwardRule:
    """Stage the rule of a call from output cotangents to the cotangents of these operands, and follow them.

    Without a table nothing is known of it. An output that nothing reads has none: a rule with `symbolic_zeros` is told
    so, and may do something else.
    """
    outputs = _pulled(program, eqn)
    if not operands or not outputs:
        return BackwardRule(True, {})
    unknown = _unknown(operands, outputs)
    if table is None:
        return unknown
    try:
        staged = _stage_backward(program, eqn, operands, outputs)
    except Exception:  # whatever a stranger's rule does; what has no derivative says so when it is run
        return unknown
    return _read_rule(program, eqn, operands, outputs, flatten(staged, table, by_value=True))


def _pulled(program: Program, eqn: Equation) -> list[int]:
    """The outputs that get a cotangent."""
    return [j for j, v in enumerate(eqn.outputs) if program.is_inexact(v) and v in program.read]


def _unknown(operands: list[int], outputs: list[int]) -> BackwardRule:
    """A rule that may do anything."""
    return BackwardRule(False, {(i, j): MIXING for i in operands for j in outputs})


def _read_rule(
    program: Program, eqn: Equation, operands: list[int], outputs: list[int], backward: Program
) -> BackwardRule:
    """What a staged rule does with the cotangents of these outputs."""
    kinds = _kinds(program, eqn, operands, backward)
    is_linear = {Kind.ZERO, Kind.LINEAR}.issuperset(kinds)
    links: dict[tuple[int, int], Link] = {}
    for j, cotangent in zip(outputs, backward.inputs[len(eqn.inputs) :], strict=True):
        reached = _links_from(backward, cotangent, kinds, is_linear)
        links |= {(i, j): link for i, link in zip(operands, reached, strict=True) if link is not None}
    return BackwardRule(is_linear, links)


def _links_from(backward: Program, cotangent: int, kinds: Sequence[Kind], is_linear: bool) -> list[Link | None]:
    """How the cotangent of one output reaches those of the operands."""
    touched, labels = _touched(backward, cotangent), _follow(backward, cotangent)
    links: list[Link | None] = []
    for result, kind in zip(backward.outputs, kinds, strict=True):
        # A constant goes on to what was before, whatever comes in.
        is_reached = result in touched or kind is Kind.FIXED
        link = _as_link(labels[result], backward.shape(cotangent)) if is_linear and result in labels else MIXING
        links.append(link if is_reached else None)
    return links


def _kinds(program: Program, eqn: Equation, operands: list[int], backward: Program) -> list[Kind]:
    """What the cotangents of the operands are of those of the outputs.

    The backward pass of a `custom_jvp` is linear but for rounding: JAX makes it by transposing a linear map. But if
    there is a transpose of somebody else's in that map, nothing is known.
    """
    inputs = [Kind.FIXED] * len(eqn.inputs) + [Kind.LINEAR] * (len(backward.inputs) - len(eqn.inputs))
    is_transposed = eqn.jaxpr_eqn.primitive in _jax.CUSTOM_TANGENTS
    is_transposed = is_transposed and not _jax.holds_a_rule(_stage_tangents(program, eqn, operands).jaxpr)
    return kinds_of_outputs(backward, inputs, is_known_linear=is_transposed)


def _stage_tangents(program: Program, eqn: Equation, operands: list[int]) -> _jax.Staged:
    def forward(primals: list[jax.Array], tangents: list[jax.Array]) -> list[Any]:  # a known zero is no `jax.Array`
        return jax.jvp(_of(eqn, operands, primals), [primals[i] for i in operands], tangents)[1]

    return jax.make_jaxpr(forward)(_shaped(program, eqn.inputs), _shaped(program, [eqn.inputs[i] for i in operands]))


def _stage_backward(program: Program, eqn: Equation, operands: list[int], outputs: list[int]) -> _jax.Staged:
    def backward(primals: list[jax.Array], cotangents: list[jax.Array]) -> tuple[Any, ...]:
        run = _of(eqn, operands, primals)

        def inexact_outputs(*inexact: jax.Array) -> list[Any]:
            results = run(*inexact)  # once: the rule meets the cotangents of all outputs together
            return [results[j] for j in outputs]

        return jax.vjp(inexact_outputs, *[primals[i] for i in operands])[1](cotangents)

    return jax.make_jaxpr(backward)(_shaped(program, eqn.inputs), _shaped(program, [eqn.outputs[j] for j in outputs]))


def _of(eqn: Equation, operands: Sequence[int], primals: Sequence[jax.Array]) -> Callable[..., list[Any]]:
    """The equation as a function of these operands."""

    def run(*inexact: jax.Array) -> list[Any]:
        values = list(primals)
        for i, x in zip(operands, inexact, strict=True):
            values[i] = x
        return eqn.bind(values)

    return run


def _shaped(program: Program, variables: Sequence[int]) -> list[jax.ShapeDtypeStruct]:
    return [jax.ShapeDtypeStruct(program.shape(v), program.avals[v].dtype) for v in variables]


def _follow(program: Program, start: int) -> dict[int, Positions]:
    """Which elements of `start` the elements of each variable depend on; MANY once mixed."""

    def along(eqn: Equation, i: int, j: int, labels: Positions) -> Positions | None:
        link = ALIGNED if eqn.traits.stops_gradient else program.links(eqn, i, j)
        if link is None:
            return None
        shape = program.shape(eqn.outputs[j])
        return np.full(shape, MANY) if isinstance(link, Mixing) else link.forward(labels, shape)

    return propagate(program.equations, {start: indices(program.shape(start))}, by_edge(along, merge), merge)


def _as_link(target: Positions, shape: tuple[int, ...]) -> Link:
    return MIXING if (target == MANY).any() else merged(target, shape)


def _touched(program: Program, start: int) -> Mapping[int, bool]:
    """Every variable whose value depends on this one."""

    def transfer(eqn: Equation, operands: Sequence[bool | None]) -> list[bool] | None:
        return [True] * len(eqn.outputs) if any(operands) else None

    return propagate(program.equations, {start: True}, transfer, max)

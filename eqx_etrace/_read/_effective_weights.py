"""The body of a step: the equations that meet data, and how they read the prologue."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence, Set
from typing import Any

import jax
import jax.numpy as jnp

from .primitives import CONCATENATE, Contraction, DOT, TRANSPOSE
from .program import carries_into, Equation, fixed_by, leading_to, meets_data, Runnable, union
from .step import Step

Held = tuple[int, int, int, int]
"""A copy of a weight, cut out along an axis that it shares with the data: (the weight, the axis, start, stop)."""


@dataclasses.dataclass(frozen=True)
class Piece:
    """Neighbours in a concatenation, all of them with a derivative or all without."""

    start: int
    stop: int
    parts: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Transposed:
    """A variable as the transpose of one made before."""

    before: int
    permutation: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Use:
    """One head: an effective weight in a contraction or a convolution with data."""

    equation: Equation
    operand: int
    """Which operand is the weight."""
    pieces: tuple[Piece, ...]
    """The data in pieces, where it is a concatenation along a contracted axis; else in one."""
    axes: tuple[int, int]
    """That axis of the weight, and of the data."""
    transposed: Transposed
    """Where the weight is read: before it is transposed, which XLA makes part of the product if it is done there."""

    @property
    def weight(self) -> int:
        return self.equation.inputs[self.operand]

    @property
    def data(self) -> int:
        return self.equation.inputs[1 - self.operand]

    @property
    def output(self) -> int:
        return self.equation.outputs[0]

    @property
    def outputs(self) -> tuple[int, ...]:
        return self.equation.outputs

    @property
    def inputs(self) -> tuple[Any, ...]:
        """What `bind` takes: copies of the weight, then the data, piece by piece."""
        return (*self.held, *(part for piece in self.pieces for part in piece.parts))

    @property
    def held(self) -> tuple[Held, ...]:
        """The copies of the weight that it reads."""
        return tuple((self.weight, self.axes[0], piece.start, piece.stop) for piece in self.pieces)

    def bind(self, operands: Sequence[Any]) -> list[Any]:
        """The equation, as a sum over pieces: where the data has no derivative, reverse mode then makes no product."""
        data, terms = iter(operands[len(self.pieces) :]), []
        for held, piece in zip(operands[: len(self.pieces)], self.pieces, strict=True):
            weight = jax.lax.transpose(held, self.transposed.permutation)
            parts = [next(data) for _ in piece.parts]
            x = parts[0] if len(parts) == 1 else jnp.concatenate(parts, self.axes[1])
            (y,) = self.equation.bind([weight, x] if self.operand == 0 else [x, weight])
            terms.append(y)
        return [sum(terms[1:], terms[0])]


@dataclasses.dataclass(frozen=True)
class Body:
    """What is run once per step."""

    equations: tuple[Equation, ...]
    weights: tuple[int, ...]
    """What it reads of the prologue that depends on parameters: the effective weights."""
    credited: frozenset[int]
    """Those that get any credit: others are only compared, recorded or handed out."""
    heads: tuple[Use, ...]

    @property
    def held(self) -> tuple[Runnable, ...]:
        """The equations, every head reading copies of the weight."""
        heads = {use.output: use for use in self.heads}
        return tuple(heads.get(eqn.outputs[0], eqn) if eqn.outputs else eqn for eqn in self.equations)

    def copies(self, fixed: Mapping[int, Any]) -> dict[Held, Any]:
        """The copies of the weights that heads read."""
        copies: dict[Held, Any] = {}
        for use in self.heads:
            weight, axis = fixed[use.transposed.before], use.transposed.permutation[use.axes[0]]
            for held in use.held:
                *_, start, stop = held
                copies[held] = weight if len(use.pieces) == 1 else jax.lax.slice_in_dim(weight, start, stop, axis=axis)
        return copies


def find_fixed(step: Step) -> frozenset[int]:
    """What depends on the model alone. A new state does not count, nor what is made of it: a weight enters it."""
    new = frozenset(step.new_states)
    return fixed_by(
        step.program,
        (*step.parameters, *step.model_rest),
        lambda eqn: not step.program.links.unproven(eqn) and new.isdisjoint(eqn.outputs),
    )


def find_body(step: Step, bits: Mapping[int, int], fixed: frozenset[int]) -> Body:
    """Take the body of a step apart. `bits` says what each variable depends on, the parameters first."""
    equations = _but_for_the_prologue(step, fixed)
    ends = (*step.out_inexact, *step.new_states)
    read = {*ends}.union(*(eqn.inputs for eqn in equations))
    weights = _made_of_parameters(step, bits, read & fixed)
    uses = _uses_with_credit(step, equations, ends)
    return Body(
        equations=equations,
        weights=tuple(sorted(weights)),
        credited=frozenset(weights.intersection([*ends, *(eqn.inputs[i] for eqn, i in uses)])),
        heads=tuple(_find_use(step, bits, eqn, i) for eqn, i in uses if _is_head(eqn, i, weights, fixed)),
    )


def _but_for_the_prologue(step: Step, fixed: frozenset[int]) -> tuple[Equation, ...]:
    return tuple(e for e in step.program.equations if not e.outputs or not fixed.issuperset(e.outputs))


def _made_of_parameters(step: Step, bits: Mapping[int, int], variables: Set[int]) -> set[int]:
    parameters = union(bits, step.parameters)
    return {v for v in variables if bits.get(v, 0) & parameters}


def _is_head(eqn: Equation, operand: int, weights: Set[int], fixed: Set[int]) -> bool:
    """Does an effective weight meet data here?"""
    is_weight = eqn.inputs[operand] in weights and meets_data(eqn, operand)
    return is_weight and eqn.inputs[1 - operand] not in fixed


def _uses_with_credit(step: Step, equations: Sequence[Equation], ends: Sequence[int]) -> list[tuple[Equation, int]]:
    """The operands of equations that lead to one of the ends by a path with a derivative.

    Through others BPTT pulls nothing back: a zero in its place, times an infinite slope of a weight or an infinite
    input, would be NaN.
    """
    credited = leading_to(step.program, ends)
    every = [(eqn, i) for eqn in equations for i in range(len(eqn.inputs))]
    return [(eqn, i) for eqn, i in every if carries_into(step.program, eqn, i, credited)]


def _find_use(step: Step, bits: Mapping[int, int], eqn: Equation, operand: int) -> Use:
    data, transposed = eqn.inputs[1 - operand], _before_transposes(step, eqn.inputs[operand])
    whole = Use(eqn, operand, pieces=(Piece(0, 0, (data,)),), axes=(0, 0), transposed=transposed)
    joined = _concatenation(step, data)
    if joined is None or eqn.primitive is not DOT:
        return whole
    along = joined.params["dimension"]
    contraction = Contraction.of([step.program.shape(v) for v in eqn.inputs], eqn.params["dimension_numbers"])
    axis = contraction.met_by(1 - operand, along)
    pieces = _pieces(step, bits, joined)
    if axis is None or len(pieces) == 1:
        return whole
    return Use(eqn, operand, pieces=pieces, axes=(axis, along), transposed=transposed)


def _concatenation(step: Step, var: int) -> Equation | None:
    """That makes this variable; None if another operation does."""
    made = step.program.producer.get(var)
    return made if made is not None and made.primitive is CONCATENATE else None


def _pieces(step: Step, bits: Mapping[int, int], joined: Equation) -> tuple[Piece, ...]:
    """A concatenation in as few pieces as there may be."""
    pieces: list[Piece] = []
    start = 0
    for _, group in itertools.groupby(joined.inputs, lambda v: bits.get(v, 0) != 0):
        parts = tuple(group)
        stop = start + sum(step.program.shape(v)[joined.params["dimension"]] for v in parts)
        pieces.append(Piece(start, stop, parts))
        start = stop
    return tuple(pieces)


def _before_transposes(step: Step, weight: int) -> Transposed:
    permutation = tuple(range(len(step.program.shape(weight))))
    while (made := step.program.producer.get(weight)) is not None and made.primitive is TRANSPOSE:
        permutation = tuple(made.params["permutation"][i] for i in permutation)
        (weight,) = made.inputs
    return Transposed(weight, permutation)

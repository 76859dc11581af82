"""Units of a head that enter rows of the state: `outer(k, v)`, a gate for every row.

What a head makes for a unit is copied along an axis, and each copy enters a position of its own:

    y_i  =  sum_f W_if x_f ,          h_ij'  =  d_ij h_ij + g(y_i, ...) .

So the copies are lanes that share the weight, as those of a batch do: y_ij = sum_f W_if x_jf, with x_jf = x_f for
every lane j. The step is rewritten so. What lies between the head and the copies is mapped over the lanes.
"""

import dataclasses
import functools
import math
import operator
from collections.abc import Mapping, Sequence, Set

import jax
import jax.numpy as jnp
from jaxtyping import Array

from .by_position import Edge, Tail
from .primitives import BROADCAST, Contraction, DOT
from .program import Aligned, Equation, Link, meets_data, Moved, Program, Rewriting
from .step import Step

_Axes = tuple[int | None, ...]
"""For each axis of the output, the axis of the operand that it is; None along which the operand is copied."""


def with_lanes(step: Step, bits: Mapping[int, int], fixed: frozenset[int], tails: Sequence[Tail]) -> Step:
    """The same step; what a head makes and the step copies is made as often by the head."""
    edges = _cut_edges(tails)
    lanes = _Lanes(step.program, bits, fixed, (1 << len(step.parameters)) - 1)
    for eqn in step.program.equations:
        lanes.write(eqn, [i for i in range(len(eqn.inputs)) if (eqn.outputs[0], i) in edges] if eqn.outputs else [])
    return dataclasses.replace(step, program=lanes.program) if lanes.is_changed else step


def _cut_edges(tails: Sequence[Tail]) -> set[Edge]:
    return {cut.edge for tail in tails for cut in tail.cuts if cut.edge is not None}


class _Lanes:
    """The program, written anew."""

    def __init__(self, program: Program, bits: Mapping[int, int], fixed: frozenset[int], parameters: int):
        self.before, self.bits, self.fixed, self.parameters = program, bits, fixed, parameters
        self.build = Rewriting(program)
        self.is_changed = False
        self.made_by_heads: set[int] = set()
        """The variables that heads make, and what is made of these element by element, or copied."""
        self.mapped: dict[tuple[int, int], int] = {}
        """By variable and how many lanes: the variable with the lanes as first axis."""

    @property
    def program(self) -> Program:
        return self.build.program

    def write(self, eqn: Equation, copied: Sequence[int]) -> None:
        """An equation as it is, or, where what a head makes is copied, from its lanes."""
        axes = [_axes(self.before, eqn, i) for i in range(len(eqn.inputs))]
        self.follow(eqn, axes)
        lifted = {i for i in copied if axes[i] is not None and eqn.inputs[i] in self.made_by_heads}
        if not lifted:
            self.build.keep(eqn)
            return
        self.is_changed = True
        self.from_lanes(eqn, axes, lifted)

    def from_lanes(self, eqn: Equation, axes: Sequence[_Axes | None], lifted: Set[int]) -> None:
        """A copy or an outer product, as a product of operands that have its shape, these of them in lanes."""
        shape = self.before.shape(eqn.outputs[0])
        known = [(i, of) for i, of in enumerate(axes) if of is not None]
        factors = [self.copies(eqn, eqn.inputs[i], of, shape, i in lifted) for i, of in known]
        dtype = self.before.avals[eqn.outputs[0]].dtype
        (result,) = self.build.compute(lambda *each: functools.reduce(operator.mul, each).astype(dtype), factors, eqn)
        self.build.name(eqn.outputs[0], result)

    def follow(self, eqn: Equation, axes: Sequence[_Axes | None]) -> None:
        """Take notice of what heads make, from the head on."""
        if self.is_from_a_head(eqn, axes):
            self.made_by_heads.update(v for v in eqn.outputs if v not in self.fixed and self.is_credited(v))

    def is_from_a_head(self, eqn: Equation, axes: Sequence[_Axes | None]) -> bool:
        """Is it a head, or does it pass on what one makes, element by element or copied?"""
        is_passed = self.is_simple(eqn) or any(of is not None for of in axes)
        return self.weight_of(eqn) is not None or (is_passed and not self.made_by_heads.isdisjoint(eqn.inputs))

    def copies(self, eqn: Equation, var: int, axes: _Axes, shape: Sequence[int], is_lifted: bool) -> int:
        """An operand in the shape of the output."""
        new = [d for d, axis in enumerate(axes) if axis is None]
        kept = sorted(axis for axis in axes if axis is not None)
        lengths = [shape[d] for d in new]
        order = [new.index(d) if axis is None else len(new) + kept.index(axis) for d, axis in enumerate(axes)]

        def arranged(array: Array) -> Array:
            own = self.before.shape(var)
            apart = array.reshape(*(lengths if is_lifted else [1] * len(new)), *(own[axis] for axis in kept))
            return jnp.broadcast_to(apart.transpose(order), shape)

        source = self.lift(var, math.prod(lengths)) if is_lifted else var
        (result,) = self.build.compute(arranged, [source], eqn)
        return result

    def weight_of(self, eqn: Equation) -> int | None:
        """The operand that is the weight of a head; None of what is none."""
        if self.fixed.issuperset(eqn.inputs):
            return None
        return next((i for i in range(len(eqn.inputs)) if self.is_weight(eqn, i)), None)

    def is_weight(self, eqn: Equation, operand: int) -> bool:
        var = eqn.inputs[operand]
        return var in self.fixed and meets_data(eqn, operand) and self.is_credited(var)

    def is_credited(self, var: int) -> bool:
        return bool(self.bits.get(var, 0) & self.parameters)

    def is_simple(self, eqn: Equation) -> bool:
        """Does each element of what it makes come from one element of each operand with credit?"""
        edges = [(i, j) for i, v in enumerate(eqn.inputs) for j in range(len(eqn.outputs)) if self.is_credited(v)]
        return all(map(_takes_one, [self.before.links(eqn, i, j) for i, j in edges]))

    def lift(self, var: int, count: int) -> int:
        """A variable with lanes as its first axis, and all between it and the heads."""
        for eqn in self.between_heads_and(var):
            if (eqn.outputs[0], count) not in self.mapped:
                self.map(eqn, count)
        return self.mapped[var, count]

    def between_heads_and(self, var: int) -> list[Equation]:
        """The equations that lead from heads to a variable, the heads among them."""
        needed = {var}
        chain: list[Equation] = []
        for eqn in reversed(self.before.equations):
            if not needed.isdisjoint(eqn.outputs) and not self.made_by_heads.isdisjoint(eqn.outputs):
                chain.append(eqn)
                needed.update(eqn.inputs if self.weight_of(eqn) is None else ())
        return chain[::-1]

    def map(self, eqn: Equation, count: int) -> None:
        """What an equation makes, in lanes. The data of a head is the same in each."""
        weight = self.weight_of(eqn)
        over = self.with_lanes_of(eqn, weight)
        operands = [self.in_lanes(eqn, v, count, weight) if i in over else v for i, v in enumerate(eqn.inputs)]
        along = [0 if i in over else None for i in range(len(operands))]
        made = self.build.compute(jax.vmap(lambda *each: eqn.bind(each), along), operands, eqn)
        self.mapped |= {(v, count): lifted for v, lifted in zip(eqn.outputs, made, strict=True)}

    def with_lanes_of(self, eqn: Equation, weight: int | None) -> list[int]:
        """The operands that have lanes: of a head all but the weight, of anything else those with credit."""
        return [i for i, v in enumerate(eqn.inputs) if (self.is_credited(v) if weight is None else i != weight)]

    def in_lanes(self, eqn: Equation, var: int, count: int, weight: int | None) -> int:
        if weight is None and (var, count) in self.mapped:
            return self.mapped[var, count]
        shape = (count, *self.before.shape(var))
        (same,) = self.build.compute(lambda array: jnp.broadcast_to(array, shape), [var], eqn)
        return same


def _takes_one(link: Link | None) -> bool:
    """Does each element of the output come from one element of the operand, if from any?"""
    return link is None or isinstance(link, Aligned | Moved)


def _axes(program: Program, eqn: Equation, operand: int) -> _Axes | None:
    """How the axes of an operand lie in the output of a broadcast or an outer product; None of anything else."""
    if eqn.primitive is BROADCAST:
        return _axes_of_broadcast(program, eqn, operand)
    return _axes_of_outer(program, eqn, operand) if eqn.primitive is DOT else None


def _axes_of_broadcast(program: Program, eqn: Equation, operand: int) -> _Axes:
    own, shape = program.shape(eqn.inputs[operand]), program.shape(eqn.outputs[0])
    of = {d: a for a, d in enumerate(eqn.params["broadcast_dimensions"]) if own[a] == shape[d]}
    return tuple(of.get(d) for d in range(len(shape)))


def _axes_of_outer(program: Program, eqn: Equation, operand: int) -> _Axes | None:
    """Of a contraction over no axes; None of one that sums."""
    both = Contraction.of([program.shape(v) for v in eqn.inputs], eqn.params["dimension_numbers"])
    mine, other = both.factors[operand], both.factors[1 - operand]
    if mine.contracted:
        return None
    free, copied = list(mine.free), [None for _ in other.free]
    return (*mine.batch, *free, *copied) if operand == 0 else (*mine.batch, *copied, *free)

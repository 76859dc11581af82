"""The links of a program: how each operand of an equation reaches each of its outputs.

`Links(program)(eqn, i, j)` answers for operand i and output j: a `Link`, or None where no derivative
flows. An operation of which nothing is known is `MIXING`, which is always right and is reported, never guessed.
"""

import functools
from collections.abc import Mapping, Sequence

import jax.numpy as jnp

from ... import _jax
from ..primitives import Flow
from ._backward_rule import BackwardRule, find_rule
from ._flow import link_of
from ._inline import flatten
from ._inside import FOLLOWED, links_through
from ._link import Link
from ._program import Equation, Program, UNKNOWN
from ._propagate import propagate

_DEEPEST = 3
"""Rules whose rules are followed. The rule of `ldexp`, which JAX writes as a primitive of its own, is `ldexp` again."""


def has_no_derivative(program: Program, eqn: Equation) -> bool:
    """Is its derivative zero wherever it has one?"""
    is_real = not any(jnp.issubdtype(program.avals[v].dtype, jnp.complexfloating) for v in eqn.inputs)
    return eqn.traits.flow is Flow.STOPPED or (is_real and eqn.traits.is_flat_if_real)


def meets_data(eqn: Equation, operand: int) -> bool:
    """Is a weight that is this operand the weight of a head: that of a contraction, or the kernel of a convolution?"""
    # With groups of examples every group has a kernel of its own: no lanes share it.
    return operand in eqn.traits.weights and eqn.params.get("batch_group_count", 1) == 1


class Links:
    """How one operand of an equation reaches one of its outputs, worked out once and kept: `program.links`."""

    def __init__(self, program: Program, depth: int = 0):
        self.program = program
        self._depth = depth
        """Inside how many rules the program stands."""
        self._known: dict[tuple[int, int, int], Link | None] = {}
        self._rules: dict[int, BackwardRule] = {}
        self._inside: dict[int, list[Link | None]] = {}

    def __call__(self, eqn: Equation, operand: int, output: int) -> Link | None:
        """A `Link`, or None where no derivative flows."""
        key = (eqn.outputs[0], operand, output)
        if key not in self._known:
            self._known[key] = self._find(eqn, operand, output)
        return self._known[key]

    def _find(self, eqn: Equation, operand: int, output: int) -> Link | None:
        if not self._has_derivative(eqn, operand, output):
            return None
        if eqn.is_custom or (eqn.primitive is UNKNOWN and eqn.may_have_a_rule):
            return self._rule(eqn).links.get((operand, output))
        if eqn.traits.runs in FOLLOWED:
            return self._through(eqn, output)[operand]
        return link_of(self.program, eqn, operand, output)

    def _has_derivative(self, eqn: Equation, operand: int, output: int) -> bool:
        """Is there one, and is it not zero everywhere?"""
        is_inexact = self.program.is_inexact
        are_inexact = is_inexact(eqn.inputs[operand]) and is_inexact(eqn.outputs[output])
        return are_inexact and not has_no_derivative(self.program, eqn)

    def unproven(self, eqn: Equation) -> list[Equation]:
        """What could not be shown to pull cotangents back by a linear map: the equation, or calls inside a loop."""
        if eqn.is_custom or eqn.may_have_a_rule:
            return [] if self._is_linear(eqn) else [eqn]
        unproven: list[Equation] = []
        for program in _inside(eqn):
            for inner in program.equations:
                unproven += program.links.unproven(inner)
        return unproven

    def _is_linear(self, eqn: Equation) -> bool:
        """Is the rule of a call? One without outputs is never asked."""
        return not eqn.outputs or self._rule(eqn).is_linear

    def _rule(self, eqn: Equation) -> BackwardRule:
        if eqn.outputs[0] not in self._rules:
            moved = [i for i, v in enumerate(eqn.inputs) if v in self._moved]
            table = functools.partial(Links, depth=self._depth + 1) if self._depth < _DEEPEST else None
            self._rules[eqn.outputs[0]] = find_rule(self.program, eqn, moved, table)
        return self._rules[eqn.outputs[0]]

    def _through(self, eqn: Equation, output: int) -> list[Link | None]:
        var = eqn.outputs[output]
        if var not in self._inside:
            self._inside[var] = links_through(self.program, eqn, output, functools.partial(Links, depth=self._depth))
        return self._inside[var]

    @functools.cached_property
    def _moved(self) -> Mapping[int, bool]:
        """What has a tangent. A rule of `equinox.filter_custom_vjp` may assert that other operands have none."""
        program = self.program

        def transfer(eqn: Equation, operands: Sequence[bool | None]) -> list[bool | None] | None:
            stops = not any(operands) or has_no_derivative(program, eqn)
            return None if stops else [program.is_inexact(v) or None for v in eqn.outputs]

        moved = filter(program.is_inexact, program.inputs if program.moved is None else program.moved)
        return propagate(program.equations, dict.fromkeys(moved, True), transfer, max)


def is_collective(eqn: Equation) -> bool:
    """Does it, or anything that it runs, reach over a named axis around the step?"""
    inside = [inner for program in _inside(eqn) for inner in program.equations]
    return eqn.is_collective or any(map(is_collective, inside))


def _inside(eqn: Equation) -> list[Program]:
    return [flatten(held, Links) for held in _jax.inner_jaxprs(eqn)]

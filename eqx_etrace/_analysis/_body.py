"""The body of a step: the equations that meet data, and how they read the prologue."""

import dataclasses
from collections.abc import Mapping

from ._dependence import union
from ._primitive import CONV, DOT
from ._program import Equation
from ._step import Step


@dataclasses.dataclass(frozen=True)
class Use:
    """One head: an effective weight in a contraction or a convolution with data."""

    equation: Equation
    operand: int
    """Which operand is the weight."""

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
    def held(self) -> Equation:
        """The same equation reading a copy of the weight, which is named ~weight."""
        inputs = tuple(~v if i == self.operand else v for i, v in enumerate(self.equation.inputs))
        return dataclasses.replace(self.equation, inputs=inputs)


@dataclasses.dataclass(frozen=True)
class Body:
    """What is run once per step."""

    equations: tuple[Equation, ...]
    weights: tuple[int, ...]
    """What it reads of the prologue that depends on parameters: the effective weights."""
    heads: tuple[Use, ...]

    @property
    def held(self) -> tuple[Equation, ...]:
        """The equations, every head reading its copy of the weight."""
        held = {use.output: use.held for use in self.heads}
        return tuple(held.get(eqn.outputs[0], eqn) if eqn.outputs else eqn for eqn in self.equations)


def find_body(step: Step, bits: Mapping[int, int], fixed: frozenset[int]) -> Body:
    """Take the body of a step apart. `bits` says what each variable depends on, the parameters first."""
    equations = tuple(e for e in step.program.equations if not e.outputs or not fixed.issuperset(e.outputs))
    parameters = union(bits, step.parameters)
    read = {v for eqn in equations for v in eqn.inputs} | {*step.out_inexact, *step.new_states}
    weights = {v for v in read if v in fixed and bits.get(v, 0) & parameters}
    heads = [
        Use(eqn, i)
        for eqn in equations
        if eqn.primitive in (DOT, CONV)
        for i, v in enumerate(eqn.inputs)
        if v in weights and eqn.inputs[1 - i] not in fixed
    ]
    return Body(equations, tuple(sorted(weights)), tuple(heads))

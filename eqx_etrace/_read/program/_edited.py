"""Programs with more equations at their ends."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax

from ... import _jax
from ._inline import Inliner
from ._program import Equation, Program


def without_derivative(program: Program, which: Sequence[int]) -> Program:
    """Let no derivative through to these outputs; each gets a variable of its own."""
    avals, equations, outputs = list(program.avals), list(program.equations), list(program.outputs)
    for i in which:
        stopped = jax.make_jaxpr(jax.lax.stop_gradient)(avals[outputs[i]])
        (eqn,) = _jax.opened(stopped)[0].eqns
        avals.append(avals[outputs[i]])
        equations.append(Equation(eqn, (outputs[i],), (len(avals) - 1,)))
        outputs[i] = len(avals) - 1
    return dataclasses.replace(program, avals=avals, outputs=tuple(outputs), equations=tuple(equations))


def with_fresh_outputs(program: Program, which: Sequence[int]) -> Program:
    """Give each of these outputs a variable of its own, defined by an equation of its own."""
    avals, equations, outputs = list(program.avals), list(program.equations), list(program.outputs)
    defined = {v for eqn in equations for v in eqn.outputs}
    taken: set[int] = set()
    for i in which:
        var = outputs[i]
        if var not in defined or var in taken:
            avals.append(avals[var])
            outputs[i] = len(avals) - 1
            equations.append(Equation(None, (var,), (outputs[i],)))
        taken.add(outputs[i])
    return dataclasses.replace(program, avals=avals, outputs=tuple(outputs), equations=tuple(equations))


class Rewriting:
    """A program that is written anew, equation after equation, on the same variables."""

    def __init__(self, program: Program):
        self._before = program
        self._build = Inliner(program.table, by_value=False)
        self._build.avals, self._build.constants = list(program.avals), dict(program.constants)

    @property
    def program(self) -> Program:
        """As it is now."""
        build = self._build
        return dataclasses.replace(
            self._before, avals=build.avals, constants=build.constants, equations=tuple(build.equations)
        )

    def keep(self, *equations: Equation) -> None:
        """Equations as they were."""
        self._build.equations += equations

    def shape(self, var: int) -> tuple[int, ...]:
        return tuple(self._build.avals[var].shape)

    def compute(self, function: Callable[..., Any], arguments: Sequence[int], eqn: Equation | None) -> tuple[int, ...]:
        """What a function makes of variables, written out for an equation of the user's."""
        start = len(self._build.equations)
        jaxpr, consts = _jax.opened(jax.make_jaxpr(function)(*(self._build.avals[v] for v in arguments)))
        made = self._build.inline(jaxpr, consts, arguments)
        origin = None if eqn is None else eqn.jaxpr_eqn if eqn.origin is None else eqn.origin
        written = self._build.equations[start:]
        self._build.equations[start:] = [dataclasses.replace(one, origin=origin) for one in written]
        return made

    def name(self, old: int, new: int) -> None:
        """An old variable is this new one."""
        self.keep(Equation(None, (new,), (old,)))


def made_first(
    program: Program, function: Callable[..., Any], given: Sequence[jax.ShapeDtypeStruct], made: int
) -> tuple[Program, tuple[int, ...]]:
    """Compute an input from others, before all else; the variables of these."""
    avals = [*program.avals, *given]
    variables = tuple(range(len(program.avals), len(avals)))
    build = Rewriting(dataclasses.replace(program, avals=avals))
    reader = next((eqn for eqn in program.equations if made in eqn.inputs), None)
    (result,) = build.compute(function, variables, reader)
    build.name(made, result)
    build.keep(*program.equations)
    return build.program, variables


def made_last(program: Program, function: Callable[..., Any], given: int) -> tuple[Program, tuple[int, ...]]:
    """Compute more from one variable, after all else; the variables of what is computed."""
    build = Rewriting(program)
    build.keep(*program.equations)
    variables = build.compute(function, [given], program.producer[given])
    return build.program, variables

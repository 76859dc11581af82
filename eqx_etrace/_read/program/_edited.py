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


def made_first(
    program: Program, function: Callable[..., Any], given: Sequence[jax.ShapeDtypeStruct], made: int
) -> tuple[Program, tuple[int, ...]]:
    """Compute an input from others, before all else; the variables of these."""
    build = Inliner(program.table, by_value=False)
    build.avals, build.constants = list(program.avals), dict(program.constants)
    jaxpr, consts = _jax.opened(jax.make_jaxpr(function)(*given))
    variables = tuple(build.variable(v.aval) for v in jaxpr.invars)
    (result,) = build.inline(jaxpr, consts, variables)
    build.equations.append(Equation(None, (result,), (made,)))
    reader = next((eqn for eqn in program.equations if made in eqn.inputs), None)
    equations = (*_for(reader, build.equations), *program.equations)
    return _with(program, build, equations), variables


def made_last(program: Program, function: Callable[..., Any], given: int) -> tuple[Program, tuple[int, ...]]:
    """Compute more from one variable, after all else; the variables of what is computed."""
    build = Inliner(program.table, by_value=False)
    build.avals, build.constants = list(program.avals), dict(program.constants)
    variables = build.inline(*_jax.opened(jax.make_jaxpr(function)(program.avals[given])), [given])
    equations = (*program.equations, *_for(program.producer[given], build.equations))
    return _with(program, build, equations), variables


def _for(eqn: Equation | None, equations: Sequence[Equation]) -> list[Equation]:
    """Equations that were written out for this one."""
    origin = None if eqn is None else eqn.jaxpr_eqn if eqn.origin is None else eqn.origin
    return [dataclasses.replace(made, origin=origin) for made in equations]


def _with(program: Program, build: Inliner, equations: tuple[Equation, ...]) -> Program:
    return dataclasses.replace(program, avals=build.avals, constants=build.constants, equations=equations)

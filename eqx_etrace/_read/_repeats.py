"""Heads that are written twice: `W @ x` in every stage of a Runge-Kutta step, inside a loop and beside it.

Both enter the same positions by the same product, and one trace serves them. So the second is read from the first. It
is not where the two enter different positions: there each has a trace by itself. So it is with a weight that is its own
output, such as a rate that each stage computes from a time constant.
"""

import dataclasses
from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from .by_position import Tail
from .program import Equation, is_function, Program
from .step import Step


def without_repeats(step: Step, tails: Sequence[Tail]) -> Step:
    """The same step, every head computed once."""
    again = _again(step.program, tails)
    return dataclasses.replace(step, program=_read_from(step.program, again)) if again else step


def _again(program: Program, tails: Sequence[Tail]) -> dict[int, int]:
    """By output of a head that is written again, that of the first."""
    values = _values(program)
    first: dict[Hashable, int] = {}
    again: dict[int, int] = {}
    for output, positions in _heads(tails).items():
        if output not in program.outputs and _is_made_alone(program, output):
            again[output] = first.setdefault((values[output], positions), output)
    return {var: of for var, of in again.items() if var != of}


def _is_made_alone(program: Program, var: int) -> bool:
    eqn = program.producer.get(var)
    return eqn is not None and len(eqn.outputs) == 1


def _heads(tails: Sequence[Tail]) -> dict[int, tuple[Hashable, ...]]:
    """The outputs of heads in order, and weights that are their own, and where each enters."""
    positions: dict[int, list[Hashable]] = {}
    for tail in tails:
        for site in tail.sites:
            output = site.weight if site.output is None else site.output
            positions.setdefault(output, []).append((tail.group.index, site.frame.tobytes()))
    return {output: tuple(positions[output]) for output in sorted(positions)}


def _read_from(program: Program, again: Mapping[int, int]) -> Program:
    left = filter(lambda eqn: again.keys().isdisjoint(eqn.outputs), program.equations)
    equations = (dataclasses.replace(eqn, inputs=_renamed(eqn.inputs, again)) for eqn in left)
    return dataclasses.replace(program, equations=tuple(equations))


def _renamed(variables: Sequence[int], again: Mapping[int, int]) -> tuple[int, ...]:
    return tuple(again.get(v, v) for v in variables)


def _values(program: Program) -> dict[int, Hashable]:
    """Equal for variables that are equal whatever the numbers: the same is made of the same in the same way."""
    numbers: dict[Hashable, int] = {}
    values: dict[int, Hashable] = {v: _constant(v, value) for v, value in program.constants.items()}
    for eqn in program.equations:
        made = _made(eqn, values)
        number = numbers.setdefault(made, len(numbers))
        values |= {v: (number, j) for j, v in enumerate(eqn.outputs)}
    return values


def _constant(var: int, value: object) -> Hashable:
    array = np.asarray(value) if isinstance(value, int | float | np.generic) else None
    return ("variable", var) if array is None else (type(value), str(array.dtype), array.tobytes())


def _made(eqn: Equation, values: Mapping[int, Hashable]) -> Hashable:
    """What says how it is made; of an operation that is not known, itself."""
    inputs = tuple(values.get(v, ("variable", v)) for v in eqn.inputs)
    if eqn.jaxpr_eqn is None or not is_function(eqn.jaxpr_eqn):
        return eqn.outputs
    # Of what JAX staged once and runs twice, the equation is the same one.
    as_written = ("custom", id(eqn.jaxpr_eqn)) if eqn.is_custom else tuple(sorted(eqn.params.items(), key=_name))
    made = (eqn.primitive, as_written, inputs)
    try:
        hash(made)
    except TypeError:
        return eqn.outputs
    return made


def _name(item: tuple[str, object]) -> str:
    return item[0]

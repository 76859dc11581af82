"""A staged step whose packed states are taken apart."""

import dataclasses
from collections.abc import Mapping, Sequence

import jax

from ..program import made_first, made_last, Program, without_detours
from ._boxes import Places, put_together, take_apart
from ._step import Step


def taken_apart(step: Step, places: Sequence[Places]) -> Step:
    """The same step on the parts of some arrays of its state. `places` says where, for every inexact array."""
    state = dataclasses.replace(step.state, places=tuple(places))
    program, moved = step.program, step.program.moved or ()
    by_number = [at for at, whole in zip(places, step.state.parts, strict=True) for _ in whole]
    wholes: dict[int, tuple[int, ...]] = {}
    for before, at in zip(step.states, by_number, strict=True):
        if at:
            program, wholes[before] = _from_parts(program, before, at)
    for after, at in zip(step.new_states, by_number, strict=True):
        if at:
            program, wholes[after] = _into_parts(program, after, at)
    inputs, outputs = (_replaced(variables, wholes) for variables in (program.inputs, program.outputs))
    moved = frozenset(_replaced([*moved], wholes))
    program = without_detours(dataclasses.replace(program, inputs=inputs, outputs=outputs, moved=moved))
    old, new = (_replaced(variables, wholes) for variables in (step.states, step.new_states))
    whole = [var for var in step.new_states for _ in wholes.get(var, (var,))]
    return dataclasses.replace(step, program=program, state=state, states=old, new_states=new, wholes=tuple(whole))


def _from_parts(program: Program, whole: int, at: Places) -> tuple[Program, tuple[int, ...]]:
    """An input made of parts: their variables."""
    shape = program.shape(whole)
    parts = take_apart(jax.ShapeDtypeStruct(shape, program.avals[whole].dtype), at)
    return made_first(program, lambda *each: put_together(each, shape, at), parts, whole)


def _into_parts(program: Program, whole: int, at: Places) -> tuple[Program, tuple[int, ...]]:
    """An output taken apart: the variables of the parts."""
    return made_last(program, lambda array: take_apart(array, at), whole)


def _replaced(variables: Sequence[int], by: Mapping[int, Sequence[int]]) -> tuple[int, ...]:
    return tuple(part for var in variables for part in by.get(var, (var,)))

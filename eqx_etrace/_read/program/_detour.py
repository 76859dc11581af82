"""Arrays that are put together and taken apart again.

What is sliced from a concatenation is often one of its operands. Read from there, it depends on that operand alone.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import jax
import numpy as np
from jaxtyping import Int

from ... import _jax
from ..primitives import Flow
from ._link import Aligned, Moved, NONE
from ._program import Equation, Program

_Origin = tuple[Int[np.ndarray, "..."], Int[np.ndarray, "..."]]
"""By element, the variable that it was moved from, and its number there."""
_MOVES = frozenset({Flow.REARRANGED, Flow.PARTED, Flow.JOINED, Flow.PAIRED})


def without_detours(program: Program) -> Program:
    """The same program; what is put together and taken apart again is read from where it was."""
    origins: dict[int, _Origin] = {}
    equations: list[Equation] = []
    for eqn in program.equations:
        found = {v: _origin(program, eqn, j, origins) for j, v in enumerate(eqn.outputs)}
        origins |= {v: origin for v, origin in found.items() if origin is not None}
        equations += _from_sources(program, eqn, origins) or [eqn]
    return dataclasses.replace(program, equations=_read(equations, program.outputs))


def _from_sources(program: Program, eqn: Equation, origins: Mapping[int, _Origin]) -> list[Equation]:
    """The outputs of an equation, each read from where it was; nothing if one was nowhere as a whole."""
    sources = {v: _source(program, v, origins) for v in eqn.outputs}
    shorter = [_reshaped(program, eqn, v, source) for v, source in sources.items() if source is not None]
    return shorter if len(shorter) == len(eqn.outputs) else []


def _origin(program: Program, eqn: Equation, output: int, origins: Mapping[int, _Origin]) -> _Origin | None:
    """Of what was moved from a concatenation, or is one; None for all else."""
    is_joined = eqn.traits.flow is Flow.JOINED
    if not (is_joined or (eqn.traits.flow in _MOVES and not origins.keys().isdisjoint(eqn.inputs))):
        return None
    size = int(np.prod(program.shape(eqn.outputs[output])))
    variables, numbers = np.full(size, NONE), np.full(size, NONE)
    for i, var in enumerate(eqn.inputs):
        link = program.links(eqn, i, output)
        if isinstance(link, Aligned | Moved):
            taken = np.arange(size) if isinstance(link, Aligned) else link.taken.ravel()
            here = taken >= 0
            theirs = origins.get(var) or _itself(program, var)
            variables[here], numbers[here] = (of[taken[here]] for of in theirs)
        elif link is not None:
            return None
    return variables, numbers


def _itself(program: Program, var: int) -> _Origin:
    numbers = np.arange(int(np.prod(program.shape(var))))
    return np.full_like(numbers, var), numbers


def _source(program: Program, var: int, origins: Mapping[int, _Origin]) -> int | None:
    """The variable that all of this one was moved from, in order; None if there is no one such."""
    if var not in origins or origins[var][0].size == 0:
        return None
    variables, _ = origins[var]
    source = int(variables[0])
    return source if source != NONE and _is_all_of(program, source, origins[var]) else None


def _is_all_of(program: Program, source: int, origin: _Origin) -> bool:
    """Is what has this origin all of one variable, in order?"""
    variables, numbers = origin
    is_all = (variables == source).all() and variables.size == np.prod(program.shape(source))
    return bool(is_all and (numbers == np.arange(variables.size)).all())


def _reshaped(program: Program, eqn: Equation, var: int, source: int) -> Equation:
    """The variable, from its source."""
    staged = jax.make_jaxpr(lambda array: array.reshape(program.shape(var)))(program.avals[source])
    moves = _jax.opened(staged)[0].eqns
    origin = eqn.jaxpr_eqn if eqn.origin is None else eqn.origin
    return Equation(moves[0] if moves else None, (source,), (var,), origin)


def _read(equations: Sequence[Equation], outputs: Sequence[int]) -> tuple[Equation, ...]:
    """Without the movements that nothing reads any more."""
    needed, kept = set(outputs), list[Equation]()
    for eqn in reversed(equations):
        if eqn.traits.flow not in _MOVES or not needed.isdisjoint(eqn.outputs):
            kept.append(eqn)
            needed.update(eqn.inputs)
    return tuple(reversed(kept))

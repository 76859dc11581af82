"""What makes a step no pure function of arrays, and which no trace can follow."""

from collections.abc import Callable
from typing import Any

from ... import _jax, _source
from ..program import Program


def check_pure(program: Program) -> None:
    """Does all credit go through arrays, and does the same come of the same? Also inside loops, branches and calls.

    **Raises** `ValueError` with the user's line.
    """
    for eqn in program.equations:
        for is_met, advice in () if eqn.jaxpr_eqn is None else _ADVICE:
            held = _first(eqn.jaxpr_eqn, is_met)
            if held is not None:
                line = _source.source_line(held) if held is not eqn.jaxpr_eqn else eqn.source
                raise ValueError(advice.format(primitive=held.primitive, line=line))


def _first(eqn: Any, is_met: Callable[[Any], bool]) -> Any:
    """The first equation, this or one inside it, at which it holds; None if at none."""
    if is_met(eqn):
        return eqn
    inside = (inner for held in _jax.inner_jaxprs(eqn) for inner in _jax.opened(held)[0].eqns)
    return next(filter(None, (_first(inner, is_met) for inner in inside)), None)


def _meets_reference(eqn: Any) -> bool:
    """A mutable array of inexact numbers: credit goes in and comes out, in no equation's operands or outputs."""
    return any(_jax.is_inexact_reference(v.aval) for v in (*eqn.invars, *eqn.outvars))


def _is_answered(eqn: Any) -> bool:
    """Has it itself an effect outside, and an answer from there?"""
    if not eqn.effects or not eqn.outvars or _jax.inner_jaxprs(eqn) or _jax.is_collective(eqn):
        return False
    return not any(_jax.is_reference(v.aval) for v in (*eqn.invars, *eqn.outvars))


_ADVICE = [
    (
        _meets_reference,
        "The step uses a mutable array (`jax.new_ref`) at {line}. What is written into it and read again is credit "
        "that no trace can follow. Use ordinary arrays, updated by `x = x.at[i].set(value)`, and return what is to be "
        "kept as part of the state. Mutable arrays of integers are no hindrance.",
    ),
    (
        _is_answered,
        "The step is not a pure function: `{primitive}` at {line} has a side effect and gives an answer (as "
        "`jax.experimental.io_callback` does). A step is run more than once for one gradient, and would be answered "
        "anew. Pass what changes from step to step as an input; use `jax.pure_callback` if the same is always answered "
        "to the same. What only tells (`jax.debug.print`, or an `io_callback` whose result is None) is no hindrance.",
    ),
]

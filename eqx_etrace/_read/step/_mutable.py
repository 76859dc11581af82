"""Mutable arrays: credit that goes into one and comes out of it again is in no equation's operands or outputs."""

from typing import Any

from ... import _jax, _source
from ..program import Program


def check_references(program: Program) -> None:
    """Is everything that may carry credit an array, also inside loops, branches and calls?

    **Raises** `ValueError` with the user's line.
    """
    for eqn in program.equations:
        held = None if eqn.jaxpr_eqn is None else _first(eqn.jaxpr_eqn)
        if held is not None:
            line = _source.source_line(held) if held is not eqn.jaxpr_eqn else eqn.source
            raise ValueError(
                f"The step uses a mutable array (`jax.new_ref`) at {line}. What is written into it and read again is "
                "credit that no trace can follow. Use ordinary arrays, updated by `x = x.at[i].set(value)`, and return "
                "what is to be kept as part of the state. Mutable arrays of integers are no hindrance."
            )


def _first(eqn: Any) -> Any:
    """The first equation, this or one inside it, that meets a mutable array of inexact numbers; None if none does."""
    if any(_jax.is_inexact_reference(v.aval) for v in (*eqn.invars, *eqn.outvars)):
        return eqn
    inside = (inner for held in _jax.inner_jaxprs(eqn) for inner in _jax.opened(held)[0].eqns)
    return next(filter(None, map(_first, inside)), None)

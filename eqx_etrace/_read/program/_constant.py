"""The values of variables that are made from constants alone."""

from typing import Any

import jax
import numpy as np
from jax.core import Tracer

from ._program import Program


def constant_value(program: Program, var: int, known: dict[int, Any] | None = None) -> np.ndarray | None:
    """The value of a variable made from constants alone; None if there is no such value.

    `known` is what earlier calls on this program worked out.
    """
    with jax.ensure_compile_time_eval():
        value = _value(program, var, {} if known is None else known)
    return None if value is None else np.asarray(value)


def _value(program: Program, var: int, known: dict[int, Any]) -> Any:
    """The same as JAX has it, for a typed key has no NumPy array; its operands are worked out first."""
    left = [var]
    while left:
        missing = None if left[-1] in known else _work_out(program, left[-1], known)
        if missing is None:
            left.pop()
        else:
            left.append(missing)
    return known[var]


def _work_out(program: Program, var: int, known: dict[int, Any]) -> int | None:
    """Make it known, or say which operand must be known before."""
    eqn = program.producer.get(var)
    if eqn is None or eqn.has_effects or eqn.is_collective:
        value = program.constants.get(var)
        known[var] = None if isinstance(value, Tracer) else value
        return None
    if any(v in known and known[v] is None for v in eqn.inputs):
        known.update(dict.fromkeys(eqn.outputs))
        return None
    missing = next((v for v in eqn.inputs if v not in known), None)
    if missing is None:
        known.update(zip(eqn.outputs, eqn.bind([known[v] for v in eqn.inputs]), strict=True))
    return missing

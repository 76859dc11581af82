"""How effective weights are made of the parameters, as a text that is the same wherever the step is staged.

A trace is of the weights that there were when it was made: of `0.5 m`, or of row 3 of a table. A number or an index
that stands in the step and is another one in the next call makes another weight of the same shape. Its recipe tells.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from .primitives import NO_MATTER
from .program import Equation
from .step import Step

_NO_MATTER = frozenset(NO_MATTER.split())


def recipes(step: Step, fixed: frozenset[int]) -> Mapping[int, str]:
    """Of every variable that depends on the model alone. Of arrays that the step closes over it has the shape."""
    known = _given(step)
    for eqn in step.program.equations:
        if eqn.outputs and fixed.issuperset(eqn.outputs):
            made = recipe(eqn, known)
            known |= {v: f"{made} {j}" if j else made for j, v in enumerate(eqn.outputs)}
    return known


def _given(step: Step) -> dict[int, str]:
    """Of the constants and the model."""
    known = {var: _constant(value) for var, value in step.program.constants.items()}
    known |= {var: f"parameter {i}" for i, var in enumerate(step.parameters)}
    return known | {var: f"beside them {i}" for i, var in enumerate(step.model_rest)}


def _constant(value: Any) -> str:
    """Of an array not what is in it: that may not be known here, and is looked at in each call."""
    return f"array {value.shape}" if isinstance(value, jax.Array) else f"number {np.asarray(value).item()!r}"


def recipe(eqn: Equation, known: Mapping[int, str]) -> str:
    """Of what an equation makes. What only rounds or copies is left out: weak types come and go with updates."""
    operands = [known.get(v, "data") for v in eqn.inputs]
    if eqn.jaxpr_eqn is None or (eqn.traits.copies and not eqn.traits.stops_gradient):
        return operands[0]
    text = "\n".join([eqn.name, *_how(eqn), *operands])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _how(eqn: Equation) -> list[str]:
    """The parameters that matter of an operation; a call with a rule of its own goes by its name."""
    named = {} if eqn.is_custom else eqn.params
    return [f"{name}={without_address(value)}" for name, value in sorted(named.items()) if name not in _NO_MATTER]


def without_address(value: Any) -> str:
    """What is printed of a value, functions without the address that they have in this process."""
    return re.sub(" at 0x[0-9a-f]+", "", repr(value))

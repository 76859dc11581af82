"""Positions that an index of the model decides.

Where synapses are summed at an index that is an array of the model, each enters one unit, and which one is not known
when the step is read. So the synapses are labelled by their number. In a call the index says which unit each number is.
The index stands still, as the weights do.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from ..program import DECIDED, entered, Equation, NONE, Positions, Program

Env = Mapping[Any, Any]
"""By variable: arrays, and the scalars of literals."""


@dataclasses.dataclass(frozen=True, eq=False)
class Decision:
    """Positions that an index of the model decides: those of what is added to elements at the index."""

    equation: Equation
    """What adds it."""
    frame: Positions
    """The positions of its output."""

    @property
    def index(self) -> int:
        """The variable that holds the index."""
        return self.equation.inputs[1]

    def rows(self, program: Program, frame: Positions, values: Env) -> Int[Array, "..."]:
        """By element of a variable with this frame, the element of the output that it enters; NONE if none."""
        every = entered(program, self.equation, values[self.index])
        number = np.where(frame >= 0, frame % DECIDED, NONE)
        if number.size == every.size and (number.ravel() == np.arange(number.size)).all():
            return every.reshape(frame.shape)
        return jnp.where(number < 0, NONE, every.reshape(-1)[np.maximum(number, 0)])

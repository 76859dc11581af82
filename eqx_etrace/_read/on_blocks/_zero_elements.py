"""Where values are zero by structure."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jax.core import Tracer

from ..primitives import Flow
from ..program import constant_value, Equation, Program, propagate


class Zeros:
    """Where values are zero by structure: constants, and what multiplies or moves them."""

    def __init__(self, program: Program):
        self.program = program
        self._masks: dict[int, np.ndarray | None] = {}
        self._values: dict[int, Any] = {}

    def of(self, var: int) -> np.ndarray | None:
        """False where the variable is zero whatever the parameters; None if nowhere."""
        left = [] if var in self._masks else [var]
        while left:  # its factors before itself, without recursion
            missing = [v for v in self._factors(left[-1]) if v not in self._masks]
            if missing:
                left.append(missing[0])
            else:
                now = left.pop()
                self._masks[now] = self._find(now)
        return self._masks[var]

    def _factors(self, var: int) -> tuple[int, ...]:
        """Variables whose zeros are its own."""
        eqn = self.program.producer.get(var)
        if eqn is None or var in self._constant or not _passes_zeros(eqn):
            return ()
        return eqn.inputs

    @functools.cached_property
    def _constant(self) -> Mapping[int, bool]:
        """The variables that are made from constants alone, whose values are known."""

        def transfer(eqn: Equation, operands: Sequence[bool | None]) -> list[bool] | None:
            return [True] * len(eqn.outputs) if operands and all(operands) else None

        known = {var: True for var, value in self.program.constants.items() if not isinstance(value, Tracer)}
        return propagate(self.program.equations, known, transfer, max)

    def _find(self, var: int) -> np.ndarray | None:
        value = constant_value(self.program, var, self._values) if var in self._constant else None
        if value is not None:
            return _nonzero(value)
        masks = [mask for mask in map(self._masks.__getitem__, self._factors(var)) if mask is not None]
        return _combined(self.program, self.program.producer[var], masks) if masks else None


def _nonzero(value: np.ndarray) -> np.ndarray | None:
    """Where it is anything but zero; None if that is everywhere."""
    nonzero = np.asarray(value != 0)
    return None if nonzero.all() else nonzero


def _combined(program: Program, eqn: Equation, masks: Sequence[np.ndarray]) -> np.ndarray:
    if eqn.traits.move is not None:
        return np.asarray(eqn.traits.move(masks[0], **eqn.params))
    shape = program.shape(eqn.outputs[0])
    return np.asarray(np.logical_and.reduce([np.broadcast_to(mask, shape) for mask in masks]))


def _passes_zeros(eqn: Equation) -> bool:
    """Is an element zero where that of an operand is?"""
    return eqn.traits.keeps_zero or eqn.traits.is_product or eqn.traits.flow is Flow.REARRANGED

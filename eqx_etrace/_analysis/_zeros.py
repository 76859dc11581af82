"""Where values are zero by structure."""

import numpy as np
from jax.core import Tracer

from .. import _compat
from ._primitive import constant_value, SHAPED
from ._program import Program

MULTIPLY = frozenset(_compat.primitives("mul"))
_KEEPS_ZERO = frozenset(
    _compat.primitives("neg sin tan tanh sinh asin atan asinh atanh abs sign sqrt square real imag")
)


class Zeros:
    """Where values are zero by structure: constants, and what multiplies or moves them."""

    def __init__(self, program: Program):
        self.program = program
        self._known: dict[int, np.ndarray | None] = {}

    def of(self, var: int) -> np.ndarray | None:
        """False where the variable is zero whatever the parameters; None if nowhere."""
        if var not in self._known:
            self._known[var] = self._find(var)
        return self._known[var]

    def _find(self, var: int) -> np.ndarray | None:
        value = constant_value(self.program, var) if self._is_constant(var) else None
        if value is not None:
            return None if (value != 0).all() else np.asarray(value != 0)
        eqn = self.program.producer.get(var)
        if eqn is None:
            return None
        shape = self.program.shape(var)
        masks = [self.of(v) for v in eqn.inputs] if eqn.primitive in MULTIPLY | _KEEPS_ZERO | set(SHAPED) else []
        if all(mask is None for mask in masks):
            return None
        if eqn.primitive in SHAPED:
            return np.asarray(SHAPED[eqn.primitive](masks[0], **eqn.params))
        return np.asarray(np.logical_and.reduce([np.broadcast_to(m, shape) for m in masks if m is not None]))

    def _is_constant(self, var: int) -> bool:
        if var in self.program.constants:
            return not isinstance(self.program.constants[var], Tracer)
        eqn = self.program.producer.get(var)
        return eqn is not None and bool(eqn.inputs) and all(self._is_constant(v) for v in eqn.inputs)

"""The rules: what is kept of the influence of the past, and how it moves from step to step.

A rule is a frozen configuration. It says how the trace of one relation starts, how one step or a window of steps
advances it, and how a learning signal is contracted with it; the trace itself lives outside, in the `ETrace` that the
user carries.
"""

import abc
from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Inexact, PyTree

from .._head import Product
from ..by_position import Drive, Trace, Window


class AbstractRule(eqx.Module):
    """What is kept of the influence of the past."""


class AbstractPositionRule(AbstractRule):
    """A rule that keeps the part of the Jacobian which stays in its position: one trace per relation."""

    @abc.abstractmethod
    def init(self, trace: Trace) -> PyTree[Array]:
        """The trace before the first step: zeros."""

    @abc.abstractmethod
    def advance(self, trace: Trace, value: PyTree[Array], drive: Drive) -> PyTree[Array]:
        """The trace after one more step."""

    @abc.abstractmethod
    def advance_window(self, trace: Trace, value: PyTree[Array], window: Window) -> PyTree[Array]:
        """The trace after a window of steps: the same as after each of them, to rounding."""

    @abc.abstractmethod
    def contract(
        self, trace: Trace, value: PyTree[Array], signal: Sequence[Inexact[Array, "..."]]
    ) -> Inexact[Array, "..."] | Product | None:
        """The cotangent of the effective weight, or its factors, from a learning signal per state; None for none."""

    @abc.abstractmethod
    def approximates(self, trace: Trace) -> str | None:
        """What it gives up beside the mixing of positions, in words; None if nothing."""

    @abc.abstractmethod
    def work(self, trace: Trace) -> int:
        """Multiply-adds of one step on the trace."""


class AbstractBlockRule(AbstractRule):
    """A rule that keeps influence on chosen scalars of the state, with the full Jacobian between them."""

    @property
    @abc.abstractmethod
    def steps(self) -> int | None:
        """The scalars that a weight reaches within so many steps are kept; for None, in any number."""

    @property
    @abc.abstractmethod
    def most_bytes(self) -> int:
        """The most memory that the traces may take."""


def as_dtype(dtype: DTypeLike | None) -> np.dtype | None:
    """The dtype of a stored trace: a real floating-point one, or None for that of the step."""
    if dtype is None:
        return None
    try:
        found = jnp.dtype(dtype)
    except TypeError:
        raise TypeError(f"`trace_dtype` is {dtype!r}, which is no dtype; use one such as `jnp.bfloat16`.") from None
    if not jnp.issubdtype(found, jnp.floating):
        raise TypeError(f"`trace_dtype` is {found}; it must be a floating-point dtype such as `jnp.bfloat16`.")
    return found


def stored(dtype: DTypeLike | None, trace: Trace) -> np.dtype:
    """In which dtype the arrays of this trace are kept. No complex dtype is smaller than that of the step."""
    is_complex = jnp.issubdtype(trace.dtype, jnp.complexfloating)
    return trace.dtype if dtype is None or is_complex else jnp.dtype(dtype)

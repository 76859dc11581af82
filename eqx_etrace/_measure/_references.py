"""Exact gradients to measure an online learner by, while it runs.

A reference carries a memory along the calls of the learner. At every call it takes the arguments of that call and gives
what computes the exact gradient of its loss, or losses, and the new memory.
"""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree

from .._carry import RTRL, TraceTooLargeError
from .._grad import ETraceGrad
from .._read import PatternTooLargeError
from .._sharding import scan

Exact = Callable[[], PyTree]
"""The gradient; computed where it is called."""


class AbstractReference(eqx.Module):
    """Where exact gradients come from."""

    @abc.abstractmethod
    def init(self, model: PyTree, state: PyTree, inputs: tuple[Any, ...]) -> PyTree:
        """The memory before the first call."""

    @abc.abstractmethod
    def follow(
        self, model: PyTree, state: PyTree, memory: PyTree, inputs: tuple[Any, ...], count: Int[Array, ""]
    ) -> tuple[Exact, PyTree]:
        """One call; `count` of them came before it."""


class Shadow(AbstractReference):
    """RTRL beside the learner: all the past, at the parameters that there were. Every call costs a call of RTRL."""

    online: ETraceGrad
    over_scan: bool = eqx.field(static=True)

    @property
    def _exact(self) -> ETraceGrad:
        return ETraceGrad(self.online.loss_step, RTRL(), 1, self.online.has_aux, False)

    def init(self, model: PyTree, state: PyTree, inputs: tuple[Any, ...]) -> PyTree:
        first = jax.tree.map(lambda x: x[0] if eqx.is_array(x) else x, inputs) if self.over_scan else inputs
        try:
            self._check(model, state, first)
            return self._exact.init(model, state, *first)
        except (TraceTooLargeError, PatternTooLargeError) as error:
            raise ValueError(
                "RTRL does not fit beside this learner, so it cannot be measured by it; give the probe `stretch=`, "
                f"for BPTT through so many stored calls. {error.args[0]}"
            ) from error

    def _check(self, model: PyTree, state: PyTree, inputs: tuple[Any, ...]) -> None:
        for row in self._exact.graph(model, state, *inputs).report(RTRL()).rows:
            if not row.exact:
                raise ValueError(
                    f"RTRL is not exact here ({row.path}: {row.dropped[0]}), so it is no measure; give the "
                    "probe `stretch=`, for BPTT through so many stored calls."
                )

    def follow(
        self, model: PyTree, state: PyTree, memory: PyTree, inputs: tuple[Any, ...], count: Int[Array, ""]
    ) -> tuple[Exact, PyTree]:
        del count
        call = self._exact.scan if self.over_scan else self._exact
        found, _, trace = call(model, state, memory, *inputs)
        gradient = found[0] if self.online.has_aux else found
        return lambda: gradient, trace


class Stretch(AbstractReference):
    """BPTT through stored calls: no further back, at the parameters of the moment."""

    online: ETraceGrad
    over_scan: bool = eqx.field(static=True)
    every: int = eqx.field(static=True)
    length: int = eqx.field(static=True)

    def init(self, model: PyTree, state: PyTree, inputs: tuple[Any, ...]) -> PyTree:
        del model
        return state, jax.tree.map(lambda x: jnp.stack([x] * self.length), eqx.filter(inputs, eqx.is_array))

    def follow(
        self, model: PyTree, state: PyTree, memory: PyTree, inputs: tuple[Any, ...], count: Int[Array, ""]
    ) -> tuple[Exact, PyTree]:
        place = count % self.every - (self.every - self.length)
        begin, stored = memory
        arrays, static = eqx.partition(inputs, eqx.is_array)
        begin = jax.tree.map(
            lambda old, now: jnp.where(place == 0, now, old) if eqx.is_array(now) else now, begin, state
        )

        def store(held: Array, x: Array) -> Array:
            slot = jnp.maximum(place, 0)
            now = jnp.where(place >= 0, x, held[slot])
            return jax.lax.dynamic_update_index_in_dim(held, now, slot, 0)

        stored = jax.tree.map(store, stored, arrays)
        return lambda: self._gradient(model, begin, stored, static), (begin, stored)

    def _gradient(self, model: PyTree, state: PyTree, stored: PyTree, static: PyTree) -> PyTree:
        """Of the loss of the last call, or the sum of its losses, through the whole stretch."""
        arrays, fixed = eqx.partition(state, eqx.is_array)

        def last_loss(model: PyTree) -> Array:
            def step(arrays: PyTree, now: PyTree) -> tuple[PyTree, Array]:
                found, new = self.online.loss_step(model, eqx.combine(arrays, fixed), *eqx.combine(now, static))
                return eqx.filter(new, eqx.is_array), found[0] if self.online.has_aux else found

            def call(arrays: PyTree, now: PyTree) -> tuple[PyTree, Array]:
                arrays, losses = scan(step, arrays, now)
                return arrays, losses.sum()

            return scan(call if self.over_scan else step, arrays, stored)[1][-1]

        return eqx.filter_grad(last_loss)(model)

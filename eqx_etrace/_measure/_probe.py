"""How good an online gradient is, measured while it is used.

Per parameter: the cosine between it and the exact gradient, and the ratio of their norms.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from .._grad import ETraceGrad
from .._spend import ETrace, time_steps
from ._references import AbstractReference, Shadow, Stretch


class Fidelity(eqx.Module):
    """How an online gradient compares with the exact one; NaN before the first measurement.

    `cosine` and `norm_ratio` are pytrees of scalars in the structure of the gradient. The cosine is NaN where one of
    the two gradients is zero, the ratio where both are: before the first spike, or where the loss of the measured call
    is masked. `step` is the call at which it was measured, counted from 0; -1 before the first.
    """

    cosine: PyTree[Float[Array, ""] | None]
    """Per parameter: that of the angle between the two."""
    norm_ratio: PyTree[Float[Array, ""] | None]
    """Per parameter: the norm of the online gradient by that of the exact one."""
    step: Int[Array, ""]
    """The call, of the step or of `scan`."""


class ProbeState(eqx.Module):
    """What a probe carries: a pytree of arrays."""

    count: Int[Array, ""]
    inputs: PyTree
    """The inputs of the call before: their shapes are those to come."""
    memory: PyTree
    """What the reference remembers."""
    last: Fidelity


class FidelityProbe(eqx.Module):
    """Compares the gradient of an online learner with the exact one.

        probe = FidelityProbe(online, every=1000)
        memory = probe.init(model, state, x, y)
        ...
        gradients, new_state, trace = online(model, state, trace, x, y)
        fidelity, memory = probe(model, state, memory, gradients, x, y)     # model and state before the step

    What is measured is the gradient of one call: the loss of that step alone, or that of all steps of one `scan`. Call
    both inside one `eqx.filter_jit`. With the state *after* the step a rule that is exact measures less than 1.

    What is exact is found in one of two ways.

    - Without `stretch`, by RTRL in the shadow of the learner: it holds credit of all the past at the parameters that
      there were, as the learner does, so that a rule that is exact measures 1. It costs a step of RTRL at every step,
      and its memory.
    - With `stretch`, by BPTT through the inputs of so many calls, which are stored: credit reaches back through the
      stretch and no further, from the state that there was at its start, at the parameters of the moment. So a rule
      that is exact measures 1 only while parameters stand still and credit is no older than the stretch; a low value
      may be the drift of the parameters. Between two measurements a step costs the copy of its inputs, and that only
      during the stretch; a measurement costs forward and backward passes through the stretch.

    A probe is made together with the trace of the learner and called after every one of its calls. Everything may be
    inside `jax.jit` or `jax.lax.scan`.

    **Arguments**

    - `online`: what `etrace_grad` or `etrace_value_and_grad` returns; its loss is the one that is differentiated.
    - `every`: measure at every so many calls, at the last one of them.
    - `stretch`: through how many calls, at most `every`; None for RTRL.
    - `over_scan`: are the gradients those of `online.scan`? The inputs then have a leading time axis, for `init` too,
      and a call is a call of `scan`, of always as many steps.

    **Raises** `TypeError` or `ValueError` for what is no transform, a stretch that does not lie between two
    measurements, inputs or gradients of other shapes; `ValueError` from `init` where RTRL does not fit
    or is not exact (a backward rule that is not linear).
    """

    online: ETraceGrad
    every: int = eqx.field(static=True)
    stretch: int | None = eqx.field(default=None, static=True)
    over_scan: bool = eqx.field(default=False, static=True)

    def __check_init__(self) -> None:
        if not isinstance(self.online, ETraceGrad):
            raise TypeError(
                "`online` must be what `etrace_grad` or `etrace_value_and_grad` returns; found "
                f"`{type(self.online).__name__}`."
            )
        stretch = 1 if self.stretch is None else self.stretch
        if any(isinstance(n, bool) or not isinstance(n, int) for n in (self.every, stretch)):
            raise TypeError(
                f"`every` is {self.every!r} and `stretch` {self.stretch!r}; both count calls and must be integers."
            )
        if self.every < 1:
            raise ValueError(f"`every` is {self.every}; it counts calls between two measurements, at least 1.")
        if not 1 <= stretch <= self.every:
            raise ValueError(
                f"`stretch` is {self.stretch} and `every` is {self.every}; a stretch has at least one call and lies "
                "between two measurements, so 1 <= stretch <= every."
            )

    @property
    def _reference(self) -> AbstractReference:
        if self.stretch is None:
            return Shadow(self.online, self.over_scan)
        return Stretch(self.online, self.over_scan, self.every, self.stretch)

    def init(self, model: PyTree, state: PyTree, *inputs: Any) -> ProbeState:
        """The probe before the first call of the learner, made when its trace is. Inputs are those of one call."""
        if self.over_scan:
            time_steps(inputs)
        unknown = jax.tree.map(lambda w: jnp.full((), jnp.nan, w.real.dtype), eqx.filter(model, eqx.is_inexact_array))
        memory = self._reference.init(model, state, inputs)
        last = Fidelity(unknown, unknown, jnp.full((), -1, jnp.int32))
        return ProbeState(jnp.zeros((), jnp.int32), eqx.filter(inputs, eqx.is_array), memory, last)

    def __call__(
        self, model: PyTree, state: PyTree, memory: ProbeState, gradients: PyTree, *inputs: Any
    ) -> tuple[Fidelity, ProbeState]:
        """After every call: the latest measurement, and what to carry. `model` and `state` are those *before* it."""
        if not isinstance(memory, ProbeState):
            raise TypeError(
                f"The third argument must be a `ProbeState` made by `.init`; found `{type(memory).__name__}`. The "
                "arguments are `(model, state, memory, gradients, *inputs)`."
            )
        if isinstance(memory.memory, ETrace) != (self.stretch is None):
            raise ValueError(
                "This `ProbeState` was made by a probe "
                + ("with a `stretch`" if self.stretch is None else "without `stretch`")
                + ", this probe is another. Make one with its own `.init`."
            )
        arrays = eqx.filter(inputs, eqx.is_array)
        _check_alike("inputs", memory.inputs, arrays)
        _check_alike("gradients", eqx.filter(model, eqx.is_inexact_array), gradients)
        exact, remembered = self._reference.follow(model, state, memory.memory, inputs, memory.count)

        def measured() -> Fidelity:
            return Fidelity(*_compare(gradients, exact()), memory.count)

        is_due = memory.count % self.every == self.every - 1
        last = jax.lax.cond(is_due, measured, lambda: memory.last)
        return last, ProbeState(memory.count + 1, arrays, remembered, last)


def _check_alike(what: str, wanted: PyTree, found: PyTree) -> None:
    """The same structure and shapes?"""
    shapes = [jax.tree.map(jnp.shape, tree) for tree in (wanted, found)]
    if what == "gradients" and isinstance(found, tuple) and len(found) == 2 and not isinstance(wanted, tuple):
        raise TypeError(
            "The gradients are a pair; pass the gradients alone, without the loss or the auxiliary output beside them."
        )
    if jax.tree.structure(wanted) != jax.tree.structure(found) or shapes[0] != shapes[1]:
        raise ValueError(
            f"The {what} of this call have the shapes {shapes[1]}; the probe expects {shapes[0]}. Pass those of one "
            "call, as to the transform, to a probe that was made for them."
        )


def _compare(found: PyTree, exact: PyTree) -> tuple[PyTree, PyTree]:
    def cosine(g: Array, e: Array) -> Array:
        return jnp.vdot(g, e).real / (jnp.linalg.norm(g.reshape(-1)) * jnp.linalg.norm(e.reshape(-1)))

    def ratio(g: Array, e: Array) -> Array:
        return jnp.linalg.norm(g.reshape(-1)) / jnp.linalg.norm(e.reshape(-1))

    return jax.tree.map(cosine, found, exact), jax.tree.map(ratio, found, exact)

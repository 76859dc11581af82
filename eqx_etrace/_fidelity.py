"""How good an online gradient is, measured while it is used.

Every so many steps the probe remembers a state and stores the inputs that follow. At the end of that stretch it runs
the stretch again at the parameters of the moment, differentiates the loss of its last step by reverse mode through all
of it, and compares: per parameter, the cosine between the two gradients, and the ratio of their norms.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from ._grad import ETraceGrad


class Fidelity(eqx.Module):
    """How an online gradient compares with that of BPTT; NaN before the first measurement."""

    cosine: PyTree[Float[Array, ""] | None]
    """Per parameter, in the structure of the gradient; NaN where one of the two is zero."""
    norm_ratio: PyTree[Float[Array, ""] | None]
    """Per parameter: the norm of the online gradient by that of BPTT."""
    step: Int[Array, ""]
    """The step at which it was measured, counted from 0; -1 before the first measurement."""


class ProbeState(eqx.Module):
    """What a probe carries: a pytree of arrays."""

    count: Int[Array, ""]
    state: PyTree
    """The hidden state before the stretch."""
    inputs: PyTree
    """The inputs of the stretch, with a leading axis."""
    last: Fidelity


class FidelityProbe(eqx.Module):
    """Compares the gradient of an online learner with BPTT over the last steps.

        probe = FidelityProbe(online, every=1000, stretch=100)
        memory = probe.init(model, state, x, y)
        ...
        gradients, new_state, trace = online(model, state, trace, x, y)
        fidelity, memory = probe(model, state, memory, gradients, x, y)     # model and state before the step

    Between two measurements a step costs the copy of its inputs, and that only during the stretch. A measurement costs
    forward and backward passes through the stretch. Everything may be inside `jax.jit` or `jax.lax.scan`.

    The reference follows credit back through the stretch and no further, at the parameters of the moment, while the
    trace holds credit of all the past at the parameters that there were. Where the stretch is longer than credit lasts
    and learning is slow, a rule that is exact measures 1.

    **Arguments**

    - `online`: what `etrace_grad` or `etrace_value_and_grad` returns; its loss is the one that is differentiated.
    - `every`: measure at every so many steps, at the last one of them.
    - `stretch`: through how many steps, at most `every`; memory and the cost of a measurement grow with it.

    **Raises** `TypeError` or `ValueError` for what is no transform, a stretch that does not lie between two
    measurements, inputs or gradients of other shapes.
    """

    online: ETraceGrad
    every: int = eqx.field(static=True)
    stretch: int = eqx.field(static=True)

    def __check_init__(self) -> None:
        if not isinstance(self.online, ETraceGrad):
            raise TypeError(
                f"`online` is a {type(self.online).__name__}; it must be what `etrace_grad` or `etrace_value_and_grad` "
                "returns."
            )
        if not all(isinstance(n, int) for n in (self.every, self.stretch)):
            raise TypeError(f"`every` is {self.every!r} and `stretch` {self.stretch!r}; both count steps, as integers.")
        if not 1 <= self.stretch <= self.every:
            raise ValueError(
                f"`stretch` is {self.stretch} and `every` is {self.every}; a stretch has at least one step and lies "
                "between two measurements, so 1 <= stretch <= every."
            )

    def init(self, model: PyTree, state: PyTree, *inputs: Any) -> ProbeState:
        """The probe before the first step. Inputs are those of one step."""
        stored = jax.tree.map(lambda x: jnp.stack([x] * self.stretch), eqx.filter(inputs, eqx.is_array))
        unknown = jax.tree.map(lambda w: jnp.full((), jnp.nan, w.real.dtype), eqx.filter(model, eqx.is_inexact_array))
        return ProbeState(
            jnp.zeros((), jnp.int32), state, stored, Fidelity(unknown, unknown, jnp.full((), -1, jnp.int32))
        )

    def __call__(
        self, model: PyTree, state: PyTree, memory: ProbeState, gradients: PyTree, *inputs: Any
    ) -> tuple[Fidelity, ProbeState]:
        """After a step: the latest measurement, and what to carry. `model` and `state` are those before the step."""
        if not isinstance(memory, ProbeState):
            raise TypeError(
                f"The third argument must be a `ProbeState` made by `.init`; found a {type(memory).__name__}. The "
                "arguments are `(model, state, memory, gradients, *inputs)`."
            )
        _check_alike("inputs", jax.tree.map(lambda x: x[0], memory.inputs), eqx.filter(inputs, eqx.is_array))
        _check_alike("gradients", eqx.filter(model, eqx.is_inexact_array), gradients)
        place = memory.count % self.every - (self.every - self.stretch)
        begins = place == 0
        arrays, static = eqx.partition(inputs, eqx.is_array)
        kept = jax.tree.map(
            lambda old, now: jnp.where(begins, now, old) if eqx.is_array(now) else now, memory.state, state
        )

        def store(held: Array, x: Array) -> Array:
            slot = jnp.maximum(place, 0)
            now = jnp.where(place >= 0, x, held[slot])
            return jax.lax.dynamic_update_index_in_dim(held, now, slot, 0)

        stored = jax.tree.map(store, memory.inputs, arrays)

        def measured() -> Fidelity:
            exact = self._exact(model, kept, stored, static)
            return Fidelity(*_compare(gradients, exact), memory.count)

        last = jax.lax.cond(place == self.stretch - 1, measured, lambda: memory.last)
        return last, ProbeState(memory.count + 1, kept, stored, last)

    def _exact(self, model: PyTree, state: PyTree, stored: PyTree, static: PyTree) -> PyTree:
        """The gradient of the last loss of the stretch, through all of it."""
        arrays, fixed = eqx.partition(state, eqx.is_array)

        def last_loss(model: PyTree) -> Array:
            def body(arrays: PyTree, now: PyTree) -> tuple[PyTree, Array]:
                found, new = self.online.loss_step(model, eqx.combine(arrays, fixed), *eqx.combine(now, static))
                return eqx.filter(new, eqx.is_array), found[0] if self.online.has_aux else found

            return jax.lax.scan(body, arrays, stored)[1][-1]

        return eqx.filter_grad(last_loss)(model)


def _check_alike(what: str, wanted: PyTree, found: PyTree) -> None:
    """The same structure and shapes?"""
    shapes = [jax.tree.map(jnp.shape, tree) for tree in (wanted, found)]
    if jax.tree.structure(wanted) != jax.tree.structure(found) or shapes[0] != shapes[1]:
        raise ValueError(
            f"The {what} of this step have the shapes {shapes[1]}; the probe expects {shapes[0]}. Pass those of one "
            "step, as to the transform, to a probe that was made for them."
        )


def _compare(found: PyTree, exact: PyTree) -> tuple[PyTree, PyTree]:
    def cosine(g: Array, e: Array) -> Array:
        return jnp.vdot(g, e).real / (jnp.linalg.norm(g.reshape(-1)) * jnp.linalg.norm(e.reshape(-1)))

    def ratio(g: Array, e: Array) -> Array:
        return jnp.linalg.norm(g.reshape(-1)) / jnp.linalg.norm(e.reshape(-1))

    return jax.tree.map(cosine, found, exact), jax.tree.map(ratio, found, exact)

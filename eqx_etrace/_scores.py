"""Three-factor rules: scores of what was done wait for a reward."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree


class Scores(eqx.Module):
    r"""Discounted sums of gradients that wait for their third factor, a reward or an error that comes later.

    $$E \leftarrow \gamma E + g_t, \qquad \Delta \theta \propto \delta_t E$$

    With $g_t$ the gradient of the log probability of an action, and $\delta_t$ the reward less what was expected of it,
    it is REINFORCE with a trace. With $g_t$ the gradient of a value, and $\delta_t$ the error of temporal differences,
    it is TD(lambda), with $\gamma \lambda$ for $\gamma$.

        scores = Scores.of(model)
        grads, _ = pullback(on_output)                     # of `etrace_vjp`, at every step
        scores = scores.after(grads, decay=0.95)
        grads = scores.times(-(reward - expected))         # to be descended, when a reward comes

    **Of many lanes**, with a model in common and rewards of their own, `Scores.of(model, lanes=n)` has one sum for
    each: `grads` then have a leading axis of lanes (`jax.vmap` around the transform), and so have decays and factors
    that differ by lane; `times` gives their sum.
    """

    values: PyTree[Float[Array, "..."]]
    """As the inexact arrays of the model, None elsewhere; with an axis of lanes in front if there are any."""
    lanes: int | None = eqx.field(static=True)

    @classmethod
    def of(cls, model: PyTree, *, lanes: int | None = None) -> "Scores":
        """Zeros, for the inexact arrays of a model."""
        front = () if lanes is None else (lanes,)
        arrays = eqx.filter(model, eqx.is_inexact_array)
        return cls(jax.tree.map(lambda a: jnp.zeros((*front, *a.shape), a.dtype), arrays), lanes)

    def after(self, grads: PyTree, decay: Any) -> "Scores":
        """After one more step. `decay` is a number in [0, 1], or one for each lane: 0 where an episode begins."""
        _check(self.values, grads)
        return Scores(jax.tree.map(lambda e, g: self._by_lane(decay, e) * e + g, self.values, grads), self.lanes)

    def times(self, factor: Any) -> PyTree:
        """The scores times a number, or one for each lane, summed over lanes: a gradient of the model."""

        def one(e: Array) -> Array:
            scaled = self._by_lane(factor, e) * e
            return scaled if self.lanes is None else scaled.sum(0)

        return jax.tree.map(one, self.values)

    def _by_lane(self, number: Any, e: Array) -> Array:
        given = jnp.asarray(number).astype(e.dtype)
        if given.ndim == 0:
            return given
        if self.lanes is None or given.shape != (self.lanes,):
            lanes = "no lanes" if self.lanes is None else f"{self.lanes} lanes"
            raise ValueError(
                f"A factor has the shape {list(given.shape)}; it must be one number, or one per lane: {lanes}."
            )
        return given.reshape(-1, *(1,) * (e.ndim - 1))


def _check(values: PyTree, grads: PyTree) -> None:
    held, given = (jax.tree.map(jnp.shape, tree) for tree in (values, grads))
    if jax.tree.structure(values) != jax.tree.structure(grads) or held != given:
        raise ValueError(
            f"The gradients are not those of this model and these lanes: they have the shapes {given}, the scores "
            f"{held}. With lanes every gradient has an axis of lanes in front."
        )

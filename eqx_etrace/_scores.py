"""Three-factor rules: scores of what was done wait for a reward."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, PyTree

from ._given import check_number, in_words


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
        if lanes is not None and (isinstance(lanes, bool) or not isinstance(lanes, int)):
            raise TypeError(f"`lanes` is {in_words(lanes)}; it must be an integer: it counts lanes.")
        if lanes is not None and lanes < 1:
            raise ValueError(f"`lanes` is {lanes}; it counts lanes, at least 1. For a single sequence leave it out.")
        arrays = eqx.filter(model, eqx.is_inexact_array)
        return cls(jax.tree.map(lambda a: jnp.zeros((*front, *a.shape), a.dtype), arrays), lanes)

    def after(self, grads: PyTree, decay: Any) -> "Scores":
        """After one more step. `decay` is a number in [0, 1], or one for each lane: 0 where an episode begins."""
        _check(self.values, grads, self.lanes)
        check_number("decay", decay, "in [0, 1], what is left of the scores after one step")
        if not isinstance(decay, Tracer) and not ((np.asarray(decay) >= 0) & (np.asarray(decay) <= 1)).all():
            raise ValueError(f"`decay` is {decay}; it must lie in [0, 1]: what is left of the scores after one step.")

        def one(e: Array, g: Array) -> Array:
            return self._by_lane("decay", decay, e) * e + g

        return Scores(jax.tree.map(one, self.values, grads), self.lanes)

    def times(self, factor: Any) -> PyTree:
        """The scores times a number, or one for each lane, summed over lanes: a gradient of the model."""

        check_number("factor", factor, "what the scores are multiplied with, or one number for each lane")

        def one(e: Array) -> Array:
            scaled = self._by_lane("factor", factor, e) * e
            return scaled if self.lanes is None else scaled.sum(0)

        return jax.tree.map(one, self.values)

    def _by_lane(self, name: str, number: Any, e: Array) -> Array:
        given = jnp.asarray(number).astype(e.dtype)
        if given.ndim == 0:
            return given
        if self.lanes is None or given.shape != (self.lanes,):
            lanes = "no lanes" if self.lanes is None else f"{self.lanes} lanes"
            raise ValueError(
                f"`{name}` has the shape {list(given.shape)}; it must be one number, or one per lane: {lanes}."
            )
        return given.reshape(-1, *(1,) * (e.ndim - 1))


def _check(values: PyTree, grads: PyTree, lanes: int | None) -> None:
    if jax.tree.structure(values) != jax.tree.structure(grads):
        raise ValueError(
            "The gradients do not have the structure of the model. Of a pullback take the first part: "
            "`grads, _ = pullback(cotangent)`."
        )
    for (path, held), given in zip(jax.tree.leaves_with_path(values), jax.tree.leaves(grads), strict=True):
        if held.shape != jnp.shape(given):
            front = "without an axis of lanes" if lanes is None else f"with an axis of {lanes} lanes in front"
            raise ValueError(
                f"The gradient of {jax.tree_util.keystr(path)} has the shape {list(jnp.shape(given))}; it must be "
                f"{list(held.shape)}, that of the model, {front}."
            )

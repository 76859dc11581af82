"""Learning signals that do not come back through the forward weights, and one for firing rates."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._given import check_flag


class FeedbackLinear(eqx.Module):
    r"""A linear map with other weights going backward: feedback alignment.

    $$y = W x, \qquad \bar x = B \bar y$$

    The gradient of W is as ever, that of `jax.grad`. B is fixed: its gradient is zero (but it is an array of the model,
    which weight decay would shrink: mask it there, with `optax.masked`). Or it is learned as Kolen and
    Pollack do: `learned=True` gives B the gradient of W, transposed. With one optimiser for both, and weight decay in
    it (`optax.add_decayed_weights`), B becomes the transpose of W.

        readout = FeedbackLinear(W, jax.random.normal(key, (n, 2)) / 2**0.5)
        y = readout(spikes)

    It is written in plain operations, each of which has its own derivative. So any step may hold it, a leaky readout
    `r <- c r + readout(spikes)` is filtered as one with W alone, and what a report calls exact is exact: for the
    gradient that goes back through B.

    **Arguments**

    - `weight`: W, `[out, in]`.
    - `feedback`: B, `[in, out]`.
    - `learned`: is B learned?

    Source: Lillicrap et al., "Random synaptic feedback weights support error backpropagation for deep learning", Nature
    Communications 2016; Kolen and Pollack, "Backpropagation without weight transport", ICNN 1994; random and adaptive
    e-prop in Bellec et al., Nature Communications 2020.
    """

    weight: Float[Array, "out in"]
    feedback: Float[Array, "_ _"]
    learned: bool = eqx.field(default=False, static=True)

    def __check_init__(self) -> None:
        check_flag("learned", self.learned)
        for name in ("weight", "feedback"):
            if not hasattr(getattr(self, name), "shape"):
                raise TypeError(f"`{name}` is a `{type(getattr(self, name)).__name__}`; it must be an array.")
        out, into = self.weight.shape
        if self.feedback.shape != (into, out):
            raise ValueError(
                f"`feedback` has the shape {list(self.feedback.shape)}; for a weight [out, in] of {[out, into]} it "
                f"must be [in, out], {[into, out]}: it takes what comes back of the output to the input."
            )

    def __call__(self, x: Float[Array, "*batch in"]) -> Float[Array, "*batch out"]:
        """W x; going backward B."""
        stop = jax.lax.stop_gradient
        nothing = x - stop(x)  # zero, but what comes back goes through it to x
        y = stop(x) @ self.weight.T + nothing @ stop(self.feedback)
        return y + stop(x) @ (self.feedback - stop(self.feedback)) if self.learned else y


def rate_penalty(spikes: Float[Array, "*batch n"], average: Float[Array, "*batch n"], target: Any) -> Float[Array, ""]:
    r"""The part of one step in a penalty for firing rates that are off a target.

    $$\sum_n (\bar f_n - f^*) \, z_n$$

    Its derivative by the spikes z is the cotangent that e-prop's rate regularisation puts on them. A loss adds it with
    a factor, `c / T` for T steps; with the average over these T steps, the gradients of all of them are then that of
    $\frac{c}{2} \sum_n (\bar f_n - f^*)^2$. Online, with a running average that the state holds, they are nearly so.

    **Arguments**

    - `spikes`: of this step.
    - `average`: of the spikes per step, held fixed: no gradient flows into it.
    - `target`: the rate that is wanted, in spikes per step; of f Hz that is `f * dt / 1000`.

    **Returns** a scalar to add to the loss. Its value means nothing, its gradient does.

    Source: Bellec et al., Nature Communications 2020, Methods. The sign is that of the code of NEST 3.10.0; its
    documentation prints the other.
    """
    return jnp.sum(jax.lax.stop_gradient(average - target) * spikes)

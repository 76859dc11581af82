r"""Losses of one step for spiking outputs, to be used inside a step `(model, state, x, y) -> (loss, state)`.

    def loss_step(model, state, x, label):
        out, state = model(x, state)
        return losses.cross_entropy(out, label), state

A loss over time is the sum of those of the steps. What a loss must remember from step to step is a state of the network
like any other. A penalty for firing rates that are off a target is `eqx_etrace.nn.rate_penalty`.
"""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, DTypeLike, Float, Integer


def cross_entropy(
    logits: Float[Array, "*lanes classes"], label: Integer[Array, "*lanes"] | int, weight: Any = 1.0
) -> Float[Array, ""]:
    r"""How surprising the right class is, for logits of any size.

    $$\frac{1}{n} \sum_{lanes} w \left( \ln \sum_k e^{y_k} - y_{label} \right)$$

    **Arguments**

    - `logits`: y, such as the rates of a leaky readout.
    - `label`: the class of each lane, from 0.
    - `weight`: w, one number or one for each lane; 0 where no answer is asked for. Labels of such lanes may be
      anything, and gradients of their logits are zero; so is that of a weight of exactly 0.

    **Returns** the mean over lanes, those of weight 0 included, so that the sum over steps does not depend on how many
    lanes answer at the same time.

    **Raises** `ValueError` for labels and weights of other shapes, and for known labels that are no class; a traced
    label that is no class makes the loss NaN. `TypeError` for labels that are no integers.
    """
    logits, label = jnp.asarray(logits), jnp.asarray(label)
    if not jnp.issubdtype(logits.dtype, jnp.floating) or logits.ndim == 0:
        raise TypeError(f"`logits` is {logits.dtype}{list(logits.shape)}; it must be floats, [*lanes, classes].")
    lanes, classes = logits.shape[:-1], logits.shape[-1]
    if not jnp.issubdtype(label.dtype, jnp.integer):
        raise TypeError(
            f"`label` has the dtype {label.dtype}; it must be the integer of a class, not its one-hot code."
        )
    if label.shape != lanes:
        raise ValueError(
            f"`label` has the shape {list(label.shape)} and `logits` {list(logits.shape)}; it must have one label for "
            f"each lane, {list(lanes)}, and classes are the last axis of the logits."
        )
    label = label.astype(jnp.int32)  # a number of classes need not fit into a smaller one
    weights = jnp.asarray(weight).astype(logits.dtype)
    if weights.shape not in ((), lanes):
        raise ValueError(
            f"`weight` has the shape {list(weights.shape)}; it must be one number, or one for each lane, {list(lanes)}."
        )
    asked = jnp.broadcast_to(weights != 0, lanes)
    _check_labels(label, asked, classes)
    # Set aside before the logarithm: what is not asked for may be infinite, and zero times infinity is none.
    given = jax.nn.log_softmax(jnp.where(asked[..., None], logits, jnp.zeros_like(logits)), axis=-1)
    is_class = (label >= 0) & (label < classes)
    chosen = jnp.take_along_axis(given, jnp.where(is_class, label, jnp.zeros_like(label))[..., None], -1)[..., 0]
    lost = jnp.where(is_class, -chosen, jnp.full_like(chosen, jnp.nan))
    return jnp.mean(jnp.where(asked, weights * lost, jnp.zeros_like(lost)))


def _check_labels(label: Array, asked: Array, classes: int) -> None:
    """Is each a class, as far as they are known?"""
    if isinstance(label, Tracer) or isinstance(asked, Tracer):
        return
    labels = np.asarray(label)[np.asarray(asked)]
    wrong = labels[(labels < 0) | (labels >= classes)]
    if wrong.size:
        raise ValueError(
            f"`label` is {wrong[0]}, and there are {classes} classes, 0 to {classes - 1}. Where no answer is asked "
            "for, pass a `weight` of 0."
        )


class VanRossum(eqx.Module):
    r"""The van Rossum distance between two spike trains, one step at a time.

    $$d \leftarrow e^{-dt / \tau} \, d + (z - z^*), \qquad \ell = \frac{dt}{\tau} \sum_n d_n^2$$

        distance = VanRossum(tau=10.0)
        d = distance.init_state(n)
        loss, d = distance(spikes, target, d)            # inside the step; d is part of its state

    Both trains are smoothed by an exponential, and compared by their squares. As smoothing is linear, only the
    difference need be smoothed: it is a state of each unit beside its potential. A rule by position follows it, so that
    `DRTRL` is exact for units without recurrent weights.

    The sum over steps is the paper's $D^2 = \frac{1}{\tau} \int (f - g)^2 dt$, with the integral as a sum, and over all
    units. A spike too much or too little costs about 1/2, as there: exactly $(dt / \tau) / (1 - e^{-2 dt / \tau})$. A
    spike far from its place costs twice as much.

    **Arguments**

    - `tau`: the time constant $\tau$ (ms). A short one counts coincidences, a long one compares rates.
    - `dt`: the length of a step (ms).

    **Raises** `ValueError` for times that are not above zero; `TypeError` for arrays: they are constants of the loss.

    Source: van Rossum, "A novel spike distance", Neural Computation 2001.
    """

    tau: int | float = eqx.field(static=True)
    dt: int | float = eqx.field(default=1.0, static=True)

    def __check_init__(self) -> None:
        """Are both times numbers above zero?"""
        for name in ("tau", "dt"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise TypeError(f"`{name}` is a `{type(value).__name__}`; it is a constant, and must be a number.")
            if not (value > 0 and math.isfinite(value)):
                raise ValueError(f"`{name}` of `VanRossum` is {value}; it must be finite and longer than zero.")

    def init_state(self, shape: int | tuple[int, ...], dtype: DTypeLike | None = None) -> Float[Array, "..."]:
        """No difference yet: zeros of the shape of the spikes, in JAX's default float if the dtype is None."""
        return jnp.zeros(shape, dtype)

    def __call__(
        self, spikes: Float[Array, "*shape"], target: Float[Array, "*shape"], state: Float[Array, "*shape"]
    ) -> tuple[Float[Array, ""], Float[Array, "*shape"]]:
        """The loss of one step, summed over all units and lanes, and the smoothed difference."""
        for name, array in (("spikes", spikes), ("target", target)):
            if not jnp.issubdtype(jnp.result_type(array), jnp.floating):
                raise TypeError(f"`{name}` has the dtype {jnp.result_type(array)}; it must be a float, ones and zeros.")
        shapes = [jnp.shape(a) for a in (spikes, target, state)]
        if len(set(shapes)) > 1:
            spikes_, target_, state_ = map(list, shapes)
            raise ValueError(
                f"The spikes have the shape {spikes_}, the target {target_} and the state {state_}; all must be alike. "
                "Make the state by `init_state(spikes.shape)`."
            )
        d = math.exp(-self.dt / self.tau) * state + (spikes - target)
        return self.dt / self.tau * jnp.sum(d**2), d

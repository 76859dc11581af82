r"""From values to spikes: pure functions, for the input of a spiking network.

    spikes = encode.rate(key, image, 100, peak=0.3)                     # [100, *image.shape]
    spikes = encode.latency(image, 100, tau=20.0, threshold=0.2)        # the same shape, one spike at most
    events = encode.delta(signal, 0.1)                                  # [time, ..., 2], OFF and ON
    x = encode.population(x, 8)                                         # [..., 8], for `rate` or `latency`

Time is the leading axis, as `scan` of a transform wants it. Spikes are floats of the dtype of the values. Nothing here
has a gradient but `population`. For recordings that are events already see `eqx_etrace.events`.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float, PRNGKeyArray

from ._given import as_key, check_number, in_words

Number = int | float | Float[Array, ""]


def rate(
    key: PRNGKeyArray, x: Float[Array, "*shape"], steps: int, *, peak: Number = 1.0
) -> Float[Array, "{steps} *shape"]:
    r"""Independent spikes whose rate is the value.

    $$P(z_t = 1) = p \, x$$

    **Arguments**

    - `key`: for the draws; another key for every sample.
    - `x`: values in [0, 1].
    - `steps`: how many steps.
    - `peak`: p, the probability in each step at x = 1; for f Hz it is `f * dt / 1000` with dt in ms.

    **Returns** ones and zeros `[steps, *x.shape]`. A step has one spike at most: the mean is that of a Poisson process
    with p x spikes per step, the variance is smaller by the factor 1 - p x.

    **Raises** `ValueError` for values outside [0, 1], as far as they are known; `TypeError` for what is no float.

    Source: Heeger, "Poisson model of spike generation", 2000, the Bernoulli approximation.
    """
    key = as_key(key, " The order is `(key, x, steps)`.")
    _check_float("x", x)
    _check_steps(steps)
    _check_known(
        "x", x, lambda v: (v >= 0) & (v <= 1), "in [0, 1]", "Scale it, as by `(x - x.min()) / (x.max() - x.min())`."
    )
    _check_known("peak", peak, lambda p: (p >= 0) & (p <= 1), "a probability, in [0, 1]", "At most one spike per step.")
    # In half precision a draw has so few values that small probabilities would be rounded up.
    wide = _wide(x)
    likely = jnp.asarray(peak).astype(wide) * x.astype(wide)
    return (jax.random.uniform(key, (steps, *x.shape), wide) < likely).astype(x.dtype)


def latency(
    x: Float[Array, "*shape"], steps: int, *, tau: Number = 20.0, threshold: Number = 0.2, dt: Number = 1.0
) -> Float[Array, "{steps} *shape"]:
    r"""One spike for each value, the sooner the larger it is.

    $$t = \tau \ln \frac{x}{x - \theta}$$

    It is the time at which a leaky integrator with the input x, $\tau \dot V = x - V$ from V = 0, reaches $\theta$.

    **Arguments**

    - `x`: values; those up to the threshold never spike.
    - `steps`: how many steps.
    - `tau`: the time constant $\tau$ (ms).
    - `threshold`: $\theta$, larger than zero.
    - `dt`: the length of a step (ms).

    **Returns** ones and zeros `[steps, *x.shape]`. A spike at time t is in step `floor(t / dt)`. One that would come
    after the last step is left out, and not moved to the last step.

    **Raises** `ValueError` for times or a threshold that are not above zero, and for values that are NaN.

    Source: `current2firing_time` of Zenke's SpyTorch tutorials, which belong to Neftci, Mostafa and Zenke, "Surrogate
    gradient learning in spiking neural networks", IEEE Signal Processing Magazine 2019. `spikegen.latency` of snnTorch
    has the same equation, and moves late spikes to the last step.
    """
    _check_float("x", x)
    _check_steps(steps)
    for name, value in (("tau", tau), ("threshold", threshold), ("dt", dt)):
        _check_known(name, value, lambda v: (v > 0) & jnp.isfinite(v), "finite and above zero", "")
    _check_known("x", x, lambda v: ~jnp.isnan(v), "a number", "")
    step = jnp.arange(steps).reshape(-1, *(1,) * x.ndim)
    # In half precision late steps are one number, and a value would spike in several.
    values = x.astype(_wide(x))
    fires = values > threshold
    above = jnp.where(fires, values, 2 * threshold)
    at = jnp.floor(-(tau / dt) * jnp.log1p(-threshold / above))  # infinite where x rounds to the threshold
    return (fires & (at == step.astype(at.dtype))).astype(x.dtype)


def delta(
    x: Float[Array, "time *shape"], threshold: Number, *, start: Float[Array, "*shape"] | None = None
) -> Float[Array, "time *shape 2"]:
    r"""Events where a signal has moved: send-on-delta, as an event camera does it.

    $$n_t = \operatorname{trunc} \frac{x_t - r_{t-1}}{\theta}, \qquad r_t = r_{t-1} + \theta \, n_t$$

    **Arguments**

    - `x`: a signal `[time, ...]`.
    - `threshold`: $\theta$, by how much it moves for one event.
    - `start`: the reference level $r$ before the first step; the first value if None, so that it gives no events.

    **Returns** counts `[time, ..., 2]`: OFF events at 0 and ON events at 1, the order of polarities in recordings. They
    are counts and not ones, because a fast signal moves by several thresholds in a step; so nothing is lost: the level
    $r_t$, which is `start + threshold * jnp.cumsum(counts[..., 1] - counts[..., 0], 0)`, is within one threshold of the
    signal at every step.
    For ones take `jnp.minimum(counts, 1)`, which loses that.

    **Raises** `ValueError` for a threshold that is not above zero, a signal that is not finite, a `start` of another
    shape.

    Source: Miskowicz, "Send-on-delta concept: an event-based data reporting strategy", Sensors 2006; Lichtsteiner,
    Posch and Delbruck, "A 128 x 128 120 dB 15 us latency asynchronous temporal contrast vision sensor", 2008.
    """
    _check_float("x", x)
    if x.ndim == 0 or x.shape[0] == 0:
        raise ValueError(f"`x` has the shape {list(x.shape)}; it must have a leading time axis of at least one step.")
    _check_known("threshold", threshold, lambda v: (v > 0) & jnp.isfinite(v), "finite and above zero", "")
    _check_known("x", x, jnp.isfinite, "finite", "")
    first = x[0] if start is None else start
    if jnp.shape(first) != x.shape[1:]:
        raise ValueError(
            f"`start` has the shape {list(jnp.shape(first))}; it must be that of one step, {list(x.shape[1:])}."
        )
    # The level as a whole number of thresholds, so that no error of rounding adds up.
    distance = (x - first.astype(x.dtype)) / threshold

    def body(level: Array, now: Array) -> tuple[Array, Array]:
        moved = jnp.trunc(now - level)
        return level + moved, moved

    _, moved = jax.lax.scan(body, jnp.zeros_like(distance[0]), distance)
    return jnp.stack([jnp.maximum(-moved, 0), jnp.maximum(moved, 0)], -1)


def population(
    x: Float[Array, "*shape"], units: int, *, low: int | float = 0.0, high: int | float = 1.0, beta: int | float = 1.5
) -> Float[Array, "*shape {units}"]:
    r"""Gaussian receptive fields: one value becomes the activities of several units.

    $$a_i = \exp \left(-\frac{(x - \mu_i)^2}{2 \sigma^2}\right), \qquad
      \mu_i = x_{low} + \frac{2 i - 3}{2} \, \frac{x_{high} - x_{low}}{n - 2}, \qquad
      \sigma = \frac{1}{\beta} \, \frac{x_{high} - x_{low}}{n - 2}, \qquad i = 1 \ldots n$$

    **Arguments**

    - `x`: values, about between `low` and `high`.
    - `units`: n, at least 3. The first and the last have their centre outside the range.
    - `beta`: how narrow the fields are, 1 to 2.

    **Returns** activities `[..., units]` in [0, 1], for `rate` or `latency`. They are differentiable.

    **Raises** `ValueError` for fewer than 3 units, an empty range, or a `beta` that is not above zero.

    Source: Bohte, Kok and La Poutre, "Error-backpropagation in temporally encoded networks of spiking neurons",
    Neurocomputing 2002, section 4.1.
    """
    _check_float("x", x)
    if isinstance(units, bool) or not isinstance(units, int) or units < 3:
        raise ValueError(f"`units` is {units!r}; it counts receptive fields, at least 3.")
    if not low < high:
        raise ValueError(f"`low` is {low} and `high` {high}; the range of the values must not be empty.")
    _check_known("beta", beta, lambda v: (v > 0) & jnp.isfinite(v), "finite and above zero", "")
    apart = (high - low) / (units - 2)
    centres = jnp.asarray([low + (2 * i - 3) / 2 * apart for i in range(1, units + 1)], x.dtype)
    return jnp.exp(-0.5 * ((x[..., None] - centres) * (beta / apart)) ** 2)


def _wide(x: Any) -> Any:
    """Its dtype, or single precision if that is wider."""
    return x.dtype if jnp.finfo(x.dtype).bits >= 32 else jnp.dtype(jnp.float32)


def _check_float(name: str, x: Any) -> None:
    if not hasattr(x, "dtype"):
        raise TypeError(f"`{name}` is {in_words(x)}; it must be an array of floats: `jnp.asarray({name})`.")
    if not jnp.issubdtype(jnp.result_type(x), jnp.floating):
        raise TypeError(
            f"`{name}` has the dtype {jnp.result_type(x)}; it must be a float, which the spikes then are, too. "
            "Of integers make one, as of an image by `x / 255`."
        )


def _check_steps(steps: Any) -> None:
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ValueError(f"`steps` is {steps!r}; it is how many steps there are, an integer of at least 1.")


def _check_known(name: str, value: Any, holds: Any, must: str, advice: str) -> None:
    """Does every known value hold? A traced one is not known."""
    if isinstance(value, Tracer):
        return
    check_number(name, value, must)
    array = jnp.asarray(value)
    fine = holds(array)
    if isinstance(fine, Tracer) or bool(fine.all()):
        return
    wrong = array[~fine].reshape(-1)
    count = f", {wrong.size} of {array.size} values, as" if array.size > 1 else ", as"
    raise ValueError(f"`{name}` must be {must}; it is not{count} {wrong[0]}. {advice}".rstrip())

"""Delay lines: `(x, state) -> (delayed x, state)`."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, DTypeLike, Float

from .._watched import watched
from ._parameter import as_parameter, Parameter
from ._shapes import check_line, check_state, zeros


class DelayState(NamedTuple):
    """The state of a delay: what came in, the latest first."""

    line: Float[Any, "steps ..."]


class Delay(eqx.Module):
    """What came in some steps ago, the same for all units or for each its own.

        delay = Delay(5)                                # steps
        past, line = delay(x, delay.init_state(100))

    What comes out is read from the old line, so that window 0 misses its credit; window 1 does not. Behind weights
    that are trained, a trace is kept for every slot of the line. In front of them it costs no trace: so
    delay what goes into a weight, where you can choose.

    **Arguments**

    - `steps`: how many, an integer, or an array of one for each unit. 0 is no delay. They are fixed.

    **Raises** `TypeError` or `ValueError` for steps that are no integers, or negative.
    """

    steps: tuple[int, ...] = eqx.field(static=True)
    size: int | None = eqx.field(static=True)

    def __init__(self, steps: Any) -> None:
        given = np.asarray(steps)
        if not np.issubdtype(given.dtype, np.integer) or given.ndim > 1:
            raise TypeError(
                f"`steps` is {steps!r}; it must be an integer, or an array [units] of integers. A delay between two "
                "steps is a `LearnedDelay`."
            )
        if given.size == 0 or given.min() < 0:
            raise ValueError(f"`steps` is {steps!r}; there must be at least one delay, and none below 0.")
        self.steps, self.size = tuple(int(n) for n in given.reshape(-1)), given.size if given.ndim else None

    def init_state(self, shape: int | tuple[int, ...], dtype: DTypeLike | None = None, unit: Any = 1.0) -> DelayState:
        """Nothing came before: zeros in an array of shape `(longest delay, *shape)`."""
        full = shape if isinstance(shape, tuple) else (shape,)
        if self.size not in (None, full[-1] if full else 1):
            raise ValueError(f"There are {self.size} delays, and {list(full)} units; the last axis must be as long.")
        return DelayState(zeros((max(self.steps), *full), dtype) * unit)

    @watched
    def __call__(self, x: Float[Any, "*shape"], state: DelayState) -> tuple[Float[Any, "*shape"], DelayState]:
        """One step: what came in `steps` steps ago, and the new state."""
        check_state(self, state, x)
        check_line(x, state.line, max(self.steps))
        line = jnp.concatenate([x[None], state.line])
        if self.size is None:
            return line[self.steps[0]], DelayState(line[:-1])
        # A sum over all slots, of which one is taken for each unit, stays in the unit; a gather need not.
        taken = np.arange(len(line))[:, None] == np.asarray(self.steps)
        taken = taken.reshape(len(line), *(1,) * (x.ndim - 1), -1)
        return jnp.where(taken, line, 0 * line).sum(0), DelayState(line[:-1])


class LearnedDelay(eqx.Module):
    r"""A delay for each unit that is trained.

    $$y = \sum_{k = 0}^{K} g_k \, x_{t - k}, \qquad g_k \propto \exp\left( -\tfrac{1}{2} \left( \frac{k - d}{\sigma}
    \right)^2 \right), \qquad \sum_k g_k = 1$$

    The delay d, in steps, has a gradient through the weights of the slots; $\sigma$ has none. Begin with a wide one, as
    an array, and make it smaller while training: `eqx.tree_at(lambda m: m.delay.sigma, model, 0.9 * m.delay.sigma)`.
    Keep d between 0 and K: outside no slot is near, and the gradient vanishes. For use, round the delays:
    `Delay(jnp.round(learned.delay).astype(int))`.

    **Arguments**

    - `delay`: the delay d of each unit in steps, `[units]`.
    - `longest`: the longest delay that can be learned, K steps.
    - `sigma`: the width $\sigma$ in steps. A Python number is fixed for good, an array may be changed between calls.

    **Raises** `TypeError` for delays that are no floats, `ValueError` for a `longest` that holds no step, and for
    delays, as far as they are known, outside [0, longest].

    Source: Hammouamri, Khalfaoui-Hassani and Masquelier, "Learning delays in spiking neural networks using dilated
    convolutions with learnable spacings", ICLR 2024, equation 7.
    """

    delay: Float[Array, " units"]
    longest: int = eqx.field(static=True)
    sigma: Parameter = eqx.field(default=1.0, converter=as_parameter)

    def __check_init__(self) -> None:
        if isinstance(self.longest, bool) or not isinstance(self.longest, int) or self.longest < 1:
            raise ValueError(f"`longest` is {self.longest!r}; it counts steps and must be an integer of at least 1.")
        if isinstance(self.sigma, float) and not self.sigma > 0:
            raise ValueError(f"`sigma` is {float(self.sigma)}; a width must be larger than zero.")
        dtype = getattr(self.delay, "dtype", None)
        if dtype is None or not jnp.issubdtype(dtype, jnp.floating):
            raise TypeError(f"`delay` is {self.delay!r}; it is trained, so it must be an array [units] of floats.")
        if not isinstance(self.delay, Tracer) and isinstance(self.delay, jax.Array | np.ndarray):
            known = np.asarray(self.delay)
            if ((known < 0) | (known > self.longest)).any():
                raise ValueError(f"`delay` reaches from {known.min()} to {known.max()}; it must lie in [0, longest].")

    def init_state(self, shape: int | tuple[int, ...], dtype: DTypeLike | None = None, unit: Any = 1.0) -> DelayState:
        """Nothing came before: zeros in an array of shape `(longest, *shape)`."""
        full = shape if isinstance(shape, tuple) else (shape,)
        if full[-1:] != self.delay.shape:
            raise ValueError(
                f"There are {len(self.delay)} delays, and {list(full)} units; the last axis must be as long."
            )
        return DelayState(zeros((self.longest, *full), dtype) * unit)

    @watched
    def __call__(
        self, x: Float[Any, "*batch units"], state: DelayState
    ) -> tuple[Float[Any, "*batch units"], DelayState]:
        """One step: the delayed input, and the new state."""
        check_state(self, state, x)
        check_line(x, state.line, self.longest)
        line = jnp.concatenate([x[None], state.line])
        slots = jnp.arange(self.longest + 1).astype(self.delay.dtype)[:, None]
        # In units of the largest, so that a narrow sigma leaves one slot and not 0 / 0.
        sigma = jax.lax.stop_gradient(jnp.asarray(self.sigma).astype(self.delay.dtype))
        exponent = -0.5 * jnp.square((slots - self.delay) / sigma)
        g = jnp.exp(exponent - exponent.max(0))
        g = (g / g.sum(0)).reshape(self.longest + 1, *(1,) * (x.ndim - 1), -1)
        return (g * line).sum(0), DelayState(line[:-1])

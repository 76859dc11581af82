"""Synapses: `(input, state) -> (conductance, state)`."""

import math
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import DTypeLike, Float

from .._watched import watched
from ._parameter import check_times, known, Parameter, parameter
from ._shapes import check_fits, check_state, zeros


class SynapseState(NamedTuple):
    """The state of a synapse: the conductance `g`."""

    g: Float[Any, "..."]


class Expon(eqx.Module):
    r"""The exponential synapse.

    $$\tau \frac{dg}{dt} = -g, \qquad g \leftarrow g + x \text{ as the input } x \text{ arrives}$$

    The input is already laid out by target unit (weights times spikes), so that one conductance per target unit is
    enough for any number of sources.

    **Arguments**

    - `tau`: the synaptic time constant $\tau$ (ms); a Python number is constant, an array is trained.
    - `dt`: the length of a step (ms).

    Source: Gerstner, Kistler, Naud and Paninski, "Neuronal Dynamics", 2014, section 3.1.
    """

    tau: Parameter = parameter(8.0)
    dt: Parameter = parameter(1.0)

    def __check_init__(self) -> None:
        check_times(self, "tau", "dt")

    def init_state(self, shape: int | tuple[int, ...], dtype: DTypeLike | None = None, unit: Any = 1.0) -> SynapseState:
        """g = 0, in the unit of the input, in an array of the given shape and dtype (JAX's default float if None)."""
        return SynapseState(zeros(shape, dtype) * unit)

    @watched
    def __call__(self, x: Float[Any, "*shape"], state: SynapseState) -> tuple[Float[Any, "*shape"], SynapseState]:
        """One step: the conductance, and the new state that holds it."""
        check_state(self, state, x)
        check_fits("input", x, state.g)
        g = jnp.exp(-self.dt / self.tau) * state.g + x
        return g, SynapseState(g)


class AlphaState(NamedTuple):
    """The state of `Alpha`: the conductance `g`, and what it still `rises` by."""

    g: Float[Any, "..."]
    rises: Float[Any, "..."]


class Alpha(eqx.Module):
    r"""The synapse whose conductance follows an alpha function.

    $$\tau \frac{dg}{dt} = -g + s, \qquad \tau \frac{ds}{dt} = -s, \qquad s \leftarrow s + e \, x
    \text{ as the input } x \text{ arrives}$$

    so that an input of 1 gives $g(t) = \frac{t}{\tau} e^{1 - t / \tau}$, which is 1 at its peak, $\tau$ later. A step
    is exact.

    **Arguments**

    - `tau`: the synaptic time constant $\tau$ (ms); a Python number is constant, an array is trained.
    - `dt`: the length of a step (ms).

    Source: Rall, "Distinguishing theoretical synaptic potentials computed for different soma-dendritic distributions of
    synaptic input", Journal of Neurophysiology 1967; the step as in NEST's `iaf_psc_alpha`.
    """

    tau: Parameter = parameter(8.0)
    dt: Parameter = parameter(1.0)

    def __check_init__(self) -> None:
        check_times(self, "tau", "dt")

    def init_state(self, shape: int | tuple[int, ...], dtype: DTypeLike | None = None, unit: Any = 1.0) -> AlphaState:
        """No conductance, in the unit of the input, in arrays of the given shape and dtype."""
        return AlphaState(zeros(shape, dtype) * unit, zeros(shape, dtype) * unit)

    @watched
    def __call__(self, x: Float[Any, "*shape"], state: AlphaState) -> tuple[Float[Any, "*shape"], AlphaState]:
        """One step: the conductance, and the new state."""
        check_state(self, state, x)
        check_fits("input", x, state.g)
        part = self.dt / self.tau
        fade = jnp.exp(-part)
        g = fade * (state.g + part * state.rises)
        return g, AlphaState(g, fade * state.rises + math.e * x)


class DoubleExponentialState(NamedTuple):
    """The state of `DoubleExponential`: two sums of inputs that fade, `slow` and `fast`."""

    slow: Float[Any, "..."]
    fast: Float[Any, "..."]


class DoubleExponential(eqx.Module):
    r"""The synapse whose conductance rises and decays exponentially, each with a time constant of its own.

    An input of 1 at time 0 gives

    $$g(t) = a \left( e^{-t / \tau_{decay}} - e^{-t / \tau_{rise}} \right)$$

    with $a$ so that its peak is 1. The two exponentials are states of their own, and a step is exact.

    **Arguments**

    - `tau_decay`: the time constant of the decay, $\tau_{decay}$ (ms); a number is constant, an array is trained.
    - `tau_rise`: that of the rise, $\tau_{rise}$ (ms), shorter.
    - `dt`: the length of a step (ms).

    Keep the rise the shorter one while you train them: where they meet, the peak is 0 / 0.

    **Raises** `ValueError` where the rise is known to take as long as the decay, or longer; see `Alpha` for the limit.

    Source: Gerstner, Kistler, Naud and Paninski, "Neuronal Dynamics", 2014, section 3.1.
    """

    tau_decay: Parameter = parameter(8.0)
    tau_rise: Parameter = parameter(2.0)
    dt: Parameter = parameter(1.0)

    def __check_init__(self) -> None:
        check_times(self, "tau_decay", "tau_rise", "dt")
        rise, decay = known(self.tau_rise), known(self.tau_decay)
        if rise is not None and decay is not None and (rise >= decay).any():
            raise ValueError(
                f"`tau_rise` is {self.tau_rise} and `tau_decay` {self.tau_decay}; the rise must be the shorter one. "
                "Where they are equal the synapse is an `Alpha`."
            )

    def init_state(
        self, shape: int | tuple[int, ...], dtype: DTypeLike | None = None, unit: Any = 1.0
    ) -> DoubleExponentialState:
        """No conductance, in the unit of the input, in arrays of the given shape and dtype."""
        return DoubleExponentialState(zeros(shape, dtype) * unit, zeros(shape, dtype) * unit)

    @watched
    def __call__(
        self, x: Float[Any, "*shape"], state: DoubleExponentialState
    ) -> tuple[Float[Any, "*shape"], DoubleExponentialState]:
        """One step: the conductance, and the new state."""
        check_state(self, state, x)
        check_fits("input", x, state.slow)
        slow = jnp.exp(-self.dt / self.tau_decay) * state.slow + x
        fast = jnp.exp(-self.dt / self.tau_rise) * state.fast + x
        return (slow - fast) / self._peak(), DoubleExponentialState(slow, fast)

    def _peak(self) -> Any:
        """Of the difference of the two exponentials, which is reached where both fall equally fast."""
        ratio = self.tau_rise / self.tau_decay
        at = jnp.log(ratio) / (ratio - 1)  # in units of the rise
        return jnp.exp(-at * ratio) - jnp.exp(-at)

"""A neuron whose input is filtered by a synaptic current: `(current, state) -> (spikes, state)`."""

from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import DTypeLike, Float

from ._integrate import exp_euler_step
from ._neuron import AbstractNeuron, Reset
from ._parameter import Parameter, parameter, zero_in_unit_of
from ._shapes import ones, zeros
from ._surrogate import AbstractSurrogate, Triangular


class CuBaLIFState(NamedTuple):
    """The state of `CuBaLIF`: the membrane potential `V` and the synaptic `current`."""

    V: Float[Any, "..."]
    current: Float[Any, "..."]


class CuBaLIF(AbstractNeuron[CuBaLIFState]):
    r"""The leaky integrate-and-fire neuron with current-based exponential synapses.

    $$\tau_{syn} \frac{dI}{dt} = -I, \qquad I \leftarrow I + x, \qquad \tau \frac{dV}{dt} = -(V - V_{rest}) + R I$$

    The current is brought up to date first, and holds still while V follows it. By default one input of 1 lifts V at
    its peak to about the threshold.

    **Arguments**

    - `tau`: the membrane time constant $\tau$ (ms).
    - `tau_syn`: the synaptic time constant $\tau_{syn}$ (ms).
    - `V_th`, `V_reset`, `V_rest`: threshold, reset and resting potential (mV).
    - `R`: the input resistance (megaohm).
    - `dt`: the length of a step (ms).
    - `surrogate`: the spike function.
    - `reset`: `"soft"` subtracts `V_th - V_reset` and keeps what is above threshold; `"hard"` sets V to `V_reset`.
    - `leaky_reset`: True resets first, so that the reset leaks, too. False resets what the leak and the input made.
    - `reset_gradient`, `recurrent_gradient`: do the spikes have a gradient where they reset V, and in `spike`?

    Source: Gerstner, Kistler, Naud and Paninski, "Neuronal Dynamics", 2014, section 1.3; Cramer et al., "The Heidelberg
    spiking data sets", IEEE TNNLS 2022, equations 5 and 6.
    """

    tau: Parameter = parameter(20.0)
    tau_syn: Parameter = parameter(8.0)
    V_th: Parameter = parameter(1.0)
    V_reset: Parameter = parameter(0.0)
    V_rest: Parameter = parameter(0.0)
    R: Parameter = parameter(5.0)
    dt: Parameter = parameter(1.0)
    surrogate: AbstractSurrogate = Triangular()
    reset: Reset = eqx.field(default="soft", static=True)
    leaky_reset: bool = eqx.field(default=True, static=True)
    reset_gradient: bool = eqx.field(default=False, static=True)
    recurrent_gradient: bool = eqx.field(default=True, static=True)

    def __post_init__(self) -> None:
        self.V_reset = zero_in_unit_of(self.V_th, self.V_reset)
        self.V_rest = zero_in_unit_of(self.V_th, self.V_rest)

    def init_state(self, shape: int | tuple[int, ...], dtype: DTypeLike | None = None, unit: Any = 1.0) -> CuBaLIFState:
        """V = `V_rest` and I = 0, in the unit of the input, in arrays of the given shape and dtype."""
        return CuBaLIFState(ones(shape, dtype) * self.V_rest, zeros(shape, dtype) * unit)

    def threshold(self, state: CuBaLIFState) -> Any:
        """`V_th`."""
        del state
        return self.V_th

    def advance(self, x: Float[Any, "*shape"], state: CuBaLIFState, spikes: Float[Any, "*shape"]) -> CuBaLIFState:
        """The new state."""
        current = jnp.exp(-self.dt / self.tau_syn) * state.current + x
        V = self._with_reset(state.V, spikes, lambda V: exp_euler_step(self._derivative, V, current, dt=self.dt))
        return CuBaLIFState(V, current)

    def _derivative(self, V: Float[Any, "*shape"], current: Float[Any, "*shape"]) -> Float[Any, "*shape"]:
        return (self.V_rest - V + self.R * current) / self.tau

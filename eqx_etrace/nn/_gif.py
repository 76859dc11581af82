"""A neuron that adapts: `(current, state) -> (spikes, state)`."""

from typing import Any, NamedTuple

import equinox as eqx
from jaxtyping import DTypeLike, Float

from ._integrate import exp_euler_step
from ._neuron import AbstractNeuron, Reset
from ._parameter import Parameter, parameter, zero_in_unit_of
from ._shapes import ones, zeros
from ._surrogate import AbstractSurrogate, Triangular


class GIFState(NamedTuple):
    """The state of `GIF`: the membrane potential `V` and the adaptation current `I2`."""

    V: Float[Any, "..."]
    I2: Float[Any, "..."]


class GIF(AbstractNeuron[GIFState]):
    r"""The generalised integrate-and-fire neuron with one spike-triggered current.

    $$\tau \frac{dV}{dt} = -(V - V_{rest}) + R (I + I_2), \qquad \tau_{I_2} \frac{dI_2}{dt} = -I_2$$

    A spike adds $A_2$ to $I_2$ and resets V, both with a gradient through the spike only if `reset_gradient`.

    **Arguments**

    - `tau`: the membrane time constant $\tau$ (ms).
    - `tau_I2`: the time constant of the spike-triggered current (ms).
    - `A2`: what one spike adds to it (nA); negative adapts, positive bursts. By default the pull of one spike on V,
      $R A_2$, begins at a fifth of the threshold.
    - `V_th`, `V_reset`, `V_rest`: threshold, reset and resting potential (mV).
    - `R`: the input resistance (megaohm).
    - `dt`: the length of a step (ms).
    - `surrogate`: the spike function.
    - `reset`: `"soft"` subtracts `V_th - V_reset` and keeps what is above threshold; `"hard"` sets V to `V_reset`.
    - `leaky_reset`: True resets first, so that the reset leaks, too. False resets what the leak and the input made.
    - `reset_gradient`, `recurrent_gradient`: do the spikes have a gradient where they reset V, and in `spike`?

    Source: Mihalas and Niebur, "A generalized linear integrate-and-fire neural model produces diverse spiking
    behaviors", Neural Computation 2009, with one current and a fixed threshold.
    """

    tau: Parameter = parameter(20.0)
    tau_I2: Parameter = parameter(50.0)
    A2: Parameter = parameter(-0.01)
    V_th: Parameter = parameter(1.0)
    V_reset: Parameter = parameter(0.0)
    V_rest: Parameter = parameter(0.0)
    R: Parameter = parameter(20.0)
    dt: Parameter = parameter(1.0)
    surrogate: AbstractSurrogate = Triangular()
    reset: Reset = eqx.field(default="soft", static=True)
    leaky_reset: bool = eqx.field(default=True, static=True)
    reset_gradient: bool = eqx.field(default=False, static=True)
    recurrent_gradient: bool = eqx.field(default=True, static=True)

    def __post_init__(self) -> None:
        self.V_reset = zero_in_unit_of(self.V_th, self.V_reset)
        self.V_rest = zero_in_unit_of(self.V_th, self.V_rest)

    def init_state(self, shape: int | tuple[int, ...], dtype: DTypeLike | None = None) -> GIFState:
        """V = `V_rest` and I2 = 0 in arrays of the given shape and dtype (JAX's default float if None)."""
        return GIFState(ones(shape, dtype) * self.V_rest, zeros(shape, dtype) * self.A2)

    def threshold(self, state: GIFState) -> Any:
        """`V_th`."""
        del state
        return self.V_th

    def advance(self, x: Float[Any, "*shape"], state: GIFState, spikes: Float[Any, "*shape"]) -> GIFState:
        """The new state."""
        I2 = state.I2 + self.A2 * self._resetting(spikes)
        I2 = exp_euler_step(lambda I2: -I2 / self.tau_I2, I2, dt=self.dt)
        V = self._with_reset(state.V, spikes, lambda V: exp_euler_step(self._derivative, V, x + I2, dt=self.dt))
        return GIFState(V, I2)

    def _derivative(self, V: Float[Any, "*shape"], x: Float[Any, "*shape"]) -> Float[Any, "*shape"]:
        return (self.V_rest - V + self.R * x) / self.tau

"""A neuron whose threshold adapts: `(current, state) -> (spikes, state)`."""

from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import DTypeLike, Float

from ._integrate import exp_euler_step
from ._neuron import AbstractNeuron, Reset
from ._parameter import Parameter, parameter, zero_in_unit_of
from ._shapes import ones, zeros
from ._surrogate import AbstractSurrogate, Triangular


class ALIFState(NamedTuple):
    """The state of `ALIF`: the membrane potential `V` and the adaptation `a` of the threshold, in spikes."""

    V: Float[Any, "..."]
    a: Float[Any, "..."]


class ALIF(AbstractNeuron[ALIFState]):
    r"""The leaky integrate-and-fire neuron with an adaptive threshold.

    $$\tau \frac{dV}{dt} = -(V - V_{rest}) + R I, \qquad a \leftarrow e^{-dt / \tau_a} a + z,
    \qquad \text{spike where } V \ge V_{th} + \beta a$$

    with the spikes $z$ of the step before. The gradient goes through the spikes into the adaptation: so a unit
    remembers for as long as $\tau_a$, and e-prop gives it credit for that. A spike that resets V has a gradient only
    if `reset_gradient`.

    **Arguments**

    - `tau`: the membrane time constant $\tau$ (ms).
    - `tau_a`: the time constant of the adaptation $\tau_a$ (ms).
    - `beta`: by how much one spike raises the threshold (mV). By default, a unit that fires in a tenth of
      the steps raises it by 0.6 in the end.
    - `V_th`, `V_reset`, `V_rest`: threshold at rest, reset and resting potential (mV).
    - `R`: the input resistance (megaohm).
    - `dt`: the length of a step (ms).
    - `surrogate`: the spike function.
    - `reset`: `"soft"` subtracts `V_th - V_reset` and keeps what is above threshold; `"hard"` sets V to `V_reset`.
    - `leaky_reset`: True resets first, so that the reset leaks, too. False resets what the leak and the input made.
    - `reset_gradient`, `recurrent_gradient`: do the spikes have a gradient where they reset V, and in `spike`?

    Source: Bellec et al., "A solution to the learning dilemma for recurrent networks of spiking neurons", Nature
    Communications 2020, equations 6 to 10. There the reset follows the leak: `leaky_reset=False`.
    """

    tau: Parameter = parameter(20.0)
    tau_a: Parameter = parameter(200.0)
    beta: Parameter = parameter(0.03)
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

    def init_state(self, shape: int | tuple[int, ...], dtype: DTypeLike | None = None) -> ALIFState:
        """V = `V_rest` and a = 0 in arrays of the given shape and dtype (JAX's default float if None)."""
        return ALIFState(ones(shape, dtype) * self.V_rest, zeros(shape, dtype))

    def threshold(self, state: ALIFState) -> Float[Any, "..."]:
        """Raised by the adaptation."""
        return self.V_th + self.beta * state.a

    def advance(self, x: Float[Any, "*shape"], state: ALIFState, spikes: Float[Any, "*shape"]) -> ALIFState:
        """The new state."""
        V = self._with_reset(state.V, spikes, lambda V: exp_euler_step(self._derivative, V, x, dt=self.dt))
        return ALIFState(V, jnp.exp(jnp.asarray(-self.dt / self.tau_a)).astype(state.a.dtype) * state.a + spikes)

    def _derivative(self, V: Float[Any, "*shape"], x: Float[Any, "*shape"]) -> Float[Any, "*shape"]:
        return (self.V_rest - V + self.R * x) / self.tau

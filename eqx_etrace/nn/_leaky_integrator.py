"""A leaky unit that does not spike: `(current, state) -> (potential, state)`."""

from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import DTypeLike, Float

from .._watched import watched
from ._parameter import check_times, Parameter, parameter, zero_in_unit_of
from ._shapes import check_fits, check_state, ones


class IntegratorState(NamedTuple):
    """The state of `LeakyIntegrator`: the membrane potential `V`."""

    V: Float[Any, "..."]


class LeakyIntegrator(eqx.Module):
    r"""A membrane without spikes, as a readout has it. A step is exact for a current that holds still.

    $$\tau \frac{dV}{dt} = -(V - V_{rest}) + R I$$

    By default one current of 1 that lasts for a step lifts V by a little less than 1, as for `LIF`. With `R=1.0` V is a
    running mean of its input.

    **Arguments**

    - `tau`: the membrane time constant $\tau$ (ms); a Python number is constant, an array is trained.
    - `V_rest`: the resting potential (mV).
    - `R`: the input resistance (megaohm).
    - `dt`: the length of a step (ms).

    Source: Gerstner, Kistler, Naud and Paninski, "Neuronal Dynamics", 2014, equation 1.5, without spikes.
    """

    tau: Parameter = parameter(20.0)
    V_rest: Parameter = parameter(0.0)
    R: Parameter = parameter(20.0)
    dt: Parameter = parameter(1.0)

    def __check_init__(self) -> None:
        check_times(self, "tau", "dt")

    def init_state(
        self, shape: int | tuple[int, ...], dtype: DTypeLike | None = None, unit: Any = 1.0
    ) -> IntegratorState:
        """V = `V_rest`, in the unit of V, in an array of the given shape and dtype (JAX's default float if None)."""
        return IntegratorState(ones(shape, dtype) * zero_in_unit_of(unit, self.V_rest))

    @watched
    def __call__(self, x: Float[Any, "*shape"], state: IntegratorState) -> tuple[Float[Any, "*shape"], IntegratorState]:
        """One step: the potential, and the new state that holds it."""
        check_state(self, state, x)
        check_fits("current", x, state.V)
        kept = jnp.exp(-self.dt / self.tau)
        V = kept * state.V + (1 - kept) * (self.V_rest + self.R * x)
        return V, IntegratorState(V)

"""Readouts: `(x, state) -> (rates, state)`."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import DTypeLike, Float, PRNGKeyArray

from ._parameter import as_parameter, check_times, Parameter


class ReadoutState(NamedTuple):
    """The state of a readout: the rate `r` of each output unit."""

    r: Float[Any, "*batch out"]


class LeakyRateReadout(eqx.Module):
    r"""Leaky units that sum weighted spikes and do not spike themselves.

    $$r \leftarrow e^{-dt / \tau} \, r + W x$$

    **Arguments**

    - `in_size`, `out_size`: how many units it reads, and how many it has.
    - `tau`: the time constant $\tau$ (ms); a Python number is constant, an array is trained.
    - `dt`: the length of a step (ms).
    - `key`: for the weights, drawn from a normal distribution of variance `1 / in_size` and scaled by
      $1 - e^{-dt / \tau}$, so that inputs of size 1 that last longer than $\tau$ give rates of size 1.

    Source: Bellec et al., "A solution to the learning dilemma for recurrent networks of spiking neurons", Nature
    Communications 2020, equation 11, without its bias.
    """

    weight: Float[Any, "out in"]
    tau: Parameter = eqx.field(converter=as_parameter)
    dt: Parameter = eqx.field(converter=as_parameter)

    def __init__(
        self, in_size: int, out_size: int, *, tau: Parameter = 20.0, dt: Parameter = 1.0, key: PRNGKeyArray
    ) -> None:
        self.tau = tau = as_parameter(tau)
        self.dt = dt = as_parameter(dt)
        check_times(self, "tau", "dt")
        gain = in_size**-0.5 * (1 - jnp.exp(jnp.asarray(-dt / tau)))
        self.weight = gain[..., None] * jax.random.normal(key, (out_size, in_size))

    def init_state(self, batch: tuple[int, ...] = (), dtype: DTypeLike | None = None, unit: Any = 1.0) -> ReadoutState:
        """r = 0, in the unit of the weights, in an array of shape `(*batch, out_size)` and the given dtype."""
        return ReadoutState(jnp.zeros((*batch, self.weight.shape[0]), dtype) * unit)

    def __call__(
        self, x: Float[Any, "*batch in"], state: ReadoutState
    ) -> tuple[Float[Any, "*batch out"], ReadoutState]:
        """One step: the rates, and the new state that holds them."""
        r = jnp.exp(-self.dt / self.tau) * state.r + x @ self.weight.T
        return r, ReadoutState(r)

"""Synapses that tire and warm up: `(spikes, state) -> (release, state)`."""

from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import DTypeLike, Float

from .._watched import watched
from ._parameter import check_times, Parameter, parameter
from ._shapes import check_fits, check_state, ones, zeros


class ShortTermPlasticityState(NamedTuple):
    """The state of `ShortTermPlasticity`: the utilisation `u`, and the resources `R` that are left."""

    u: Float[Any, "..."]
    R: Float[Any, "..."]


class ShortTermPlasticity(eqx.Module):
    r"""Short-term facilitation and depression, for each sending unit.

    $$\tau_f \frac{du}{dt} = -u, \qquad \tau_d \frac{dR}{dt} = 1 - R$$

    and with a spike $z$, first the one, then the other:

    $$u \leftarrow u + U (1 - u) z, \qquad \text{release} = u R z, \qquad R \leftarrow R - u R z$$

    It stands before the weights: `linear(release)`. With a longer $\tau_f$ it facilitates, with a longer $\tau_d$ it
    depresses. The default facilitates, and holds a memory for a second. `release` is in units of all resources: the
    first spike of a resting synapse releases `U`, so that weights behind it must be larger by `1 / U`. Spikes are 0 or
    1: a count of several in a step would release more than there is.

    **Arguments**

    - `U`: which part of what is left a spike after a long pause releases, in (0, 1].
    - `tau_f`: the time constant of facilitation, $\tau_f$ (ms).
    - `tau_d`: the time constant of recovery from depression, $\tau_d$ (ms).
    - `dt`: the length of a step (ms).

    Source: Tsodyks, Pawelzik and Markram, "Neural networks with dynamic synapses", Neural Computation 1998; the default
    after Mongillo, Barak and Tsodyks, "Synaptic theory of working memory", Science 2008.
    """

    U: Parameter = parameter(0.2)
    tau_f: Parameter = parameter(1500.0)
    tau_d: Parameter = parameter(200.0)
    dt: Parameter = parameter(1.0)

    def __check_init__(self) -> None:
        check_times(self, "tau_f", "tau_d", "dt")
        if isinstance(self.U, float) and not 0 < self.U <= 1:
            raise ValueError(f"`U` is {float(self.U)}; it is a part of the resources and must lie in (0, 1].")

    def init_state(self, shape: int | tuple[int, ...], dtype: DTypeLike | None = None) -> ShortTermPlasticityState:
        """At rest, u = 0 and R = 1, in arrays of the given shape and dtype: that of the sending units."""
        return ShortTermPlasticityState(zeros(shape, dtype), ones(shape, dtype))

    @watched
    def __call__(
        self, spikes: Float[Any, "*shape"], state: ShortTermPlasticityState
    ) -> tuple[Float[Any, "*shape"], ShortTermPlasticityState]:
        """One step: what the spikes release, and the new state."""
        check_state(self, state, spikes)
        check_fits("input", spikes, state.u)
        u = jnp.exp(-self.dt / self.tau_f) * state.u
        R = 1 + jnp.exp(-self.dt / self.tau_d) * (state.R - 1)
        u = u + self.U * (1 - u) * spikes
        release = u * R * spikes
        return release, ShortTermPlasticityState(u, R - release)

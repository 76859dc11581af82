"""Synapses: `(input, state) -> (conductance, state)`."""

from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import DTypeLike, Float

from ._integrate import exp_euler_step
from ._parameter import check_times, Parameter, parameter


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
        return SynapseState(jnp.zeros(shape, dtype) * unit)

    def __call__(self, x: Float[Any, "*shape"], state: SynapseState) -> tuple[Float[Any, "*shape"], SynapseState]:
        """One step: the conductance, and the new state that holds it."""
        g = exp_euler_step(lambda g: -g / self.tau, state.g, dt=self.dt) + x
        return g, SynapseState(g)

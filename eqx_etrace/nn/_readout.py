"""Readouts: `(x, state) -> (rates, state)`."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import DTypeLike, Float, PRNGKeyArray

from .._given import as_key, check_size, in_words
from .._watched import watched
from ._leaky_integrator import IntegratorState, LeakyIntegrator
from ._neuron import AbstractNeuron, LIF
from ._parameter import as_parameter, check_times, Parameter
from ._refractory import Refractory
from ._shapes import check_lanes, check_state, lanes, zeros
from ._synapse import Expon, SynapseState


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
        in_size, out_size = check_size("in_size", in_size), check_size("out_size", out_size)
        self.tau = tau = as_parameter(tau)
        self.dt = dt = as_parameter(dt)
        check_times(self, "tau", "dt")
        gain = in_size**-0.5 * (1 - jnp.exp(jnp.asarray(-dt / tau)))
        self.weight = gain[..., None] * jax.random.normal(as_key(key), (out_size, in_size))

    def init_state(
        self, batch: int | tuple[int, ...] = (), dtype: DTypeLike | None = None, unit: Any = 1.0
    ) -> ReadoutState:
        """r = 0, in the unit of the weights, in an array of shape `(*batch, out_size)` and the given dtype."""
        return ReadoutState(zeros((*lanes(batch), self.weight.shape[0]), dtype) * unit)

    @watched
    def __call__(
        self, x: Float[Any, "*batch in"], state: ReadoutState
    ) -> tuple[Float[Any, "*batch out"], ReadoutState]:
        """One step: the rates, and the new state that holds them."""
        check_state(self, state, x)
        check_lanes(self, x, state.r, self.weight.shape[1], self.weight.shape[0])
        r, _ = Expon(self.tau, self.dt)(x @ self.weight.T, SynapseState(state.r))
        return r, ReadoutState(r)


class SpikingReadoutState(NamedTuple):
    """The state of a spiking readout: that of its `neurons`, and the rate `r` of each."""

    neurons: Any
    r: Float[Any, "*batch out"]


class SpikingReadout(eqx.Module):
    r"""Neurons that read weighted spikes, and the rates at which they spike.

    $$z = \text{neuron}(W x), \qquad r \leftarrow e^{-dt / \tau} \, r + (1 - e^{-dt / \tau}) \, z$$

    The rates lie between 0 and 1, in spikes per step. A loss for them is the cross entropy of `r / temperature`, or the
    squared distance to target rates.

    What the layer before owes to an output goes through the potentials of these neurons. No filter follows it there, as
    it does through a leaky readout: beyond the window a rule by position drops it.

    **Arguments**

    - `in_size`, `out_size`: how many units it reads, and how many it has.
    - `neuron`: its neurons; their `dt` is that of the rates.
    - `tau`: the time constant $\tau$ of the rates (ms); a Python number is constant, an array is trained.
    - `key`: for the weights, drawn from a normal distribution of variance `1 / in_size`.

    Source: Gerstner, Kistler, Naud and Paninski, "Neuronal Dynamics", 2014, section 7.2, with an exponential window.
    """

    weight: Float[Any, "out in"]
    neuron: AbstractNeuron[Any] | Refractory
    tau: Parameter = eqx.field(converter=as_parameter)

    def __init__(
        self,
        in_size: int,
        out_size: int,
        *,
        neuron: AbstractNeuron[Any] | Refractory | None = None,
        tau: Parameter = 20.0,
        key: PRNGKeyArray,
    ) -> None:
        if not isinstance(neuron, AbstractNeuron | Refractory | None):
            advice = f" Make one: `{neuron.__name__}()`." if isinstance(neuron, type) else ""
            raise TypeError(f"`neuron` is {in_words(neuron)}; it must be a neuron, such as `LIF()`.{advice}")
        self.neuron = LIF() if neuron is None else neuron
        in_size, out_size = check_size("in_size", in_size), check_size("out_size", out_size)
        self.tau = as_parameter(tau)
        check_times(self, "tau")
        self.weight = in_size**-0.5 * jax.random.normal(as_key(key), (out_size, in_size))

    def init_state(self, batch: int | tuple[int, ...] = (), dtype: DTypeLike | None = None) -> SpikingReadoutState:
        """Neurons at rest and r = 0, in arrays of shape `(*batch, out_size)` and the given dtype."""
        shape = (*lanes(batch), self.weight.shape[0])
        return SpikingReadoutState(self.neuron.init_state(shape, dtype), zeros(shape, dtype))

    @watched
    def __call__(
        self, x: Float[Any, "*batch in"], state: SpikingReadoutState
    ) -> tuple[Float[Any, "*batch out"], SpikingReadoutState]:
        """One step: the rates, and the new state."""
        check_state(self, state, x)
        check_lanes(self, x, state.r, self.weight.shape[1], self.weight.shape[0])
        z, neurons = self.neuron(x @ self.weight.T, state.neurons)
        inner = self.neuron.neuron if isinstance(self.neuron, Refractory) else self.neuron
        r, _ = LeakyIntegrator(self.tau, R=1.0, dt=inner.dt)(z, IntegratorState(state.r))
        return r, SpikingReadoutState(neurons, r)

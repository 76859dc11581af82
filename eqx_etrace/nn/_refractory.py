"""Any neuron, with a time after each spike in which it cannot spike again."""

from typing import Any, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import DTypeLike, Float, Int

from .._watched import watched
from ._neuron import AbstractNeuron
from ._shapes import check_state

State = TypeVar("State")


class RefractoryState(NamedTuple):
    """The state of `Refractory`: that of its neuron, and how many `steps` each unit has left."""

    neuron: Any
    steps: Int[Any, "..."]


class Refractory(eqx.Module):
    """A neuron that cannot spike for a while after each spike. Meanwhile it integrates its input.

        neuron = Refractory(LIF(), t_ref=5.0)
        spikes, state = neuron(current, neuron.init_state(100))

    In that time a spike has no gradient either. `t_ref` is rounded to k steps, of which the first is that of the spike:
    k - 1 steps without a spike follow. So one of k = 0 or 1 changes nothing.

    **Arguments**

    - `neuron`: such as `LIF()` or `ALIF()`.
    - `t_ref`: the refractory time (ms), a number.

    Source: NEST 3.10.0, models `eprop_iaf_bsshslm_2020` and `eprop_iaf_adapt_bsshslm_2020`.
    """

    neuron: AbstractNeuron[Any]
    t_ref: float = eqx.field(static=True)

    def __check_init__(self) -> None:
        if not isinstance(self.neuron, AbstractNeuron):
            advice = f" Make one: `{self.neuron.__name__}()`." if isinstance(self.neuron, type) else ""
            raise TypeError(f"`neuron` is {self.neuron!r}; it must be a neuron, such as `LIF()`.{advice}")
        if isinstance(self.t_ref, bool) or not isinstance(self.t_ref, float | int):
            raise TypeError(f"`t_ref` is {self.t_ref!r}; it must be a number: how many ms. It cannot be trained.")
        if not self.t_ref >= 0:
            raise ValueError(f"`t_ref` is {self.t_ref}; it must not be negative. One of 0 changes nothing.")
        if not isinstance(self.neuron.dt, float):
            raise TypeError("`Refractory` counts steps, so the neuron's `dt` must be a Python number, without a unit.")

    @property
    def count(self) -> int:
        """How many steps the refractory time has, that of the spike included."""
        return round(self.t_ref / self.neuron.dt)

    def init_state(self, shape: int | tuple[int, ...], dtype: DTypeLike | None = None) -> RefractoryState:
        """A neuron at rest that may spike, of the given shape and dtype."""
        return RefractoryState(self.neuron.init_state(shape, dtype), jnp.zeros(shape, jnp.int32))

    @watched
    def __call__(self, x: Float[Any, "*shape"], state: RefractoryState) -> tuple[Float[Any, "*shape"], RefractoryState]:
        """One step: the input current and the state give the spikes and the new state."""
        check_state(self, state, x)
        spikes = self.emitted(state)
        begun = jnp.where(spikes > 0, self.count, state.steps)
        new = RefractoryState(self.neuron.advance(x, state.neuron, spikes), jnp.maximum(begun - 1, 0))
        return self.emitted(new), new

    @watched
    def spike(self, state: RefractoryState) -> Float[Any, "..."]:
        """The spikes of a state, 1 or 0, for a recurrent projection; differentiable as those of the neuron."""
        spikes = self.emitted(state)
        return spikes if self.neuron.recurrent_gradient else jax.lax.stop_gradient(spikes)

    def emitted(self, state: RefractoryState) -> Float[Any, "..."]:
        """The spikes of a state, 1 or 0, differentiable by the surrogate where the unit may spike."""
        check_state(self, state)
        return jnp.where(state.steps == 0, self.neuron.emitted(state.neuron), 0)

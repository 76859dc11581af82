r"""Integrate-and-fire neurons: `(current, state) -> (spikes, state)`.

One step does three things, in this order:

1. reset, by the spikes of the state that comes in: $V \leftarrow V - (V_{th} - V_{reset}) \, H(V)$;
2. integrate the neuron's equation over `dt`, by exponential Euler;
3. emit the spikes of the new state.

With `leaky_reset=False` the second comes before the first, still by the spikes of the state that comes in. Then a soft
reset does not leak, and a hard one takes the input of the step, too. So do snnTorch 1.0.0 ("subtract"; its "zero"
resets first), spyx 1.0.0 and NEST.

$H(V) = \text{spike}((V - V_{th}) / (V_{th} - V_{reset}))$; in the reset it has a gradient only with
`reset_gradient=True`. The spikes are a function of the state, so they are no state of their own; `neuron.spike(state)`
reads them where a recurrent projection needs them, with `recurrent_gradient=False` without a gradient. Without either
gradient a network is one that e-prop differentiates exactly. Times are in ms, potentials in mV and currents in nA with
R in megaohm, or all of them in any other consistent units: only dt / tau and the ratios of potentials enter.

The default resistance is tau / dt, so that a current of 1 nA that lasts one step lifts V by 1 mV (by exponential
Euler a little less), from rest to threshold. The current is then in units of the threshold, as where V <- beta V + I,
and units behind an `equinox.nn.Linear` that reads spikes (100 channels, each active in a fifth of the steps) fire in 3
to 8 % of the steps. (Where R is 1, as in brainscale and brainpy, weights must be larger by tau / dt.)

Everything may carry units (`saiunit.Quantity`, any pytree of one array with arithmetic of its own): then all of
parameters, `dt`, currents and states do, and a mismatch is that library's error. A reset or resting potential that is
a plain 0, as by default, is 0 in the unit of `V_th`.

Parameters are Python numbers or arrays. A Python number is a constant: it is part of the structure of the model and
no leaf of it, so that neither `jax.jit` nor a loop makes an array of it, which would be trained. An array of JAX or
NumPy that broadcasts against the state (one value per unit, or one for all) is a parameter of the model and gets a
gradient, as with `eqx.filter_grad`. The same holds for the number inside a quantity.
"""

import abc
from collections.abc import Callable
from typing import Any, Generic, Literal, NamedTuple, Protocol, runtime_checkable, TypeVar

import equinox as eqx
import jax
from jaxtyping import DTypeLike, Float

from .._given import check_flag
from .._watched import watched
from ._integrate import exp_euler_step
from ._parameter import check_times, known, Parameter, parameter, zero_in_unit_of
from ._shapes import check_fits, check_state, ones, zeros
from ._surrogate import AbstractSurrogate, Triangular

Reset = Literal["soft", "hard"]


class NeuronState(NamedTuple):
    """The state of `IF` and `LIF`: the membrane potential `V`."""

    V: Float[Any, "..."]


@runtime_checkable
class _HasMembrane(Protocol):
    """A state with a membrane potential."""

    @property
    def V(self) -> Float[Any, "..."]: ...


State = TypeVar("State", bound=_HasMembrane)


class AbstractNeuron(eqx.Module, Generic[State]):
    """What every neuron offers: `init_state`, `spike`, and the step itself."""

    V_th: eqx.AbstractVar[Parameter]
    V_reset: eqx.AbstractVar[Parameter]
    surrogate: eqx.AbstractVar[AbstractSurrogate]
    reset: eqx.AbstractVar[Reset]
    leaky_reset: eqx.AbstractVar[bool]
    reset_gradient: eqx.AbstractVar[bool]
    recurrent_gradient: eqx.AbstractVar[bool]
    dt: eqx.AbstractVar[Parameter]

    @abc.abstractmethod
    def init_state(self, shape: int | tuple[int, ...], dtype: DTypeLike | None = None) -> State:
        """A neuron at rest, of the given shape: `n` or `(batch, n)` or `(channels, height, width)` ..."""

    @abc.abstractmethod
    def advance(self, x: Float[Any, "*shape"], state: State, spikes: Float[Any, "*shape"]) -> State:
        """The new state, from the input current, the state, and the spikes that it emitted."""

    @watched
    def __call__(self, x: Float[Any, "*shape"], state: State) -> tuple[Float[Any, "*shape"], State]:
        """One step: the input current and the state give the spikes and the new state."""
        check_state(self, state, x)
        spikes = self.emitted(state)
        check_fits("current", x, spikes)
        new = self.advance(x, state, spikes)
        return self.emitted(new), new

    @watched
    def spike(self, state: State) -> Float[Any, "..."]:
        """The spikes of a state, 1 or 0, for a recurrent projection; differentiable by the surrogate, or not."""
        spikes = self.emitted(state)
        return spikes if self.recurrent_gradient else jax.lax.stop_gradient(spikes)

    @abc.abstractmethod
    def threshold(self, state: State) -> Any:
        """Above which potential a unit spikes."""

    def emitted(self, state: State) -> Float[Any, "..."]:
        """The spikes of a state, 1 or 0, differentiable by the surrogate."""
        check_state(self, state)
        above = state.V - self.threshold(state)
        # In units of threshold above reset, so that the surrogate's width does not depend on the unit of V.
        return self.surrogate(above / (self.V_th - self.V_reset))

    def __check_init__(self) -> None:
        if self.reset not in ("soft", "hard"):
            raise ValueError(
                f"`reset` is {self.reset!r}; it must be 'soft', which subtracts, or 'hard', which sets V to `V_reset`."
            )
        for name in ("leaky_reset", "reset_gradient", "recurrent_gradient"):
            check_flag(name, getattr(self, name))
        if isinstance(self.surrogate, type) or not callable(self.surrogate):
            raise TypeError(f"`surrogate` is {self.surrogate!r}; it must be a spike function, such as `Arctan()`.")
        threshold, floor = known(self.V_th), known(self.V_reset)
        if threshold is not None and floor is not None and not (threshold > floor).all():
            raise ValueError(f"`V_th` is {self.V_th} and `V_reset` {self.V_reset}; `V_th` must lie above `V_reset`.")
        check_times(self, *(name for name in vars(self) if name == "dt" or name.startswith("tau")))

    def _resetting(self, spikes: Float[Any, "*shape"]) -> Float[Any, "*shape"]:
        """The spikes as the reset sees them: with a gradient or not."""
        return spikes if self.reset_gradient else jax.lax.stop_gradient(spikes)

    def _with_reset(
        self, V: Float[Any, "*shape"], spikes: Float[Any, "*shape"], flow: Callable[[Any], Any]
    ) -> Float[Any, "*shape"]:
        """The potential one step later, which `flow` gives where nothing is reset."""

        def fall(V: Float[Any, "*shape"]) -> Float[Any, "*shape"]:
            drop = self.V_th - self.V_reset if self.reset == "soft" else V - self.V_reset
            return V - drop * self._resetting(spikes)

        return flow(fall(V)) if self.leaky_reset else fall(flow(V))


class IF(AbstractNeuron[NeuronState]):
    r"""The integrate-and-fire neuron without a leak.

    $$\tau \frac{dV}{dt} = R I$$

    **Arguments**

    - `tau`: the time constant $\tau$ (ms), which scales the input: one step adds $(dt / \tau) R I$.
    - `V_th`, `V_reset`: threshold and reset potential (mV).
    - `R`: the input resistance (megaohm).
    - `dt`: the length of a step (ms).
    - `surrogate`: the spike function.
    - `reset`: `"soft"` subtracts `V_th - V_reset` and keeps what is above threshold; `"hard"` sets V to `V_reset`.
    - `leaky_reset`: True resets first, so that the reset leaks, too. False resets what the leak and the input made.
    - `reset_gradient`, `recurrent_gradient`: do the spikes have a gradient where they reset V, and in `spike`?

    Source: Gerstner, Kistler, Naud and Paninski, "Neuronal Dynamics", 2014, chapter 1.
    """

    tau: Parameter = parameter(5.0)
    V_th: Parameter = parameter(1.0)
    V_reset: Parameter = parameter(0.0)
    R: Parameter = parameter(5.0)
    dt: Parameter = parameter(1.0)
    surrogate: AbstractSurrogate = Triangular()
    reset: Reset = eqx.field(default="soft", static=True)
    leaky_reset: bool = eqx.field(default=True, static=True)
    reset_gradient: bool = eqx.field(default=False, static=True)
    recurrent_gradient: bool = eqx.field(default=True, static=True)

    def __post_init__(self) -> None:
        self.V_reset = zero_in_unit_of(self.V_th, self.V_reset)

    def init_state(self, shape: int | tuple[int, ...], dtype: DTypeLike | None = None) -> NeuronState:
        """V = 0 in an array of the given shape and dtype (JAX's default float if None)."""
        return NeuronState(zeros(shape, dtype) * self.V_reset)

    def threshold(self, state: NeuronState) -> Any:
        """`V_th`."""
        del state
        return self.V_th

    def advance(self, x: Float[Any, "*shape"], state: NeuronState, spikes: Float[Any, "*shape"]) -> NeuronState:
        """The new state."""
        return NeuronState(self._with_reset(state.V, spikes, lambda V: V + self.dt / self.tau * self.R * x))


class LIF(AbstractNeuron[NeuronState]):
    r"""The leaky integrate-and-fire neuron.

    $$\tau \frac{dV}{dt} = -(V - V_{rest}) + R I$$

    **Arguments**

    - `tau`: the membrane time constant $\tau$ (ms).
    - `V_th`, `V_reset`, `V_rest`: threshold, reset and resting potential (mV).
    - `R`: the input resistance (megaohm).
    - `dt`: the length of a step (ms).
    - `surrogate`: the spike function.
    - `reset`: `"soft"` subtracts `V_th - V_reset` and keeps what is above threshold; `"hard"` sets V to `V_reset`.
    - `leaky_reset`: True resets first, so that the reset leaks, too. False resets what the leak and the input made.
    - `reset_gradient`, `recurrent_gradient`: do the spikes have a gradient where they reset V, and in `spike`?

    Source: Gerstner, Kistler, Naud and Paninski, "Neuronal Dynamics", 2014, equation 1.5.
    """

    tau: Parameter = parameter(20.0)
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

    def init_state(self, shape: int | tuple[int, ...], dtype: DTypeLike | None = None) -> NeuronState:
        """V = `V_rest` in an array of the given shape and dtype (JAX's default float if None)."""
        return NeuronState(ones(shape, dtype) * self.V_rest)

    def threshold(self, state: NeuronState) -> Any:
        """`V_th`."""
        del state
        return self.V_th

    def advance(self, x: Float[Any, "*shape"], state: NeuronState, spikes: Float[Any, "*shape"]) -> NeuronState:
        """The new state."""
        return NeuronState(
            self._with_reset(state.V, spikes, lambda V: exp_euler_step(self._derivative, V, x, dt=self.dt))
        )

    def _derivative(self, V: Float[Any, "*shape"], x: Float[Any, "*shape"]) -> Float[Any, "*shape"]:
        return (self.V_rest - V + self.R * x) / self.tau

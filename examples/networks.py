"""Three spiking networks, built of `equinox.nn` and `eqx_etrace.nn`: nothing in them knows of online learning.

They are the networks of brainscale's documentation page on what its compiler finds. Each function returns
`(step, model, state, inputs)`, what `compile_graph` takes. With `Units.physical()` every time, potential, resistance
and current carries its unit, by saiunit; the numbers are the same.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from eqx_etrace import nn


class Units(NamedTuple):
    """What a number is multiplied with. By default nothing carries a unit, and times are in ms, currents in mA ..."""

    ms: Any = 1.0
    mV: Any = 1.0
    mA: Any = 1.0
    ohm: Any = 1.0
    dt: Any = 1.0
    """The length of a step."""

    @classmethod
    def physical(cls, dt: float = 0.1) -> "Units":
        """Those of saiunit; `dt` in ms."""
        import saiunit

        return cls(saiunit.ms, saiunit.mV, saiunit.mA, saiunit.ohm, dt * saiunit.ms)


NONE = Units()


def drawn_in(unit: Any, linear: eqx.nn.Linear) -> eqx.nn.Linear:
    """The layer with weights (and a bias) of this unit."""
    return jax.tree.map(lambda w: w * unit if eqx.is_array(w) else w, linear)


Network = tuple[Callable[..., Any], eqx.Module, Any, tuple[Array, ...]]


def step(model: Any, state: Any, x: Float[Array, "..."]) -> tuple[Array, Any]:
    return model(x, state)


class Delta(eqx.Module):
    """A projection whose current lasts for one step."""

    comm: eqx.nn.Linear

    def __call__(self, x: Float[Array, " pre"]) -> Float[Array, " post"]:
        return self.comm(x)


class AlignPost(eqx.Module):
    """A projection through one exponential synapse for each target unit."""

    comm: eqx.nn.Linear
    syn: nn.Expon

    def __call__(
        self, x: Float[Array, " pre"], state: dict[str, nn.SynapseState]
    ) -> tuple[Float[Array, " post"], dict[str, nn.SynapseState]]:
        g, syn = self.syn(self.comm(x), state["syn"])
        return g, {"syn": syn}


class SingleLayerState(NamedTuple):
    neu: nn.NeuronState
    out: nn.ReadoutState


class SingleLayer(eqx.Module):
    """Leaky neurons that hear the input and each other."""

    syn: Delta
    neu: nn.LIF
    out: nn.LeakyRateReadout

    def __init__(self, n_in: int, n_rec: int, n_out: int, *, units: Units = NONE, key: PRNGKeyArray) -> None:
        syn, out = jr.split(key)
        self.syn = Delta(drawn_in(units.mA, eqx.nn.Linear(n_in + n_rec, n_rec, use_bias=False, key=syn)))
        self.neu = nn.LIF(
            tau=20 * units.ms,
            V_th=1 * units.mV,
            V_reset=0 * units.mV,
            V_rest=0 * units.mV,
            R=1 * units.ohm,
            dt=units.dt,
        )
        self.out = nn.LeakyRateReadout(n_rec, n_out, tau=20 * units.ms, dt=units.dt, key=out)

    def __call__(
        self, x: Float[Array, " n_in"], state: SingleLayerState
    ) -> tuple[Float[Array, " n_out"], SingleLayerState]:
        current = self.syn(jnp.concatenate([x, self.neu.spike(state.neu)]))
        spikes, neu = self.neu(current, state.neu)
        rates, out = self.out(spikes, state.out)
        return rates, SingleLayerState(neu, out)


class GIFLayerState(NamedTuple):
    ff2r: dict[str, nn.SynapseState]
    r: nn.GIFState


class GIFLayer(eqx.Module):
    """Adapting neurons that hear the layer below and each other; their spikes leave the layer standardised."""

    ff2r: AlignPost
    r: nn.GIF

    def __init__(self, n_in: int, n_rec: int, *, units: Units = NONE, key: PRNGKeyArray) -> None:
        comm = drawn_in(units.mA, eqx.nn.Linear(n_in + n_rec, n_rec, use_bias=False, key=key))
        self.ff2r = AlignPost(comm, nn.Expon(tau=8 * units.ms, dt=units.dt))
        self.r = nn.GIF(
            tau=20 * units.ms,
            tau_I2=50 * units.ms,
            A2=-0.1 * units.mA,
            V_th=1 * units.mV,
            V_reset=0 * units.mV,
            V_rest=0 * units.mV,
            R=1 * units.ohm,
            dt=units.dt,
        )

    def __call__(self, x: Float[Array, " n_in"], state: GIFLayerState) -> tuple[Float[Array, " n_rec"], GIFLayerState]:
        current, ff2r = self.ff2r(jnp.concatenate([x, self.r.spike(state.r)]), state.ff2r)
        spikes, r = self.r(current, state.r)
        return jax.nn.standardize(spikes), GIFLayerState(ff2r, r)


class GIFNetState(NamedTuple):
    layers: list[GIFLayerState]
    out: nn.ReadoutState


class GIFNet(eqx.Module):
    """Layers of adapting neurons, one above the other."""

    layers: list[GIFLayer]
    out: nn.LeakyRateReadout

    def __init__(
        self, n_in: int, n_rec: int, n_out: int, n_layer: int, *, units: Units = NONE, key: PRNGKeyArray
    ) -> None:
        out, *keys = jr.split(key, n_layer + 1)
        sizes = [n_in] + [n_rec] * (n_layer - 1)
        self.layers = [GIFLayer(size, n_rec, units=units, key=k) for size, k in zip(sizes, keys, strict=True)]
        self.out = nn.LeakyRateReadout(n_rec, n_out, tau=20 * units.ms, dt=units.dt, key=out)

    def __call__(self, x: Float[Array, " n_in"], state: GIFNetState) -> tuple[Float[Array, " n_out"], GIFNetState]:
        layers = []
        for layer, layer_state in zip(self.layers, state.layers, strict=True):
            x, layer_state = layer(x, layer_state)
            layers.append(layer_state)
        rates, out = self.out(x, state.out)
        return rates, GIFNetState(layers, out)


class ConvNetState(NamedTuple):
    conv1: nn.NeuronState
    conv2: nn.NeuronState
    dense: nn.NeuronState
    out: nn.ReadoutState


def integrate_and_fire(units: Units) -> nn.IF:
    return nn.IF(tau=5 * units.ms, V_th=1 * units.mV, V_reset=0 * units.mV, R=1 * units.ohm, dt=units.dt)


class ConvLayer(eqx.Module):
    """Convolution, normalisation, neurons: a normalised activity of 1 is a current of one `unit`."""

    conv: eqx.nn.Conv2d
    norm: eqx.nn.LayerNorm
    neu: nn.IF
    unit: Any

    def __init__(self, n_in: int, n_out: int, size: int, *, units: Units = NONE, key: PRNGKeyArray) -> None:
        self.conv = eqx.nn.Conv2d(n_in, n_out, 3, padding=1, use_bias=False, key=key)
        self.norm = eqx.nn.LayerNorm((n_out, size, size))
        self.neu = integrate_and_fire(units)
        self.unit = 1.0 * units.mA

    def __call__(
        self, x: Float[Array, "n_in size size"], state: nn.NeuronState
    ) -> tuple[Float[Array, "n_out size size"], nn.NeuronState]:
        return self.neu(self.norm(self.conv(x)) * self.unit, state)


class ConvNet(eqx.Module):
    """Two convolutional layers and a dense one, all of neurons without a leak."""

    conv1: ConvLayer
    conv2: ConvLayer
    pool: eqx.nn.MaxPool2d
    linear: eqx.nn.Linear
    dense: nn.IF
    out: nn.LeakyRateReadout

    def __init__(
        self, channels: int, size: int, n_dense: int, n_out: int, *, units: Units = NONE, key: PRNGKeyArray
    ) -> None:
        conv1, conv2, linear, out = jr.split(key, 4)
        self.conv1 = ConvLayer(2, channels, size, units=units, key=conv1)
        self.conv2 = ConvLayer(channels, channels, size // 2, units=units, key=conv2)
        self.pool = eqx.nn.MaxPool2d(2, stride=2)
        self.linear = drawn_in(units.mA, eqx.nn.Linear(channels * (size // 4) ** 2, n_dense, key=linear))
        self.dense = integrate_and_fire(units)
        self.out = nn.LeakyRateReadout(n_dense, n_out, tau=20 * units.ms, dt=units.dt, key=out)

    def __call__(
        self, x: Float[Array, "2 size size"], state: ConvNetState
    ) -> tuple[Float[Array, " n_out"], ConvNetState]:
        x, conv1 = self.conv1(x, state.conv1)
        x, conv2 = self.conv2(self.pool(x), state.conv2)
        x, dense = self.dense(self.linear(self.pool(x).reshape(-1)), state.dense)
        rates, out = self.out(x, state.out)
        return rates, ConvNetState(conv1, conv2, dense, out)


def single_layer(n_in: int = 10, n_rec: int = 20, n_out: int = 5, units: Units = NONE) -> Network:
    model = SingleLayer(n_in, n_rec, n_out, units=units, key=jr.key(0))
    state = SingleLayerState(model.neu.init_state(n_rec), model.out.init_state())
    return step, model, state, (jnp.ones(n_in),)


def gif_layers(n_in: int = 10, n_rec: int = 20, n_out: int = 5, n_layer: int = 3, units: Units = NONE) -> Network:
    model = GIFNet(n_in, n_rec, n_out, n_layer, units=units, key=jr.key(0))
    layers = [
        GIFLayerState({"syn": m.ff2r.syn.init_state(n_rec, unit=units.mA)}, m.r.init_state(n_rec)) for m in model.layers
    ]
    return step, model, GIFNetState(layers, model.out.init_state()), (jnp.ones(n_in),)


def convolutional(
    channels: int = 32, size: int = 34, n_dense: int = 100, n_out: int = 10, units: Units = NONE
) -> Network:
    model = ConvNet(channels, size, n_dense, n_out, units=units, key=jr.key(0))
    state = ConvNetState(
        model.conv1.neu.init_state((channels, size, size)),
        model.conv2.neu.init_state((channels, size // 2, size // 2)),
        model.dense.init_state(n_dense),
        model.out.init_state(),
    )
    return step, model, state, (jnp.ones((2, size, size)),)

"""A small network that all is done wrong with."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

import eqx_etrace

etr: Any = eqx_etrace
"""The library, to be called as no checker of types would allow."""
N, F, T, B = 3, 2, 5, 4


class Network(eqx.Module):
    into: eqx.nn.Linear
    neuron: eqx_etrace.nn.LIF
    readout: eqx_etrace.nn.LeakyRateReadout

    def __init__(self) -> None:
        keys = jax.random.split(jax.random.key(0), 2)
        self.into = eqx.nn.Linear(F, N, key=keys[0])
        self.neuron = etr.nn.LIF()
        self.readout = etr.nn.LeakyRateReadout(N, 2, key=keys[1])

    def init_state(self) -> Any:
        return self.neuron.init_state(N), self.readout.init_state()


def spiking_step(model: Any, state: Any, x: Any, label: Any) -> Any:
    neuron, readout = state
    spikes, neuron = model.neuron(model.into(x), neuron)
    out, readout = model.readout(spikes, readout)
    return etr.losses.cross_entropy(out, label), (neuron, readout)


def weights(n: int = N) -> Any:
    return {"W": jnp.full((n, F), 0.1), "w": jnp.full(n, 0.5)}


def loss_step(m: Any, h: Any, x: Any) -> Any:
    h = jnp.tanh(m["w"] * h + m["W"] @ x)
    return jnp.sum(h), h


H, X = jnp.zeros(N), jnp.ones(F)
XS, LABELS = jnp.ones((T, F)), jnp.zeros(T, int)
ONLINE = etr.etrace_value_and_grad(loss_step, etr.DRTRL())
SPIKING = etr.etrace_value_and_grad(spiking_step, etr.DRTRL())


def trace() -> Any:
    return ONLINE.init(weights(), H, X)


def spiking() -> Any:
    """Model, state and trace of the spiking network."""
    model = Network()
    state = model.init_state()
    return model, state, SPIKING.init(model, state, X, LABELS[0])


def learner() -> Any:
    """A learner of the spiking network, and what it carries."""
    one = etr.OnlineLearner(SPIKING, optax.adam(1e-3))
    model = Network()
    return one, one.init(model, model.init_state(), X, LABELS[0])

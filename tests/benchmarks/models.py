"""The models that are timed: a cell, a linear readout, a batch by vmap inside the step."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

import eqx_etrace as etr

N_IN, N_OUT = 100, 10


class Leaky(eqx.Module):
    """A leaky tanh RNN; its recurrent weights see concat(input, own state)."""

    weight: eqx.nn.Linear

    def __init__(self, n: int, key: Array, features: int = N_IN):
        self.weight = eqx.nn.Linear(features + n, n, key=key)

    def init_state(self, shape: tuple[int, int]) -> Array:
        return jnp.zeros(shape)

    def __call__(self, x: Float[Array, " k"], h: Float[Array, " n"]) -> tuple[Array, Array]:
        h = 0.9 * h + 0.1 * jnp.tanh(self.weight(jnp.concatenate([x, h])))
        return h, h


class ALIF(eqx.Module):
    """An adaptive LIF neuron: membrane and threshold, two coupled states per unit."""

    weight: eqx.nn.Linear
    spike: etr.nn.Triangular

    def __init__(self, n: int, key: Array, features: int = N_IN):
        self.weight = eqx.nn.Linear(features + n, n, key=key)
        self.spike = etr.nn.Triangular()

    def init_state(self, shape: tuple[int, int]) -> tuple[Array, Array]:
        return jnp.zeros(shape), jnp.zeros(shape)

    def __call__(self, x: Float[Array, " k"], state: tuple[Array, Array]) -> tuple[Array, tuple[Array, Array]]:
        V, a = state
        z = self.spike(V - 1 - a)
        V = 0.9 * V + self.weight(jnp.concatenate([x, z])) - jax.lax.stop_gradient(z)
        a = 0.95 * a + 0.1 * z
        return self.spike(V - 1 - a), (V, a)


class GRU(eqx.Module):
    """`eqx.nn.GRUCell` as it is."""

    cell: eqx.nn.GRUCell

    def __init__(self, n: int, key: Array, features: int = N_IN):
        self.cell = eqx.nn.GRUCell(features, n, key=key)

    def init_state(self, shape: tuple[int, int]) -> Array:
        return jnp.zeros(shape)

    def __call__(self, x: Float[Array, " k"], h: Float[Array, " n"]) -> tuple[Array, Array]:
        h = self.cell(x, h)
        return h, h


CELLS = {"leaky": Leaky, "alif": ALIF, "gru": GRU}


class Network(eqx.Module):
    cell: Any
    readout: eqx.nn.Linear

    def __init__(self, name: str, n: int):
        a, b = jax.random.split(jax.random.key(0))
        self.cell, self.readout = CELLS[name](n, a), eqx.nn.Linear(n, N_OUT, key=b)

    def __call__(self, x: Array, state: Any) -> tuple[Array, Any]:
        out, state = self.cell(x, state)
        return self.readout(out), state


def loss_step(model: Network, state: Any, x: Array, y: Array) -> tuple[Array, Any]:
    out, state = jax.vmap(model)(x, state)
    return jnp.mean((out - y) ** 2), state


def data(length: int, batch: int) -> tuple[Array, Array]:
    a, b = jax.random.split(jax.random.key(1))
    return jax.random.normal(a, (length, batch, N_IN)), jax.random.normal(b, (length, batch, N_OUT))

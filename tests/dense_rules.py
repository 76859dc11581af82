"""The published rules as they are printed, dense and slow: what the library's are held against.

They see a step as its Jacobians J = dh'/dh and I = dh'/dw, and q = dl/dh', of all states in one vector. These come from
a plain step by JAX's derivatives; the recursions are in NumPy. Nothing here is the library's.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


@dataclasses.dataclass(frozen=True)
class Network:
    """`cell(w, h, x, detached)` gives the new states of a tuple of states; `loss` reads the last of them."""

    cell: Callable[..., Any]
    loss: Callable[[Any, Any], Any]
    w: Any
    xs: Any
    ys: Any
    n: int
    states: int

    def loss_step(self, w: Any, h: Any, x: Any, y: Any) -> tuple[Any, Any]:
        """As the library takes it: a tuple of states."""
        new = self.cell(w, h, x, False)
        return self.loss(new[-1], y), new

    def flat(self, w: Any, h: Any, x: Any, detached: bool) -> Any:
        """The same on one vector."""
        return jnp.concatenate(self.cell(w, tuple(jnp.split(h, self.states)), x, detached))

    def flat_loss(self, h: Any, y: Any) -> Any:
        """The same of one vector."""
        return self.loss(h[-self.n :], y)

    @property
    def start(self) -> Any:
        return tuple(jnp.zeros(self.n) for _ in range(self.states))


@dataclasses.dataclass(frozen=True)
class Rolled:
    """Of every step: J, J without what recurrent weights carry, I, q."""

    J: Any
    own: Any
    I: Any  # noqa: E741
    q: Any
    x: Any
    """What the weight met."""


def rolled(net: Network) -> Rolled:
    """Run a network."""

    def one(h: Any, now: Any) -> Any:
        x, y = now
        new = net.flat(net.w, h, x, False)
        J, I = (jax.jacobian(net.flat, a)(net.w, h, x, False) for a in (1, 0))  # noqa: E741
        own, met = jax.jacobian(net.flat, 1)(net.w, h, x, True), jnp.concatenate([h[-net.n :], x])
        return new, (J, own, I.reshape(h.size, -1), jax.grad(net.flat_loss)(new, y), met)

    found = jax.lax.scan(one, jnp.zeros(net.n * net.states), (net.xs, net.ys))[1]
    return Rolled(*map(np.asarray, found))


def recursion(D: Any, I: Any, q: Any) -> Any:  # noqa: E741
    """sum_t q_t M_t with M <- D_t M + I_t."""
    M, total = np.zeros_like(I[0]), 0.0
    for d, i, g in zip(D, I, q, strict=True):
        M = d @ M + i
        total = total + g @ M
    return total


def rtrl(r: Rolled) -> Any:
    return recursion(r.J, r.I, r.q)


def diagonal(r: Rolled) -> Any:
    """D-RTRL, and e-prop: all that does not go through recurrent weights."""
    return recursion(r.own, r.I, r.q)


def rflo(r: Rolled, leak: float) -> Any:
    return recursion(np.full(len(r.J), leak)[:, None, None] * np.eye(r.J.shape[1]), r.I, r.q)


def filtered_eprop(r: Rolled, kappa: float) -> Any:
    e, bar, total = np.zeros_like(r.I[0]), np.zeros_like(r.I[0]), 0.0
    for d, i, g in zip(r.own, r.I, r.q, strict=True):
        e = d @ e + i
        bar = kappa * bar + e
        total = total + g @ bar
    return total


def summed(r: Rolled, leak: float) -> list[Any]:
    """dh/dy (x) x^ of every step, x^ <- leak x^ + x."""
    trace, made = np.zeros_like(r.x[0]), []
    for i, x in zip(r.I, r.x, strict=True):
        trace = leak * trace + x
        at = int(np.argmax(np.abs(x)))
        response = i.reshape(len(i), -1, len(x))[:, :, at] / x[at]
        made.append((response[:, :, None] * trace).reshape(i.shape))
    return made


def ottt(r: Rolled, leak: float) -> Any:
    return sum(g @ e for g, e in zip(r.q, summed(r, leak), strict=True))


def otpe(r: Rolled, leak: float) -> Any:
    R, total = np.zeros_like(r.I[0]), 0.0
    for g, e in zip(r.q, summed(r, leak), strict=True):
        R = leak * R + e
        total = total + g @ R
    return total


RNG = np.random.default_rng(7)
N, INPUTS, STEPS = 6, 3, 16


def normal(*shape: int) -> Any:
    return jnp.asarray(RNG.normal(size=shape))


READ, XS, YS = normal(2, N), normal(STEPS, INPUTS), normal(STEPS, 2)
SPIKES_IN = jnp.asarray(RNG.random((STEPS, INPUTS)) < 0.6, float)


def error(h: Any, y: Any) -> Any:
    return 0.5 * jnp.sum((READ @ h - y) ** 2)


def rate(w: Any, h: Any, x: Any, detached: bool) -> Any:
    back = jax.lax.stop_gradient(h[0]) if detached else h[0]
    return (0.7 * h[0] + 0.3 * jnp.tanh(w @ jnp.concatenate([back, x])),)


@jax.custom_jvp
def spike(u: Any) -> Any:
    return (u >= 0).astype(u.dtype)


@spike.defjvp
def _(primals: Any, tangents: Any) -> Any:
    return spike(primals[0]), 0.3 * jnp.maximum(0.0, 1 - jnp.abs(primals[0])) * tangents[0]


def alif(w: Any, h: Any, x: Any, detached: bool) -> Any:
    v, a, z = h
    back = jax.lax.stop_gradient(z) if detached else z
    v = 0.9 * v + w @ jnp.concatenate([back, x]) - 0.5 * jax.lax.stop_gradient(z)
    a = 0.95 * a + z
    return v, a, spike(v - 0.5 - 0.3 * a)


def gru(w: Any, h: Any, x: Any, detached: bool) -> Any:
    back = jax.lax.stop_gradient(h[0]) if detached else h[0]
    r, z, c = jnp.split(w @ jnp.concatenate([back, x]), 3)
    update = jax.nn.sigmoid(z)
    return ((1 - update) * h[0] + update * jnp.tanh(c * jax.nn.sigmoid(r)),)


NETWORKS = {
    "rate": Network(rate, error, 0.6 * normal(N, N + INPUTS), XS, YS, N, 1),
    "alif": Network(alif, error, 0.4 * normal(N, N + INPUTS) + 0.1, SPIKES_IN, YS, N, 3),
    "gru": Network(gru, error, 0.6 * normal(3 * N, N + INPUTS), XS, YS, N, 1),
}

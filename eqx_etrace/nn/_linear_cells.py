"""Recurrent cells that are linear in their state, unit by unit: `(x, state) -> (out, state)`.

Their weights are real arrays, also where the mathematics is complex: an optimiser that descends a complex gradient of
JAX without taking its conjugate walks the wrong way.
"""

import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, DTypeLike, Float, PRNGKeyArray

from .._given import as_key, check_size
from ._projection import Projection
from ._shapes import check_lanes, check_state, lanes, zeros


class _Ring(eqx.Module):
    """Eigenvalues inside a ring of the complex plane, as logarithms that training cannot take out of the unit disc."""

    nu_log: Float[Array, " n"]
    theta_log: Float[Array, " n"]

    def __init__(self, n: int, r_min: float, r_max: float, max_phase: float, key: PRNGKeyArray) -> None:
        if not 0 <= r_min < r_max <= 1:
            raise ValueError(f"`r_min` is {r_min} and `r_max` {r_max}; it must be 0 <= r_min < r_max <= 1.")
        n = check_size("hidden_size", n)
        radius, phase = jax.random.split(key)
        # Uniform on the area of the ring, and never 0 or 1, whose logarithms are not finite.
        u = jax.random.uniform(radius, (n,), minval=1e-3, maxval=1 - 1e-3)
        squared = r_min**2 + u * (r_max**2 - r_min**2)
        self.nu_log = jnp.log(-0.5 * jnp.log(squared))
        self.theta_log = jnp.log(max_phase * jax.random.uniform(phase, (n,), minval=1e-3))

    @property
    def modulus(self) -> Float[Array, " n"]:
        return jnp.exp(-jnp.exp(self.nu_log))

    @property
    def phase(self) -> Float[Array, " n"]:
        return jnp.exp(self.theta_log)

    @property
    def gain(self) -> Float[Array, " n"]:
        """sqrt(1 - r^2), without cancelling where r is almost 1: the state is of the size of the input."""
        return jnp.sqrt(-jnp.expm1(-2 * jnp.exp(self.nu_log)))


class LRUCell(eqx.Module):
    r"""The linear recurrent unit, with complex diagonal recurrence.

    $$h \leftarrow \lambda \circ h + \gamma \circ (B x), \qquad y = \mathrm{Re}(C h) + D x$$

    with $\lambda = \exp(-e^\nu + i e^\theta)$ and $\gamma = e^{g}$, which begins as $\sqrt{1 - |\lambda|^2}$.
    By position nothing is dropped: `DRTRL()` is exact.

    **Arguments**

    - `in_size`, `hidden_size`, `out_size`: how many inputs, complex units and outputs there are.
    - `r_min`, `r_max`, `max_phase`: where the eigenvalues begin: uniform on a ring, with phases up to `max_phase`.
    - `key`: for the weights. B and C have variances `1 / in_size` and `1 / hidden_size`, D that of B.

    Source: Orvieto et al., "Resurrecting recurrent neural networks for long sequences", ICML 2023, section 3 and
    equation 7; trained online in Zucchet et al., "Online learning of long-range dependencies", NeurIPS 2023.
    """

    eigenvalues: _Ring
    gamma_log: Float[Array, " n"]
    B: Float[Array, "2 n in"]
    """Real and imaginary parts."""
    C: Float[Array, "2 out n"]
    """Real and imaginary parts."""
    D: Projection

    def __init__(
        self,
        in_size: int,
        hidden_size: int,
        out_size: int,
        *,
        r_min: float = 0.5,
        r_max: float = 0.99,
        max_phase: float = math.pi / 5,
        key: PRNGKeyArray,
    ) -> None:
        ring, into, out, skip = jax.random.split(as_key(key), 4)
        self.eigenvalues = _Ring(hidden_size, r_min, r_max, max_phase, ring)
        self.gamma_log = jnp.log(self.eigenvalues.gain)
        in_size, out_size = check_size("in_size", in_size), check_size("out_size", out_size)
        self.B = jax.random.normal(into, (2, hidden_size, in_size)) * (2 * in_size) ** -0.5
        self.C = jax.random.normal(out, (2, out_size, hidden_size)) * hidden_size**-0.5
        self.D = Projection(in_size, out_size, key=skip)

    def init_state(
        self, batch: int | tuple[int, ...] = (), dtype: DTypeLike | None = None
    ) -> Complex[Array, "*batch n"]:
        """h = 0, in a complex array of shape `(*batch, hidden_size)`; `dtype` is complex, of the weights if None."""
        dtype = jax.lax.complex(*self.B).dtype if dtype is None else dtype
        return zeros((*lanes(batch), len(self.gamma_log)), dtype)

    def __call__(
        self, x: Float[Array, "*batch in"], h: Complex[Array, "*batch n"]
    ) -> tuple[Float[Array, "*batch out"], Complex[Array, "*batch n"]]:
        """One step: the output, and the new state."""
        check_lanes(self, x, h, self.B.shape[-1], self.B.shape[1])
        if not jnp.iscomplexobj(h):
            raise TypeError(f"The state of `LRUCell` is {h.dtype}; it must be complex. Make it by `init_state`.")
        ring, gain = self.eigenvalues, jnp.exp(self.gamma_log)
        eigenvalue = jax.lax.complex(ring.modulus * jnp.cos(ring.phase), ring.modulus * jnp.sin(ring.phase))
        drive = jax.lax.complex(gain * (x @ self.B[0].T), gain * (x @ self.B[1].T))
        h = eigenvalue * h + drive
        return h.real @ self.C[0].T - h.imag @ self.C[1].T + self.D(x), h


class RTUState(NamedTuple):
    """The state of `RTUCell`: two numbers for each unit, `c1` and `c2`."""

    c1: Float[Any, "*batch n"]
    c2: Float[Any, "*batch n"]


class RTUCell(eqx.Module):
    r"""The recurrent trace unit: a rotation that shrinks, in real numbers.

    $$c_1 \leftarrow r \cos\theta \, c_1 - r \sin\theta \, c_2 + \gamma W_1 x, \qquad
    c_2 \leftarrow r \sin\theta \, c_1 + r \cos\theta \, c_2 + \gamma W_2 x$$

    with $r = \exp(-e^\nu)$, $\theta = e^\phi$ and $\gamma = \sqrt{1 - r^2}$. The output is $\phi(c_1), \phi(c_2)$, one
    after the other. By position nothing is dropped: `DRTRL()` is exact.

    **Arguments**

    - `in_size`, `hidden_size`: how many inputs and units there are; the output has `2 * hidden_size` numbers.
    - `r_min`, `r_max`, `max_phase`: where the eigenvalues begin: uniform on a ring, with phases up to `max_phase`.
    - `key`: for the weights, of variance `1 / in_size`.

    Source: Elelimy et al., "Real-time recurrent learning using trace units in reinforcement learning", NeurIPS 2024,
    linear RTUs.
    """

    eigenvalues: _Ring
    into: tuple[Projection, Projection]

    def __init__(
        self,
        in_size: int,
        hidden_size: int,
        *,
        r_min: float = 0.5,
        r_max: float = 0.99,
        max_phase: float = math.pi / 5,
        key: PRNGKeyArray,
    ) -> None:
        ring, first, second = jax.random.split(as_key(key), 3)
        self.eigenvalues = _Ring(hidden_size, r_min, r_max, max_phase, ring)
        self.into = (
            Projection(in_size, hidden_size, use_bias=False, key=first),
            Projection(in_size, hidden_size, use_bias=False, key=second),
        )

    def init_state(self, batch: int | tuple[int, ...] = (), dtype: DTypeLike | None = None) -> RTUState:
        """c = 0, in arrays of shape `(*batch, hidden_size)`."""
        shape = (*lanes(batch), len(self.eigenvalues.nu_log))
        return RTUState(zeros(shape, dtype), zeros(shape, dtype))

    def __call__(self, x: Float[Array, "*batch in"], state: RTUState) -> tuple[Float[Array, "*batch _"], RTUState]:
        """One step: the output, and the new state."""
        check_state(self, state, x)
        check_lanes(self, x, state.c1, self.into[0].weight.shape[1], self.into[0].weight.shape[0])
        ring = self.eigenvalues
        along, across = ring.modulus * jnp.cos(ring.phase), ring.modulus * jnp.sin(ring.phase)
        c1 = along * state.c1 - across * state.c2 + ring.gain * self.into[0](x)
        c2 = across * state.c1 + along * state.c2 + ring.gain * self.into[1](x)
        return jnp.concatenate([jax.nn.relu(c1), jax.nn.relu(c2)], axis=-1), RTUState(c1, c2)

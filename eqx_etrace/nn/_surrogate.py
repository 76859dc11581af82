"""Spikes: a step going forward, a smooth slope going backward.

The forward value is the Heaviside function of x, 1 where x >= 0. Its derivative is 0 or undefined, so each surrogate
puts another function in the derivative's place; that function is all that tells them apart.
"""

import abc
import dataclasses
import math
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._given import check_number


class AbstractSurrogate(eqx.Module):
    """What every surrogate spike offers: `surrogate(x)`, 1 where `x >= 0` and 0 elsewhere, in the dtype of `x`.

    A subclass says what stands in for the derivative. Its fields are static: they are fixed when a step is traced.
    """

    def __check_init__(self) -> None:
        """Are the numbers numbers?"""
        for field in dataclasses.fields(self):
            if field.type in (float, "float"):
                check_number(field.name, getattr(self, field.name), "a constant of the slope")

    @abc.abstractmethod
    def derivative(self, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """What stands in for the derivative of the spike at `x`."""

    def __call__(self, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """The spikes."""
        return _spike(self, x)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _spike(surrogate: AbstractSurrogate, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    del surrogate
    return (x >= 0).astype(x.dtype)


@_spike.defjvp
def _spike_jvp(
    surrogate: AbstractSurrogate, primals: tuple[Float[Array, "*shape"]], tangents: tuple[Float[Array, "*shape"]]
) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    (x,), (dx,) = primals, tangents
    return _spike(surrogate, x), surrogate.derivative(x) * dx


class Triangular(AbstractSurrogate):
    r"""A triangle: $\alpha \max(0, 1 - |x| / w)$.

    **Arguments**

    - `alpha`: the height $\alpha$ of the triangle.
    - `width`: half its base, $w$. Beyond it a unit gets no gradient.

    Source: Esser et al., "Convolutional networks for fast, energy-efficient neuromorphic computing", PNAS 2016; damped
    by $\alpha = 0.3$ as in Bellec et al., "Long short-term memory and learning-to-learn in networks of spiking
    neurons", NeurIPS 2018.
    """

    alpha: float = eqx.field(default=0.3, static=True)
    width: float = eqx.field(default=1.0, static=True)

    def derivative(self, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """The triangle at `x`."""
        return self.alpha * jax.nn.relu(1 - jnp.abs(x) / self.width)


class Arctan(AbstractSurrogate):
    r"""The slope of an arctangent: $\frac{\alpha}{2} / (1 + (\frac{\pi}{2} \alpha x)^2)$.

    **Arguments**

    - `alpha`: the sharpness $\alpha$; half of it is the height of the peak.

    Source: Fang et al., "Incorporating learnable membrane time constant to enhance learning of spiking neural
    networks", ICCV 2021.
    """

    alpha: float = eqx.field(default=2.0, static=True)

    def derivative(self, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """The slope at `x`."""
        return 0.5 * self.alpha / (1 + jnp.square(0.5 * math.pi * self.alpha * x))


class Sigmoid(AbstractSurrogate):
    r"""The slope of a logistic function: $\alpha \, \sigma(\alpha x) \, (1 - \sigma(\alpha x))$.

    **Arguments**

    - `alpha`: the sharpness $\alpha$; a quarter of it is the height of the peak.

    Source: Zenke and Vogels, "The remarkable robustness of surrogate gradient learning for instilling complex function
    in spiking neural networks", Neural Computation 2021; after the fast sigmoid of Zenke and Ganguli, "SuperSpike",
    Neural Computation 2018.
    """

    alpha: float = eqx.field(default=4.0, static=True)

    def derivative(self, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """The slope at `x`."""
        # sigma(-z) rather than 1 - sigma(z), which would cancel far above threshold.
        return self.alpha * jax.nn.sigmoid(self.alpha * x) * jax.nn.sigmoid(-self.alpha * x)


class SuperSpike(AbstractSurrogate):
    r"""The slope of a fast sigmoid: $1 / (1 + \beta |x|)^2$. Its tails are long, its peak is 1.

    **Arguments**

    - `beta`: the steepness $\beta$.

    Source: Zenke and Ganguli, "SuperSpike: supervised learning in multilayer spiking neural networks", Neural
    Computation 2018; the peak and the default as in Zenke and Vogels, Neural Computation 2021.
    """

    beta: float = eqx.field(default=10.0, static=True)

    def derivative(self, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """The slope at `x`."""
        return 1 / jnp.square(1 + self.beta * jnp.abs(x))


class Boxcar(AbstractSurrogate):
    r"""A rectangle: $\frac{1}{2 w}$ where $|x| \le w$, and 0 elsewhere.

    **Arguments**

    - `width`: half the width of the rectangle, $w$. Its area is 1.

    Source: Wu et al., "Spatio-temporal backpropagation for training high-performance spiking neural networks",
    Frontiers in Neuroscience 2018, equation 26.
    """

    width: float = eqx.field(default=0.5, static=True)

    def derivative(self, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """The rectangle at `x`."""
        return (jnp.abs(x) <= self.width).astype(x.dtype) / (2 * self.width)


class Gaussian(AbstractSurrogate):
    r"""A normal density: $\mathcal{N}(x; 0, \sigma^2)$.

    **Arguments**

    - `sigma`: the standard deviation $\sigma$.

    Source: Wu et al., Frontiers in Neuroscience 2018, equation 29.
    """

    sigma: float = eqx.field(default=0.5, static=True)

    def derivative(self, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """The density at `x`."""
        return _normal(x, self.sigma)


class MultiGaussian(AbstractSurrogate):
    r"""A normal density with negative lobes on both sides.

    $$\gamma \left[ (1 + h) \, \mathcal{N}(x; 0, \sigma^2) - h \, \mathcal{N}(x; \sigma, (s \sigma)^2)
    - h \, \mathcal{N}(x; -\sigma, (s \sigma)^2) \right]$$

    **Arguments**

    - `gamma`: the scale of it all, $\gamma$.
    - `sigma`: the standard deviation of the middle, $\sigma$, and the distance of the lobes.
    - `height`: the weight of a lobe, $h$.
    - `spread`: how many times wider a lobe is than the middle, $s$.

    Source: Yin, Corradi and Bohte, "Accurate and efficient time-domain classification with adaptive spiking recurrent
    neural networks", Nature Machine Intelligence 2021, equation 8.
    """

    gamma: float = eqx.field(default=0.5, static=True)
    sigma: float = eqx.field(default=0.5, static=True)
    height: float = eqx.field(default=0.15, static=True)
    spread: float = eqx.field(default=6.0, static=True)

    def derivative(self, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """The sum of the three at `x`."""
        wide = self.spread * self.sigma
        lobes = _normal(x - self.sigma, wide) + _normal(x + self.sigma, wide)
        return self.gamma * ((1 + self.height) * _normal(x, self.sigma) - self.height * lobes)


class StraightThrough(AbstractSurrogate):
    """The slope of a line: 1 everywhere.

    Source: Bengio, Leonard and Courville, "Estimating or propagating gradients through stochastic neurons for
    conditional computation", 2013.
    """

    def derivative(self, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """Ones."""
        return jnp.ones_like(x)


def _normal(x: Float[Array, "*shape"], sigma: float) -> Float[Array, "*shape"]:
    return jnp.exp(-jnp.square(x / sigma) / 2) / (sigma * math.sqrt(2 * math.pi))

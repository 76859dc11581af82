"""One step of an ordinary differential equation, unit by unit."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float


def exp_euler_step(
    derivative: Callable[..., Float[Any, "*shape"]], x: Float[Any, "*shape"], *args: Any, dt: Any
) -> Float[Any, "*shape"]:
    r"""One step of the exponential Euler method.

    For $dx/dt = f(x, \ldots)$, in which every unit depends on itself alone,

    $$x \leftarrow x + dt \, \varphi(dt \, f'(x)) \, f(x), \qquad \varphi(z) = \frac{e^z - 1}{z}.$$

    It is exact where $f$ is linear in $x$ and its other arguments hold still during the step, so that a leak stays
    stable at any `dt`.

        exp_euler_step(lambda V, I: (I - V) / tau, V, I, dt=1.0)

    **Arguments**

    - `derivative`: `f(x, *args)`, elementwise in `x`: each element of the result depends on the same element of `x`.
    - `x`: the variable to advance.
    - `args`: the other arguments of `derivative`.
    - `dt`: the length of the step, in the unit of the time constants inside `derivative`, or with a unit of its own.

    **Returns** `x` one step later.

    Source: Hochbruck and Ostermann, "Exponential integrators", Acta Numerica 2010, the exponential Rosenbrock-Euler
    method, here with a diagonal Jacobian.
    """
    # The tangent of ones is the diagonal of the Jacobian because f is elementwise; by one unit of x it is a rate.
    one = jax.tree.map(jnp.ones_like, x)
    rate, slope = jax.jvp(lambda x: derivative(x, *args), (x,), (one,))
    return x + dt * _phi(dt * slope / one) * rate


def _phi(z: Float[Any, "*shape"]) -> Float[Any, "*shape"]:
    """(exp(z) - 1) / z, with its limit 1 at 0."""
    zero = z == 0
    safe = jnp.where(zero, 1, z)  # keeps 0 / 0 out of the branch not taken, and so out of its derivative
    return jnp.where(zero, 1 + z / 2 + z * z / 6, jnp.expm1(safe) / safe)  # to second order, for second derivatives

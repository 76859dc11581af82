"""Zero times anything is nothing: BPTT pulls nothing back through a factor of zero, whatever the other is."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact


@jax.custom_jvp
def times(first: Inexact[Array, "..."], second: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
    """The product of arrays of one size, for which zero times anything is nothing."""
    return jnp.where((first == 0) | (second == 0), 0, first * second)


@times.defjvp
def _(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    """That of the product: where a factor is zero, too, it depends on it."""
    (first, second), (d_first, d_second) = primals, tangents
    return times(first, second), d_first * second + first * d_second

"""A linear map for any number of leading axes."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from .._given import as_key, check_size, in_words


class Projection(eqx.Module):
    """`x @ weight.T + bias`, for one lane or many.

    The weights are drawn from a normal distribution of variance `1 / in_size`: inputs of size 1 give outputs of size 1.
    The bias begins as zeros.
    """

    weight: Float[Array, "out in"]
    bias: Float[Array, " out"] | None

    def __init__(self, in_size: int, out_size: int, *, use_bias: bool = True, key: PRNGKeyArray) -> None:
        in_size, out_size = check_size("in_size", in_size), check_size("out_size", out_size)
        self.weight = jax.random.normal(as_key(key), (out_size, in_size)) * in_size**-0.5
        self.bias = jnp.zeros(out_size) if use_bias else None

    def __call__(self, x: Float[Array, "*batch in"]) -> Float[Array, "*batch out"]:
        """The image of x."""
        if not hasattr(x, "shape") or x.shape[-1:] != self.weight.shape[1:]:
            n = self.weight.shape[1]
            raise ValueError(f"`Projection` takes {n} inputs, [*batch, {n}]; found {in_words(x)}.")
        y = x @ self.weight.T
        return y if self.bias is None else y + self.bias


def orthogonal(n: int, key: PRNGKeyArray) -> Float[Any, "n n"]:
    """Recurrent weights that neither shrink nor stretch a state."""
    return jax.nn.initializers.orthogonal()(key, (n, n))

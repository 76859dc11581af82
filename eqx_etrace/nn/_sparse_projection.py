"""A linear map with the synapses of a table."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int, Shaped

from .._given import check_size, in_words


class SparseProjection(eqx.Module):
    r"""A weight for each synapse of a table, for one lane or many.

    $$y_i = \sum_{k : \, target_k = i} w_k \, x_{source_k}$$

    The indices are arrays of the model, and not constants of the program. Its eligibility trace has one number for each
    synapse and state of a unit.

    **Arguments**

    - `source`, `target`: where each synapse comes from and where it goes to, integers `[synapses]`; sorted by target
      they are read in the order of memory. `eqx_etrace.connectome` makes them.
    - `weight`: `[synapses]`.
    - `in_size`: how many inputs there are.
    - `out_size`: how many outputs; as many as inputs if None.

    **Raises** `ValueError` for an index that is no input or output: JAX would leave such a synapse out, or read another
    input. `TypeError` for indices that are no integers, and weights that are.
    """

    weight: Float[Array, " synapses"]
    source: Int[Array, " synapses"]
    target: Int[Array, " synapses"]
    in_size: int = eqx.field(static=True)
    out_size: int = eqx.field(static=True)

    def __init__(
        self,
        source: Shaped[Any, " synapses"],
        target: Shaped[Any, " synapses"],
        weight: Float[Any, " synapses"],
        in_size: int,
        out_size: int | None = None,
    ) -> None:
        self.in_size = check_size("in_size", in_size)
        self.out_size = self.in_size if out_size is None else check_size("out_size", out_size)
        self.source = _index("source", source, self.in_size, "inputs")
        self.target = _index("target", target, self.out_size, "outputs")
        self.weight = jnp.asarray(weight)
        if not jnp.issubdtype(self.weight.dtype, jnp.inexact):
            raise TypeError(f"`weight` is {in_words(self.weight)}; it must be floats, as integers are not trained.")
        if not self.weight.shape == self.source.shape == self.target.shape:
            found = ", ".join(f"`{name}` {in_words(getattr(self, name))}" for name in ("source", "target", "weight"))
            raise ValueError(f"Each synapse has one source, target and weight; found {found}.")

    def __call__(self, x: Float[Array, "*batch in"]) -> Float[Array, "*batch out"]:
        """What arrives at each output."""
        if not hasattr(x, "shape") or x.shape[-1:] != (self.in_size,):
            raise ValueError(
                f"`SparseProjection` takes {self.in_size} inputs, [*batch, {self.in_size}]; found {in_words(x)}."
            )
        # Not wrapped: no index is negative, and a copy of all indices is saved.
        sent = self.weight * x.at[..., self.source].get(wrap_negative_indices=False)
        received = jnp.zeros((*x.shape[:-1], self.out_size), sent.dtype)
        return received.at[..., self.target].add(sent, wrap_negative_indices=False)


def _index(name: str, index: Any, size: int, what: str) -> Int[Array, " synapses"]:
    """As an array, and known to be in range where its values are known: before JAX makes 32 bits of it."""
    index = index if isinstance(index, jax.Array) else np.asarray(index)
    if not jnp.issubdtype(index.dtype, jnp.integer) or index.ndim != 1:
        raise TypeError(f"`{name}` is {in_words(index)}; it must be integers [synapses].")
    if not isinstance(index, Tracer) and index.size:
        least, most = int(index.min()), int(index.max())
        if least < 0 or most >= size:
            raise ValueError(
                f"`{name}` has {least if least < 0 else most}, and there are {size} {what}, from 0 on. For numbers of "
                "neurons see `connectome.from_pairs`, which numbers units from 0 on."
            )
    return jnp.asarray(index)

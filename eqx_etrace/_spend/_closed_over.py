"""A trace is good for the arrays that its step closes over: the same ones, where weights are made of them.

They may be known when a trace is made and traced when it is used, or the other way round. So what is compared is one
number of 32 bits, which NumPy and JAX make alike.
"""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, UInt32

_ODD, _PRIME = 2654435761, 16777619
_CHANGED = (
    "The step closes over {arrays} that another step had when this trace was made. Weights are made of it, so that the "
    "trace belongs to other weights. Pass what changes from call to call as an input: `step(model, state, *inputs)`."
)


def fingerprint(values: Sequence[Any]) -> UInt32[Array, ""]:
    """Of some arrays; by chance the same of two in four billion."""
    total: Any = np.uint32(0)
    with np.errstate(over="ignore"):
        for value in values:
            total = total * np.uint32(_PRIME) + _of_one(value)
    return jnp.asarray(total)


def _of_one(value: Any) -> Any:
    """Every word times an odd number of its own, summed."""
    if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        value = jax.random.key_data(value)
    xp: ModuleType = jnp if isinstance(value, Tracer) else np
    words = _words(value if xp is jnp else np.asarray(value), xp)
    odd = (xp.arange(words.size, dtype=np.uint32) * np.uint32(2) + np.uint32(1)) * np.uint32(_ODD)
    mixed = (words ^ (words >> np.uint32(15))) * odd
    return (mixed ^ (mixed >> np.uint32(13))).sum(dtype=np.uint32)


def _words(value: Any, xp: ModuleType) -> Any:
    """The bits of an array as words of 32."""
    if jnp.issubdtype(value.dtype, jnp.complexfloating):
        value = xp.stack([value.real, value.imag])
    if value.dtype == bool:
        value = value.astype(np.uint8)
    size = value.dtype.itemsize
    whole = np.dtype(f"uint{8 * min(size, 4)}")
    bits = jax.lax.bitcast_convert_type(value, whole) if xp is jnp else np.ascontiguousarray(value).view(whole)
    return bits.reshape(-1).astype(np.uint32)


def is_same(held: Sequence[Array], now: Sequence[Array], arrays: Sequence[Any]) -> Bool[Array, ""] | None:
    """Are the arrays those that the trace was made for? None where the step closes over none.

    **Raises** `ValueError` if they are others, and known.
    """
    if len(held) != len(now):
        raise ValueError(
            "This trace belongs to a step that closes over other arrays. Make one with `.init` for this step."
        )
    if not now:
        return None
    same = held[0] == now[0]
    if not isinstance(same, Tracer) and not bool(same.all()):
        raise ValueError(_CHANGED.format(arrays=" and ".join(f"{a.dtype}{list(a.shape)}" for a in arrays)))
    return same


def or_nan(same: Bool[Array, ""] | None, gradients: Sequence[Array]) -> list[Array]:
    """NaN in place of a gradient that would be wrong."""
    return list(gradients) if same is None else [jnp.where(same, g, jnp.nan).astype(g.dtype) for g in gradients]

"""Randomness that is part of the trace: a key that every step splits."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact, PRNGKeyArray, UInt32

from ..._read import Cut
from ..on_blocks import BlockLayout, ProductLayout
from ._weight import Weight

KeyData = UInt32[Array, "_"]


def as_key(key: Any) -> PRNGKeyArray:
    """An argument that is a random key, new or old style."""
    dtype = getattr(key, "dtype", None)
    if dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key) and key.shape == ():
        return key
    if dtype == jnp.uint32 and key.ndim == 1:
        return jax.random.wrap_key_data(jnp.asarray(key))
    shown = f"{key!r}" if dtype is None else f"{dtype}{list(key.shape)}"
    raise TypeError(
        f"`key` is {shown}; it must be one random key: `jax.random.key(0)`. For a key per lane use `jax.vmap` over a "
        "function that makes the rule and the trace of one lane."
    )


def first_key(key: PRNGKeyArray, layout: BlockLayout | ProductLayout) -> KeyData:
    """The key of one trace: as numbers, which any file holds."""
    return jax.random.key_data(jax.random.fold_in(key, layout.number))


def next_key(like: PRNGKeyArray, held: KeyData) -> tuple[KeyData, PRNGKeyArray]:
    """What is held after a step, and the key of the step."""
    onward, here = jax.random.split(jax.random.wrap_key_data(held, impl=jax.random.key_impl(like)))
    return jax.random.key_data(onward), here


def signs(key: PRNGKeyArray, shape: tuple[int, ...], dtype: np.dtype) -> Inexact[Array, "..."]:
    """+1 or -1, each as likely."""
    return jax.random.rademacher(key, shape, jnp.finfo(dtype).dtype).astype(dtype)


def root(a: Inexact[Array, "..."], b: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
    """The square root of a / b, which makes the factors of a product alike in size; 1 where one of them is zero."""
    is_usable = (a > 0) & (b > 0)
    return jnp.sqrt(jnp.where(is_usable, a, 1) / jnp.where(is_usable, b, 1))


def estimated(weight: Weight, layout: BlockLayout | ProductLayout, what: str) -> Cut:
    """What a random rule gives up."""
    use = layout.source.use
    where = "" if use is None else use.equation.source
    groups = [g.index for g in weight.analysis.groups if not layout.own.isdisjoint(g.leaves)]
    return Cut(min(groups, default=0), layout.weight, what, where, is_random=True)

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


def squared_norm(array: Inexact[Array, "..."], axis: Any = None) -> Inexact[Array, "..."]:
    """In single precision at least: a sum of squares leaves half precision early."""
    wide = jnp.float64 if array.dtype in (jnp.float64, jnp.complex128) else jnp.float32
    parts = [array.real, array.imag] if jnp.iscomplexobj(array) else [array]
    squares = [part.astype(wide) ** 2 for part in parts]
    return sum(squares[1:], squares[0]).sum(axis)


def balanced(
    first: Inexact[Array, "..."], second: Inexact[Array, "..."]
) -> tuple[Inexact[Array, "..."], Inexact[Array, "..."]]:
    """By which numbers the factors of a product are multiplied, so that they are alike in size and it is as it was.

    From their squared norms. Of a product that is zero nothing is left: a factor without the other is but noise.
    """
    is_there = (first > 0) & (second > 0)
    ratio = jnp.sqrt(jnp.sqrt(jnp.where(is_there, second, 1) / jnp.where(is_there, first, 1)))
    return jnp.where(is_there, ratio, 0), jnp.where(is_there, 1 / ratio, 0)


def estimated(weight: Weight, layout: BlockLayout | ProductLayout, what: str) -> Cut:
    """What a random rule gives up."""
    use = layout.source.use
    where = "" if use is None else use.equation.source
    groups = [g.index for g in weight.analysis.groups if not layout.own.isdisjoint(g.leaves)]
    return Cut(min(groups, default=0), layout.weight, what, where, is_random=True)

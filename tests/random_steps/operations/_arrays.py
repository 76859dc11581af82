"""Arithmetic, movements, and what mixes elements."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ._table import complex_operation, kind_of, like, operation


@operation
def elementwise(c, a, b, k):
    functions = (
        jnp.tanh,
        jnp.sin,
        jax.nn.sigmoid,
        jax.nn.softplus,
        lambda a: 0.3 * a * a,
        lambda a: jnp.where(a > 0, a, 0.2 * a),
        lambda a: jnp.exp(-a * a),
        lambda a: 1 / (1 + a * a),
        lambda a: jnp.clip(a, -0.5, 0.5),
        lambda a: jnp.maximum(a, 0.1),
        lambda a: jnp.sqrt(1 + a * a),
        lambda a: -a,
    )
    return functions[k % len(functions)](a)


@complex_operation
def add(c, a, b, k):
    b = like(b, a.shape)
    kind = kind_of(a, b)
    return a.astype(kind) + 0.5 * b.astype(kind)


@complex_operation
def multiply(c, a, b, k):
    b = like(b, a.shape)
    kind = kind_of(a, b)
    return a.astype(kind) * (0.7 * b).astype(kind)


@operation
def select(c, a, b, k):
    b = like(b, a.shape)
    by = (a > b, c.flag, np.arange(a.size).reshape(a.shape) % 2 == 0)[k % 3]
    return jnp.where(by, a, 0.4 * b)


@complex_operation
def shape(c, a, b, k):
    moved = (
        lambda: jnp.ravel(a),
        lambda: jnp.transpose(a),
        lambda: a[None],
        lambda: jnp.swapaxes(a, 0, -1) if a.ndim > 1 else a.reshape(-1, 1),
        lambda: jnp.broadcast_to(a, (2, *a.shape)) if a.size <= 6 else a,
        lambda: a.reshape(2, -1) if a.size % 2 == 0 else a,
        lambda: jnp.squeeze(a),
        lambda: jnp.flip(a),
    )
    return moved[k % len(moved)]()


@complex_operation
def split(c, a, b, k):
    flat = jnp.ravel(a)
    if flat.size < 2:
        return a
    first, second = jnp.split(flat, [1 + k % (flat.size - 1)])
    return (jnp.concatenate([second, first]), first, second, like(first, second.shape) + second)[k % 4]


@complex_operation
def concatenate(c, a, b, k):
    kind = kind_of(a, b)
    return jnp.concatenate([jnp.ravel(a).astype(kind)[:5], jnp.ravel(b).astype(kind)[:5]])


@complex_operation
def gather(c, a, b, k):
    flat = jnp.ravel(a)
    which = np.random.default_rng(k).integers(0, flat.size, 4)
    return (lambda: flat[which], lambda: flat[c.index % flat.size], lambda: flat[(which + c.index) % flat.size])[
        k % 3
    ]()


@operation
def scatter(c, a, b, k):
    flat = jnp.ravel(a)
    which = np.random.default_rng(k).permutation(flat.size)[:3]
    new = like(b, which.shape)
    moved = (
        lambda: flat.at[which].add(0.5 * new),
        lambda: flat.at[which].set(new),
        lambda: flat.at[c.index % flat.size].add(new[0]),
        lambda: flat.at[which].multiply(new, unique_indices=True),
        lambda: lax.dynamic_update_slice(flat, new[:1], (c.index,)),
    )
    return moved[k % len(moved)]()


@complex_operation
def pad(c, a, b, k):
    flat = jnp.ravel(a)
    zero = jnp.zeros((), flat.dtype)
    return (lambda: lax.pad(flat, zero, [(1, 0, 0)]), lambda: lax.pad(flat, zero, [(-1, 1, 0)]), lambda: flat[::2])[
        k % 3
    ]()


@operation
def outer(c, a, b, k):
    return 0.5 * jnp.outer(jnp.ravel(a)[:3], jnp.ravel(b)[:3])


@complex_operation
def mix(c, a, b, k):
    axis = k % a.ndim if a.ndim else None
    moved = (
        lambda: jnp.roll(a, 1 + k % 2, axis),
        lambda: 0.4 * jnp.cumsum(a, axis).reshape(-1),
        lambda: a - jnp.mean(a, axis, keepdims=True),
        lambda: jnp.sum(a, axis),
        lambda: jnp.mean(a) + 0.5 * a,
    )
    return moved[k % len(moved)]()


@operation
def mix_real(c, a, b, k):
    axis = k % a.ndim if a.ndim else None
    flat = jnp.ravel(a)
    moved = (
        lambda: jax.nn.softmax(flat),
        lambda: jnp.sort(flat),
        lambda: jnp.max(a, axis, keepdims=True) - 0.3 * a,
        lambda: (a - jnp.mean(a, axis, keepdims=True)) / jnp.sqrt(0.1 + jnp.var(a, axis, keepdims=True)),
        lambda: jax.nn.logsumexp(flat) * 0.5 * flat,
        lambda: jnp.cumprod(jnp.tanh(flat)),
        lambda: lax.cummax(flat),
        lambda: lax.associative_scan(jnp.add, 0.3 * flat),
        lambda: lax.top_k(flat, 1)[0],
        lambda: jnp.fft.irfft(jnp.fft.rfft(flat) * 0.7, flat.size),
    )
    return moved[k % len(moved)]()


@operation
def read_by_value(c, a, b, k):
    """Which elements are read or written is decided by values.

    A slice begins where it ends within bounds: XLA of jaxlib 0.10.0 reads others elsewhere if a gather follows.
    """
    flat, by = jnp.ravel(a), jnp.ravel(like(b, a.shape))
    length = 1 + flat.size // 2
    moved = (
        lambda: flat[jnp.argmax(by)],
        lambda: flat[jnp.argsort(by)],
        lambda: lax.sort_key_val(by, flat)[1],
        lambda: jnp.where(jnp.arange(flat.size) == jnp.argmin(by), 0.2, flat),
        lambda: flat.at[jnp.argmax(by)].add(0.5 * by[0]),
        lambda: lax.dynamic_slice(flat, (jnp.minimum(jnp.argmax(by), flat.size - length),), (length,)),
        lambda: jax.ops.segment_sum(flat, (by > 0).astype(int), 2),
        lambda: jnp.take_along_axis(jnp.stack([flat, by]), (by > flat).astype(int)[None], 0)[0],
    )
    return moved[k % len(moved)]()


@operation
def pool(c, a, b, k):
    x = like(a, (2, 4))
    moved = (
        lambda: lax.reduce_window(x, -jnp.inf, lax.max, (1, 2), (1, 2), "VALID"),
        lambda: lax.reduce_window(x, 0.0, lax.add, (1, 3), (1, 1), "SAME") / 3,
        lambda: lax.reduce_window(x, 0.0, lax.add, (2, 1), (1, 1), "VALID"),
        lambda: lax.reduce_precision(x, 11, 52),
        lambda: jnp.median(x, 1),
        lambda: jnp.clip(x, -jnp.abs(like(b, (2, 1))), 0.8),
    )
    return moved[k % len(moved)]()

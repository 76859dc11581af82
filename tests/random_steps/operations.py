"""The operations that random steps are made of.

Each takes a context, which gives it weights and inputs, two arrays of any shape and an integer that varies it. It
returns one array of any shape. All arrays are float64, or complex128 for the operations in `COMPLEX`.
"""

import functools
from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


class Context(Protocol):
    """Where weights and inputs come from."""

    def weight(self, k: int, shape: tuple[int, ...], dtype: Any = float) -> jax.Array: ...

    @property
    def flag(self) -> jax.Array:
        """A boolean input."""
        ...

    @property
    def index(self) -> jax.Array:
        """An integer input, 0, 1 or 2."""
        ...


Operation = Callable[[Context, jax.Array, jax.Array, int], jax.Array]
OPERATIONS: dict[str, Operation] = {}
COMPLEX: set[str] = set()
NONLINEAR = {"clipped_cotangent"}
"""Operations whose backward rule is not linear in the cotangent: no Jacobian follows them."""


def real(x: jax.Array, k: int = 0) -> jax.Array:
    """A real view of x."""
    if not jnp.iscomplexobj(x):
        return x
    return (jnp.real, jnp.imag, lambda z: jnp.real(z * jnp.conj(z)))[k % 3](x)


def kind_of(a: jax.Array, b: jax.Array) -> Any:
    """The dtype that holds both."""
    return complex if jnp.iscomplexobj(a) or jnp.iscomplexobj(b) else float


def like(x: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """x in another shape: its elements in order, from the first again where there are too few."""
    size = int(np.prod(shape))
    return x if x.shape == shape else jnp.ravel(x)[np.arange(size) % x.size].reshape(shape)


def operation(f: Operation) -> Operation:
    """Enter f, which takes real arrays."""

    @functools.wraps(f)
    def on_real(c: Context, a: jax.Array, b: jax.Array, k: int) -> jax.Array:
        return f(c, real(a, k), real(b, k + 1), k)

    OPERATIONS[f.__name__] = on_real
    return f


def complex_operation(f: Operation) -> Operation:
    """Enter f, which takes real or complex arrays."""
    COMPLEX.add(f.__name__)
    OPERATIONS[f.__name__] = f
    return f


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


@complex_operation
def pad(c, a, b, k):
    flat = jnp.ravel(a)
    zero = jnp.zeros((), flat.dtype)
    return (lambda: lax.pad(flat, zero, [(1, 0, 0)]), lambda: lax.pad(flat, zero, [(-1, 1, 0)]), lambda: flat[::2])[
        k % 3
    ]()


@complex_operation
def dense(c, a, b, k):
    flat = jnp.ravel(a)[:6]
    return c.weight(k, (3 + k % 2, flat.size), flat.dtype) @ flat


@complex_operation
def dense_over_rows(c, a, b, k):
    rows = like(a, (2, 3))
    w = c.weight(k, (3, 3), rows.dtype)
    return (rows @ w, jnp.einsum("ij,kj->ki", w, rows), jax.vmap(lambda r: w @ r)(rows))[k % 3]


@complex_operation
def heads(c, a, b, k):
    h = like(a, (2, 2))
    return jnp.einsum("hij,hj->hi", c.weight(k, (2, 2, 2), h.dtype), h)


@complex_operation
def by_element(c, a, b, k):
    w = c.weight(k, a.shape if k % 2 else a.shape[-1:], a.dtype)
    return w * a if k % 3 else a + w


@operation
def real_weight_on_complex_data(c, a, b, k):
    z = lax.complex(like(a, (4,)), like(b, (4,)))
    z = lax.dot_general(c.weight(k, (3, 4)), z, (((1,), (0,)), ((), ())))
    return jnp.real(z) * jnp.imag(z) if k % 3 else jnp.imag(z * jnp.conj(z)) + jnp.real(z)


@complex_operation
def rotate(c, a, b, k):
    a = a if jnp.iscomplexobj(a) else lax.complex(a, 0.5 * a)
    return a * (jnp.exp(1j * c.weight(k, a.shape).astype(complex)) if k % 2 else c.weight(k, a.shape, complex))


@operation
def outer(c, a, b, k):
    return 0.5 * jnp.outer(jnp.ravel(a)[:3], jnp.ravel(b)[:3])


@operation
def inner(c, a, b, k):
    return jnp.vdot(a, like(b, a.shape)) * (0.3 if k % 2 else c.weight(k, ()))


@operation
def convolve(c, a, b, k):
    x = like(a, (2, 5))
    w = c.weight(k, (2, 2, 3) if k % 2 else (2, 1, 3))
    return lax.conv_general_dilated(x[None], w, (1,), "SAME", feature_group_count=1 if k % 2 else 2)[0]


@operation
def convolve_over_a_weight(c, a, b, k):
    x, w = like(a, (3,)), c.weight(k, (4,))
    return jnp.convolve(w, x, mode="same") if k % 2 else jnp.convolve(w, 0.1 + jnp.tanh(x) + like(b, (3,)))


@operation
def substeps_of_a_scalar(c, a, b, k):
    """From nothing, by one element."""
    one, w = jnp.ravel(a)[k % a.size], c.weight(k, ())
    found = lax.fori_loop(0, 3, lambda i, v: 0.5 * v + (w * one if k % 2 else one), jnp.zeros((), one.dtype))
    return found if k % 3 else found + 0.3 * b


@operation
def embed(c, a, b, k):
    return a * like(c.weight(k, (3, 2))[c.index], a.shape)


@operation
def stopped(c, a, b, k):
    return lax.stop_gradient(a) if k % 2 else a * lax.stop_gradient(jnp.tanh(like(b, a.shape)))


@operation
def checkpointed(c, a, b, k):
    w = c.weight(k, a.shape)
    return jax.checkpoint(lambda a, w: jnp.sin(w * jnp.tanh(a)))(a, w)


@operation
def jitted(c, a, b, k):
    w = c.weight(k, (3, 3))
    return jax.jit(lambda a, w: jnp.tanh(w @ a))(like(a, (3,)), w)


@operation
def branch(c, a, b, k):
    w, b = c.weight(k, a.shape), like(b, a.shape)
    if k % 2:
        return lax.cond(c.flag, lambda a, b: w * a, lambda a, b: a + 0.3 * b, a, b)
    return lax.switch(c.index, [lambda a: w * a, lambda a: jnp.roll(a, 1), lambda a: 0.5 * a + b], a)


@operation
def substeps(c, a, b, k):
    a = like(a, (3,))
    w, b = c.weight(k, (3, 3) if k % 2 else (3,)), like(b, (3,))

    def body(h, drive):
        h = 0.8 * h + (w @ jnp.tanh(h) if k % 2 else w * drive) + 0.1 * b
        return h, h

    h, hs = lax.scan(body, a, jnp.stack([a, 0.5 * b]))
    return h if k % 3 else hs


@jax.custom_jvp
def spike(v):
    return (v > 0).astype(v.dtype)


@spike.defjvp
def _(primals, tangents):
    return spike(primals[0]), tangents[0] / (1 + jnp.abs(2 * primals[0])) ** 2


@jax.custom_vjp
def scaled(v):
    return jnp.tanh(v)


scaled.defvjp(lambda v: (jnp.tanh(v), v), lambda v, ct: (0.5 * jnp.cos(v) * ct,))


@jax.custom_vjp
def mixed(v):
    return jnp.tanh(v)


mixed.defvjp(lambda v: (jnp.tanh(v), v), lambda v, ct: (ct / (1 + v * v) + 0.2 * jnp.flip(ct),))


@jax.custom_vjp
def clipped(v):
    return 1.0 * v


clipped.defvjp(lambda v: (1.0 * v, None), lambda _, ct: (jnp.clip(ct, -0.1, 0.1),))


@operation
def surrogate(c, a, b, k):
    return spike(a - 0.2)


@operation
def custom_backward(c, a, b, k):
    return (scaled, mixed)[k % 2](a)


@operation
def clipped_cotangent(c, a, b, k):
    return clipped(a)


@operation
def soft_reset(c, a, b, k):
    s = spike(a - 0.3)
    return a - (s if k % 2 else lax.stop_gradient(s))

"""Loops, branches, and calls with a derivative rule of their own."""

import jax
import jax.numpy as jnp
from jax import lax

from ._table import like, operation


@operation
def substeps_of_a_scalar(c, a, b, k):
    """From nothing, by one element."""
    one, w = jnp.ravel(a)[k % a.size], c.weight(k, ())
    found = lax.fori_loop(0, 3, lambda i, v: 0.5 * v + (w * one if k % 2 else one), jnp.zeros((), one.dtype))
    return found if k % 3 else found + 0.3 * b


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


@operation
def loop_over_lanes(c, a, b, k):
    """A loop, or a branch, of every row by itself."""
    rows, w, drive = like(a, (2, 3)), c.weight(k, (3,)), like(b, (2,))

    def row(r, d):
        step = (lambda i, v: 0.7 * v + w * d), (lambda i, v: jnp.roll(v, 1) + 0.2 * w * v)
        return lax.fori_loop(0, 2, step[k % 2], r) if k % 3 else lax.cond(d > 0, lambda r: w * r, jnp.sin, r)

    return jax.vmap(row)(rows, drive)


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

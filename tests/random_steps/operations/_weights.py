"""Where parameters meet data."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ._table import complex_operation, kind_of, like, operation, real


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
def dense_over_joined(c, a, b, k):
    """Rows joined of pieces, with a derivative and without, meet a weight from one side or from both."""
    pieces = np.ones((2, 1)), like(a, (2, 2)), like(b, (2, 1))
    rows = jnp.concatenate([piece.astype(kind_of(a, b)) for piece in pieces], 1)
    w = c.weight(k, (4, 4), rows.dtype)
    return (rows @ w, rows @ w.T, w @ rows.T, rows @ w + (w @ rows.T).T)[k % 4]


@complex_operation
def transposed_heads(c, a, b, k):
    h = like(a, (2, 2))
    w = c.weight(k, (2, 2, 2), h.dtype)
    first, second = ((1, 2, 0), (2, 1, 0), (0, 2, 1), (1, 0, 2))[k % 4], ((2, 0, 1), (2, 1, 0), (1, 0, 2))[k % 3]
    w = jnp.transpose(jnp.transpose(w, first), second)
    return (
        jnp.einsum("hij,hj->hi", w, h)
        if k % 2
        else jnp.einsum("bi,bj,ijk->bk", h, like(real(b, k), (2, 2)).astype(h.dtype), w)
    )


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
def embed(c, a, b, k):
    return a * like(c.weight(k, (3, 2))[c.index], a.shape)


@operation
def solve(c, a, b, k):
    """Linear algebra with matrices that are well conditioned."""
    m = 2.0 * np.eye(3) + 0.3 * jnp.tanh(c.weight(k, (3, 3)) if k % 2 else like(b, (3, 3)))
    x = like(a, (3,))
    moved = (
        lambda: jnp.linalg.solve(m, x),
        lambda: lax.linalg.triangular_solve(m, x[:, None], left_side=True, lower=True)[:, 0],
        lambda: jnp.linalg.cholesky(m @ m.T)[k % 3] * x,
        lambda: 0.1 * jnp.linalg.det(m) * x,
        lambda: jnp.linalg.inv(m) @ x,
    )
    return moved[k % len(moved)]()

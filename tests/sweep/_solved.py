"""Linear algebra."""

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy import linalg

from ._table import both, complex_constant, constant, on

EYE, RIGHT = jnp.eye(3), constant(3, 2)


def matrix(v):
    """One that can be inverted."""
    return v + 4 * EYE


def symmetric(v):
    """One that is positive definite, with eigenvalues apart."""
    return (v + v.T) / 2 + jnp.diag(jnp.asarray([4.0, 6.0, 9.0]))


on(
    (3, 3),
    solve=lambda v: jnp.linalg.solve(matrix(v), RIGHT),
    solve_vector=lambda v: jnp.linalg.solve(matrix(v), constant(3)),
    solve_right=lambda v: jnp.linalg.solve(matrix(constant(3, 3)), v),
    solve_both=lambda v: jnp.linalg.solve(matrix(v), v[:, :1]),
    solve_diagonal=lambda v: jnp.linalg.solve(EYE * matrix(v), constant(3)),
    solve_scipy_transposed=lambda v: linalg.solve(matrix(v).T, RIGHT),
    solve_assumed_positive=lambda v: linalg.solve(symmetric(v), RIGHT, assume_a="pos"),
    inv=lambda v: jnp.linalg.inv(matrix(v)),
    det=lambda v: jnp.linalg.det(matrix(v)),
    slogdet=lambda v: jnp.linalg.slogdet(matrix(v))[1],
    pinv=lambda v: jnp.linalg.pinv(matrix(v)),
    pinv_wide=lambda v: jnp.linalg.pinv(v[:2] + 4 * EYE[:2]),
    lstsq=lambda v: jnp.linalg.lstsq(matrix(v), constant(3))[0],
    cholesky=lambda v: jnp.linalg.cholesky(symmetric(v)),
    cholesky_upper=lambda v: linalg.cholesky(symmetric(v)),
    lax_cholesky=lambda v: lax.linalg.cholesky(symmetric(v), symmetrize_input=False),
    cho_solve=lambda v: linalg.cho_solve(linalg.cho_factor(symmetric(v)), constant(3)),
    cho_solve_right=lambda v: linalg.cho_solve(linalg.cho_factor(symmetric(constant(3, 3))), v),
    eigh=lambda v: jnp.linalg.eigh(symmetric(v))[0],
    eigh_vectors=lambda v: jnp.linalg.eigh(symmetric(v))[1] ** 2,
    eigvalsh=lambda v: jnp.linalg.eigvalsh(symmetric(v), UPLO="U"),
    svd=lambda v: jnp.linalg.svd(symmetric(v))[1],
    svd_vectors=lambda v: jnp.linalg.svd(symmetric(v), full_matrices=False)[0] ** 2,
    svd_values=lambda v: jnp.linalg.svdvals(symmetric(v)),
    qr=lambda v: jnp.linalg.qr(matrix(v))[0],
    qr_r=lambda v: jnp.linalg.qr(matrix(v), mode="r"),
    qr_tall=lambda v: jnp.linalg.qr(matrix(v)[:, :2])[1],
    lu=lambda v: linalg.lu(matrix(v))[2],
    lu_solve=lambda v: linalg.lu_solve(linalg.lu_factor(matrix(v)), constant(3)),
    lu_solve_right=lambda v: linalg.lu_solve(linalg.lu_factor(matrix(constant(3, 3))), v, trans=1),
    expm=lambda v: linalg.expm(v),
    expm_frechet=lambda v: linalg.expm_frechet(constant(3, 3), v)[1],
    sqrtm_squared=lambda v: jnp.linalg.matrix_power(symmetric(v), -1),
    polar=lambda v: linalg.polar(matrix(v), method="svd")[1],
    eig_values=lambda v: jnp.linalg.eigvals(symmetric(v)).real,
    triangular=lambda v: lax.linalg.triangular_solve(matrix(v), RIGHT, left_side=True, lower=True),
    triangular_right=lambda v: lax.linalg.triangular_solve(matrix(constant(3, 3)), v, left_side=True, lower=True),
    triangular_upper=lambda v: lax.linalg.triangular_solve(matrix(constant(3, 3)), v, left_side=True),
    triangular_from_right=lambda v: lax.linalg.triangular_solve(matrix(constant(3, 3)), v, lower=True),
    triangular_transposed=lambda v: lax.linalg.triangular_solve(
        matrix(v), RIGHT, left_side=True, transpose_a=True, lower=True
    ),
    triangular_unit=lambda v: lax.linalg.triangular_solve(v, RIGHT, left_side=True, unit_diagonal=True),
    solve_triangular=lambda v: linalg.solve_triangular(matrix(v), constant(3), lower=True),
    solve_triangular_right=lambda v: linalg.solve_triangular(matrix(constant(3, 3)), v, trans=1),
    tridiagonal=lambda v: lax.linalg.tridiagonal_solve(v[0], v[1] + 4, v[2], constant(3, 1)),
    block_diag=lambda v: linalg.block_diag(v[:2, :2], v[2:, 2:]),
    toeplitz_scipy=lambda v: linalg.toeplitz(v[0]),
    norm=lambda v: jnp.linalg.norm(v),
    norm_one=lambda v: jnp.linalg.norm(v, 1),
    norm_inf=lambda v: jnp.linalg.norm(v, jnp.inf),
    norm_minus_inf=lambda v: jnp.linalg.norm(v, -jnp.inf),
    norm_minus_one=lambda v: jnp.linalg.norm(v, -1),
    norm_two=lambda v: jnp.linalg.norm(symmetric(v), 2),
    norm_minus_two=lambda v: jnp.linalg.norm(symmetric(v), -2),
    norm_nuclear=lambda v: jnp.linalg.norm(symmetric(v), "nuc"),
    norm_fro=lambda v: jnp.linalg.norm(v, "fro"),
    norm_axis=lambda v: jnp.linalg.norm(v, axis=1),
    norm_axis_one=lambda v: jnp.linalg.norm(v, 1, axis=0),
    norm_axis_three=lambda v: jnp.linalg.norm(v, 3, axis=1),
    norm_axis_inf=lambda v: jnp.linalg.norm(v, jnp.inf, axis=1, keepdims=True),
    norm_axis_zero=lambda v: jnp.linalg.norm(v, 0, axis=1),
    vector_norm=lambda v: jnp.linalg.vector_norm(v, axis=0, ord=3),
    matrix_norm=lambda v: jnp.linalg.matrix_norm(v, ord="fro"),
    condition=lambda v: jnp.linalg.cond(symmetric(v)),
    condition_one=lambda v: jnp.linalg.cond(matrix(v), 1),
    matrix_transposed=lambda v: jnp.linalg.matrix_transpose(v) * v,
    linalg_cross=lambda v: jnp.linalg.cross(v, constant(3, 3)),
    linalg_outer=lambda v: jnp.linalg.outer(v[0], v[1]),
    linalg_diagonal=lambda v: jnp.linalg.diagonal(v, offset=1),
    linalg_trace=lambda v: jnp.linalg.trace(v),
    tensorsolve=lambda v: jnp.linalg.tensorsolve(matrix(v), constant(3)),
    tensorinv=lambda v: jnp.linalg.tensorinv(matrix(v), ind=1),
    complex_solve=lambda v: both(jnp.linalg.solve(lax.complex(matrix(v), v.T), complex_constant(3))),
    complex_inverse=lambda v: jnp.linalg.inv(lax.complex(matrix(v), v)).imag,
    custom_linear_solve=lambda v: lax.custom_linear_solve(
        lambda x: matrix(v) @ x,
        constant(3),
        lambda _, b: jnp.linalg.solve(matrix(v), b),
        symmetric=False,
        transpose_solve=lambda _, b: jnp.linalg.solve(matrix(v).T, b),
    ),
    custom_linear_solve_right=lambda v: lax.custom_linear_solve(
        lambda x: 2 * x, v[0], lambda _, b: b / 2, symmetric=True
    ),
    gradient_of_solve=lambda v: jax.grad(lambda x: jnp.linalg.solve(matrix(constant(3, 3)), x).sum() ** 2)(v),
)
on(
    (3, 3),
    unfollowed=True,
    conjugate_gradients=lambda v: jax.scipy.sparse.linalg.cg(lambda x: symmetric(v) @ x, constant(3))[0],
    conjugate_gradients_right=lambda v: jax.scipy.sparse.linalg.cg(lambda x: 2 * x, v[0])[0],
    gmres=lambda v: jax.scipy.sparse.linalg.gmres(lambda x: matrix(v) @ x, constant(3))[0],
)
on(
    (2, 2, 2),
    solve_batched=lambda v: jnp.linalg.solve(v + 4 * jnp.eye(2), constant(2, 2, 1)),
    solve_right_batched=lambda v: jnp.linalg.solve(constant(2, 2, 2) + 4 * jnp.eye(2), v),
    inv_batched=lambda v: jnp.linalg.inv(v + 4 * jnp.eye(2)),
    det_batched=lambda v: jnp.linalg.det(v),
    cholesky_batched=lambda v: jnp.linalg.cholesky(v @ jnp.matrix_transpose(v) + 2 * jnp.eye(2)),
    expm_batched=lambda v: linalg.expm(v),
    matmul_batched=lambda v: v @ constant(2, 2),
    matmul_broadcast=lambda v: v @ constant(1, 2, 2),
    solve_under_vmap=lambda v: jax.vmap(lambda a: jnp.linalg.solve(a + 4 * jnp.eye(2), constant(2)))(v),
    eigh_under_vmap=lambda v: jax.vmap(lambda a: jnp.linalg.eigvalsh(a + a.T + jnp.diag(jnp.asarray([0.0, 9.0]))))(v),
    triangular_batched=lambda v: lax.linalg.triangular_solve(constant(2, 2, 2), v, left_side=True, lower=True),
    norm_batched=lambda v: jnp.linalg.norm(v, axis=(1, 2)),
    sum_batched=lambda v: v.sum((0, 2)),
)
on((3, 3), refused=True, householder=lambda v: lax.linalg.householder_product(v[:, :2], v[0, :2]))

"""One way, or more, to call every primitive that a table of the library knows: a function, and its operands.

Operands are such that sums of them are exact, and positive, so that nothing is out of its domain.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import Mesh, NamedSharding, PartitionSpec


class Sample(NamedTuple):
    """A function that runs the primitive, on something made of its operands."""

    function: Callable[..., Any]
    operands: tuple[Any, ...]


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).permutation(np.arange(4, 4 + int(np.prod(shape)))).reshape(shape) / 32


newer: Any = lax
"""Functions that one version alone has."""
X, Y, Z = (numbers(3, seed=seed) for seed in range(3))
M, K, ROW = numbers(2, 3), numbers(3, 2, seed=1), numbers(1, 3)
TRIANGLE = np.tril(numbers(3, 3)) + np.eye(3)
WINDOW = lax.ScatterDimensionNumbers(
    update_window_dims=(), inserted_window_dims=(0,), scatter_dims_to_operand_dims=(0,)
)
AT = np.array([[2], [0]])


def of(function: Callable[..., Any], *operands: Any) -> list[Sample]:
    return [Sample(function, operands)]


def complex_of(x: np.ndarray) -> np.ndarray:
    return x + 1j * x[::-1]


def shift(function: Callable[..., Any], by: float) -> Callable[..., Any]:
    return lambda x: function(x + by)


def constrained(x: Any) -> Any:
    return lax.with_sharding_constraint(x, NamedSharding(Mesh(np.array(jax.devices()[:1]), "d"), PartitionSpec()))


def widened(x: Any) -> Any:
    return lax.convert_element_type(x, np.promote_types(x.dtype, np.float64))


def added_up(x: Any) -> Any:
    """Reverse mode adds up the cotangents of what is used twice."""
    return jax.vjp(lambda x: jnp.sin(x) * jnp.cos(x), x)[1](x)


def solved(b: Any) -> Any:
    return lax.custom_linear_solve(
        lambda x: TRIANGLE @ x,
        b,
        lambda _, b: jnp.linalg.solve(TRIANGLE, b),
        lambda _, b: jnp.linalg.solve(TRIANGLE.T, b),
    )


OF_ONE = """
    abs acos asin asinh atan cbrt ceil cos cosh digamma erf erf_inv erfc exp exp2 expm1 floor is_finite lgamma log log1p
    logistic neg round rsqrt sign sin sinh sqrt square stop_gradient tan tanh
"""
OF_TWO = "add atan2 div eq ge gt igamma igammac le lt max min mul ne nextafter pow rem sub"
ONE = {name: of(getattr(lax, name), X) for name in OF_ONE.split()}
TWO = {name: of(getattr(lax, name), X, Y) for name in OF_TWO.split()}
OTHERS: dict[str, list[Sample]] = {
    "acosh": of(shift(lax.acosh, 1), X),
    "atanh": of(lax.atanh, X),
    "add_jaxvals": of(added_up, X),
    "and": of(lax.bitwise_and, X > Y, X > Z),
    "or": of(lax.bitwise_or, X > Y, X > Z),
    "xor": of(lax.bitwise_xor, X > Y, X > Z),
    "not": of(lax.bitwise_not, X > Y),
    "argmax": of(lambda x: lax.argmax(x, 0, np.int32), X),
    "argmin": of(lambda x: lax.argmin(x, 0, np.int32), X),
    "bessel_i0e": of(lax.bessel_i0e, X),
    "bessel_i1e": of(lax.bessel_i1e, X),
    "clamp": of(lax.clamp, np.array([0.0, 0.5, 0.0]), np.array([0.25, 0.25, 0.25]), np.array([1.0, 1.0, 0.125])),
    "complex": of(lax.complex, X, Y),
    "conj": of(lax.conj, complex_of(X)),
    "convert_element_type": of(widened, X.astype(np.float32)),
    "copy": of(lambda x: jnp.array(x, copy=True), X),
    "imag": of(lax.imag, complex_of(X)),
    "real": of(lax.real, complex_of(X)),
    "integer_pow": [*of(lambda x: lax.integer_pow(x, 3), X), *of(lambda x: lax.integer_pow(x, -2), X)],
    "log2": of(lambda x: newer.log2(x), X),
    "name": of(lambda x: checkpoint_name(x, "here"), X),
    "one_minus_square": of(lambda x: newer.one_minus_square(x), X),
    "polygamma": of(lax.polygamma, np.ones(3), X),
    "polynomial": of(lambda x, y, z: newer.polynomial(x, [y, z]), X, Y, Z),
    "reduce_precision": of(lambda x: lax.reduce_precision(x, 11, 40), X),
    "regularized_incomplete_beta": of(lax.betainc, X, Y, Z),
    "select_n": [*of(lax.select_n, X > Y, X, Y), *of(lax.select_n, np.array([0, 2, 1]), X, Y, Z)],
    "sharding_constraint": of(constrained, X),
    "zeta": of(lambda x, y: lax.zeta(x + 1, y), X, Y),
    "optimization_barrier": of(lambda x, y: lax.optimization_barrier((x, y)), X, Y),
    "device_put": of(lambda x, y: jax.device_put((x, y)), X, Y),
    "reduce_sum": [*of(lambda x: lax.reduce_sum(x, (1,)), M), *of(lambda x: lax.reduce_sum(x, (0, 1)), M)],
    "reduce_max": of(lambda x: lax.reduce_max(x, (0,)), M),
    "reduce_min": of(lambda x: lax.reduce_min(x, (1,)), M),
    "reduce_prod": of(lambda x: lax.reduce_prod(x, (1,)), M),
    "reshape": [
        *of(lambda x: lax.reshape(x, (3, 2)), M),
        *of(lambda x: lax.reshape(x, (3, 2), dimensions=(1, 0)), M),
        *of(lambda x: jax.vmap(lambda r: lax.reshape(r, (3, 1), dimensions=(1, 0)))(x), M[:, None]),
    ],
    "squeeze": of(lambda x: lax.squeeze(x, (0,)), ROW),
    "transpose": of(lambda x: lax.transpose(x, (1, 0)), M),
    "rev": [*of(lambda x: lax.rev(x, (1,)), M), *of(lambda x: lax.rev(x, (0, 1)), M)],
    "slice": [*of(lambda x: lax.slice(x, (0, 1), (2, 3)), M), *of(lambda x: lax.slice(x, (0, 0), (2, 3), (1, 2)), M)],
    "broadcast_in_dim": [
        *of(lambda x: lax.broadcast_in_dim(x, (2, 3, 2), (0, 1)), M),
        *of(lambda x: lax.broadcast_in_dim(x, (3, 2, 3), (1, 2)), ROW),
        *of(lambda x: lax.broadcast_in_dim(x, (3, 2), (0,)), X),
    ],
    "split": of(lambda x: lax.split(x, (1, 2), axis=1), M),
    "unstack": of(lambda x: jnp.unstack(x, axis=1), M),
    "stack": of(lambda x, y: jnp.stack([x, y], axis=1), X, Y),
    "concatenate": of(lambda x, y: lax.concatenate([x, y], 1), M, K.reshape(2, 3)),
    "pad": [
        *of(lambda x, y: lax.pad(x, y, ((1, 0, 1),)), X, np.float64(0.25)),
        *of(lambda x, y: lax.pad(x, y, ((-1, 2, 0),)), X, np.float64(0.25)),
    ],
    "dynamic_slice": of(lambda x, i: lax.dynamic_slice(x, (i,), (2,)), X, 1),
    "dynamic_update_slice": of(lambda x, y, i: lax.dynamic_update_slice(x, y, (i,)), X, Y[:2], 1),
    "gather": [
        *of(lambda x, i: x.at[i].get(mode="clip"), X, AT[:, 0]),
        *of(lambda x, i: x.at[i].get(mode="fill", fill_value=0.0), X, np.array([1, 7])),
    ],
    "scatter": [*of(lambda x, y, i: lax.scatter(x, i, y, WINDOW), X, Y[:2], AT)],
    "scatter_add": [*of(lambda x, y, i: lax.scatter_add(x, i, y, WINDOW), X, Y[:2], AT)],
    "scatter_sub": [*of(lambda x, y, i: lax.scatter_sub(x, i, y, WINDOW), X, Y[:2], AT)],
    "cumsum": [*of(lambda x: lax.cumsum(x, 1), M), *of(lambda x: lax.cumsum(x, 0, reverse=True), M)],
    "cumprod": of(lambda x: lax.cumprod(x, 1), M),
    "cummax": of(lambda x: lax.cummax(x, 0), M),
    "cummin": of(lambda x: lax.cummin(x, 1, reverse=True), M),
    "cumlogsumexp": of(lambda x: lax.cumlogsumexp(x, 1), M),
    "sort": [*of(lambda x: lax.sort(x, dimension=1), M), *of(lambda x, y: lax.sort((x, y), dimension=0), M, -M)],
    "reduce_window_sum": of(lambda x: lax.reduce_window(x, 0.0, lax.add, (1, 2), (1, 1), "VALID"), M),
    "fft": [
        *of(lambda x: lax.fft(x, lax.FftType.FFT, (3,)), complex_of(X)),
        *of(lambda x: lax.fft(x, lax.FftType.RFFT, (3,)), X),
        *of(lambda x: lax.fft(x, lax.FftType.IRFFT, (4,)), complex_of(X)),
    ],
    "triangular_solve": of(
        lambda a, b: lax.linalg.triangular_solve(a, b, left_side=True, lower=True), TRIANGLE, numbers(3, 2)
    ),
    "tridiagonal_solve": of(
        lambda a, d, x: lax.linalg.tridiagonal_solve(a, d, a, x), numbers(3), 3 + numbers(3), numbers(3, 2)
    ),
    "tile": [*of(lambda x: jnp.tile(x, 2), X), *of(lambda x: jnp.tile(x, (2, 3)), M)],
    "linear_solve": of(solved, X),
    "dot_general": [
        *of(lambda x, y: lax.dot(x, y), M, K),
        *of(lambda x, y: lax.dot_general(x, y, (((), ()), ((0,), (0,)))), M, K[:2]),
        *of(lambda x, y: lax.dot_general(x, y, (((1,), (1,)), ((), ()))), M, ROW),
    ],
    "conv_general_dilated": of(
        lambda x, y: lax.conv_general_dilated(x, y, (1,), "SAME"), numbers(1, 2, 3), numbers(2, 2, 2)
    ),
}
SAMPLES: dict[str, list[Sample]] = {**ONE, **TWO, **OTHERS}

"""The decompositions that `OK` is made of, beside NumPy's: spread, deficient, tiny, real and complex. Its mixing."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqx_etrace._carry.rules._decompositions import orthogonal, svd
from eqx_etrace._carry.rules._kronecker import _fewer, least_variance

pytestmark = pytest.mark.outside_sample  # what is tested hardly depends on the version of JAX

KINDS = {
    "plain": lambda m: m,
    "spread rows": lambda m: m * np.logspace(0, -12, len(m))[:, None],
    "spread columns": lambda m: m * np.logspace(-12, 0, m.shape[1]),
    "rank 1": lambda m: m[:, :1] @ m[:1],
    "zero rows": lambda m: m * (np.arange(len(m)) < 2)[:, None],
    "alike": lambda m: np.broadcast_to(m[:1], m.shape),
    "zero": lambda m: 0 * m,
    "tiny": lambda m: 1e-25 * m,
}
DTYPES = np.float32, np.float64, np.complex128


def drawn(kind, dtype, n, m, seed):
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(n, m)) + (1j * rng.normal(size=(n, m)) if dtype is np.complex128 else 0)
    return np.asarray(KINDS[kind](matrix), dtype), 50 * np.finfo(dtype).eps


@pytest.mark.sweep(3)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [2, 5, 13])
def test_svd(n, kind, dtype):
    several = jnp.stack([drawn(kind, dtype, n, n, seed)[0] for seed in range(3)])
    accuracy = drawn(kind, dtype, n, n, 0)[1]
    for matrix, *found in zip(np.asarray(several), *jax.vmap(svd)(several), strict=True):
        left, values, right = map(np.asarray, found)
        size = max(np.abs(matrix).max(), np.finfo(np.float32).tiny)
        wanted = np.linalg.svd(matrix.astype(np.result_type(dtype, np.float64)), compute_uv=False)
        np.testing.assert_allclose(values, wanted, atol=accuracy * max(wanted[0], 1e-30))
        assert np.abs((left * values) @ right - matrix).max() < accuracy * size
        np.testing.assert_allclose(right @ right.conj().T, np.eye(n), atol=accuracy)
        scaled = left * (values / max(values[0], 1e-30))  # the direction of a small value is known as well as that
        np.testing.assert_allclose(scaled.conj().T @ scaled, np.diag(np.abs(scaled**2).sum(0)), atol=accuracy)


@pytest.mark.sweep(3)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [3, 30])
def test_orthogonal(size, kind, dtype):
    """Also of fewer columns than rows."""
    rows, accuracy = drawn(kind, dtype, 5, size, 0)
    q, r = map(np.asarray, jax.jit(orthogonal)(rows))
    assert np.abs(r.T @ q - rows).max() <= accuracy * np.abs(rows).max()
    each = (np.abs(q) ** 2).sum(1)
    assert (np.isclose(each, 1, atol=accuracy) | (each == 0)).all()
    if kind in ("plain", "zero rows", "zero", "tiny"):
        assert (each > 0).sum() == min({"zero rows": 2, "zero": 0}.get(kind, 5), size)
    np.testing.assert_allclose(q @ q.conj().T, np.diag(each), atol=accuracy)


@pytest.mark.parametrize(
    "values",
    [[3, 2, 1], [5, 1, 1, 1], [1, 1, 1], [4, 1, 0], [4, 0, 0, 0], [0, 0], [2, 1], [9, 4, 2, 2], [7, 1, 1e-15]],
    ids=str,
)
def test_what_is_mixed_is_right_in_the_mean(values):
    draws = jnp.asarray(list(itertools.product([-1.0, 1], repeat=len(values))))
    mixed = np.asarray(jax.vmap(least_variance, (0, None))(draws, jnp.asarray(values, float)))
    mean = (mixed @ mixed.mT).mean(0)
    np.testing.assert_allclose(mean, np.diag(values), atol=1e-14 * max(*values, 1))


@pytest.mark.parametrize("shape", [(1, 2, 2), (1, 3, 6), (2, 3, 3), (3, 3, 5), (3, 6, 12), (4, 2, 6)], ids=str)
def test_rounding_does_not_choose_what_is_mixed(shape):
    """Also where products depend on each other: then one less is exact, and is found with one sign."""
    rank, features, entries = shape
    fewer, rng = jax.jit(_fewer), np.random.default_rng(0)
    for i in range(10):
        u, a = rng.normal(size=(rank + 1, features)), rng.normal(size=(rank + 1, entries))
        u[:, 0] *= i % 2
        a *= 10.0 ** rng.uniform(-3, 3, (rank + 1, 1))
        draw = jnp.asarray(rng.choice([-1.0, 1.0], size=rank + 1))
        one = fewer(draw, u, a)
        for _ in range(4):
            other = fewer(draw, *(x * (1 + 2.3e-16 * rng.integers(-1, 2, x.shape)) for x in (u, a)))
            for x, y in zip(one, other, strict=True):
                np.testing.assert_allclose(y, x, atol=1e-11 * np.abs(x).max())

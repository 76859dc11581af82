"""What is only a matter of speed is checked against the plain expression: reads by number, contractions by block."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqx_etrace._carry._head import Head
from eqx_etrace._carry.xla._regular_gather import take, take_rows
from eqx_etrace._carry.xla._small_dots import _FEW, apply_blocks, scale_blocks, through_blocks, written_out


def regular(rng):
    """Numbers that are regular, or nearly: overlapping, repeated and gapped strides among them."""
    shape = tuple(rng.integers(1, 5, rng.integers(0, 4)))
    strides = rng.integers(0, 9, len(shape))
    if rng.random() < 0.7:
        length = 1
        for axis in rng.permutation(len(shape)):
            strides[axis], length = length, length * shape[axis] + rng.integers(0, 3)
    index = np.full(shape, rng.integers(0, 4))
    for axis, (n, stride) in enumerate(zip(shape, strides, strict=True)):
        index = index + stride * np.arange(n).reshape(-1, *(1,) * (len(shape) - 1 - axis))
    if rng.random() < 0.2 and index.size:
        index.flat[rng.integers(index.size)] += 1
    return index


@pytest.mark.parametrize("seed", range(5))
def test_take(seed):
    rng = np.random.default_rng(seed)
    which = [regular(rng) for _ in range(25)]
    values = [rng.random(int(index.max(initial=0)) + 1 + rng.integers(0, 5)) for index in which]
    found = jax.jit(lambda values: [take(v, index) for v, index in zip(values, which, strict=True)])(values)
    for out, v, index in zip(found, values, which, strict=True):
        np.testing.assert_array_equal(out, v[index])


@pytest.mark.parametrize(
    "index",
    [
        [0, 0, 1, 1, 2, 2],
        [[[0, 0], [0, 1]], [[1, 1], [2, 2]]],
        [0, 1, 2],
        [0, 0, 0],
        [2, 2, 1, 1, 0, 0],
        [0, 1, 1, 2],
        [],
    ],
    ids=["in turn", "in turn, of axes", "once", "one row", "backwards", "unequal", "none"],
)
def test_take_rows(index):
    values, index = np.random.default_rng(0).random((3, 2)), np.array(index, int)
    np.testing.assert_array_equal(jax.jit(lambda v: take_rows(v, index))(values), values[index])


@pytest.mark.parametrize("size", [1, 2, _FEW, _FEW + 1])
@pytest.mark.parametrize("features", [(), (3,)])
@pytest.mark.parametrize("unit", [1, 1j])
def test_apply_blocks(size, features, unit):
    """J e by blocks, few scalars and many, real and complex."""
    rng = np.random.default_rng(size)
    jacobian, value = rng.random((5, size, size)), unit * rng.random((5, size, 2, *features))
    wanted = np.stack([np.tensordot(d, e, 1) for d, e in zip(jacobian, value, strict=True)])
    found = jax.jit(scale_blocks if features else apply_blocks)(jacobian, value)
    np.testing.assert_allclose(found, wanted, rtol=1e-14)


@pytest.mark.parametrize("size", [2, _FEW + 1])
def test_zero_times_anything_is_nothing_in_blocks(size):
    """By hand, element by element; and the status of what is larger by features."""
    rng = np.random.default_rng(size)
    kinds = np.array([0.0, 0.5, np.inf, np.nan])
    jacobian, value = rng.choice(kinds, (6, size, size), p=[0.5, 0.4, 0.05, 0.05]), rng.choice(kinds, (6, size, 2))
    products = np.zeros((6, size, 2, size))
    for g, i, q, j in np.ndindex(products.shape):
        d, v = jacobian[g, i, j], value[g, j, q]
        products[g, i, q, j] = 0 if d == 0 or v == 0 else d * v
    wanted = products.sum(-1)
    found = jax.jit(apply_blocks)(jacobian, value)
    np.testing.assert_array_equal(np.isfinite(found), np.isfinite(wanted))
    np.testing.assert_allclose(found[np.isfinite(wanted)], wanted[np.isfinite(wanted)])
    status = np.where(value == 0, 0, np.where(np.isfinite(value), 1, np.nan))
    kept = np.where((products != 0).any(-1), np.where(np.isfinite(wanted), 1, np.nan), 0)
    np.testing.assert_array_equal(jax.jit(through_blocks)(jacobian, status), kept)


DOTS = [
    ("hij,hj->hi", (5, 2, 4), (5, 4)),
    ("jih,jh->ih", (4, 2, 5), (4, 5)),
    ("hi,hi->h", (5, 3), (5, 3)),
    ("abij,bakji->abk", (2, 3, 1, 4), (3, 2, 5, 4, 1)),
    ("chi,hij->chj", (6, 5, 7), (5, 7, 2)),
    ("aibj,jckab->aibck", (2, 3, 2, 2), (2, 3, 2, 2, 2)),
    ("hij,hjk->hik", (2, 1, 1), (2, 1, 3)),
]


def count_dots(function, *arguments):
    return str(jax.make_jaxpr(function)(*arguments)).count("dot_general")


@pytest.mark.parametrize(("formula", "left", "right"), DOTS)
@pytest.mark.parametrize("unit", [1, 1j])
def test_small_dots(formula, left, right, unit):
    """Inside `jit` and `vmap`, beside other operations, with batches and sums over axes at any place."""
    rng = np.random.default_rng(0)
    a, b = unit * rng.random((3, *left)), unit * rng.random(right)

    def function(a, b):
        return {"out": jnp.sin(jax.vmap(lambda x: jnp.einsum(formula, x, b))(a)), "b": b}

    assert count_dots(function, a, b) == 1 and count_dots(written_out(function), a, b) == 0
    wanted = np.stack([np.sin(np.einsum(formula, x, b)) for x in a])
    found = jax.jit(written_out(function))(a, b)
    np.testing.assert_allclose(found["out"], wanted, rtol=1e-13)
    np.testing.assert_array_equal(found["b"], b)


@pytest.mark.parametrize(
    ("formula", "left", "right"),
    [("hij,hj->hi", (5, 2, _FEW), (5, _FEW)), ("ij,j->i", (2, 3), (3,)), ("hij,hj->hi", (5, 2, 0), (5, 0))],
    ids=["many terms", "one pair", "no terms"],
)
def test_other_dots_stay(formula, left, right):
    arrays = np.ones(left), np.ones(right)
    assert count_dots(written_out(lambda a, b: jnp.einsum(formula, a, b)), *arrays) == 1


def test_small_dots_add_up_in_the_dtype_asked_for():
    a, b = jnp.asarray([[256.0, 1, 1]], jnp.bfloat16), jnp.ones((1, 3), jnp.bfloat16)
    dot = written_out(lambda a, b: jnp.einsum("hi,hi->h", a, b, preferred_element_type=jnp.float32))(a, b)
    assert dot.dtype == jnp.float32 and dot[0] == 258


def test_small_dots_are_rounded_once():
    a, b = jnp.asarray([[257.0, -256]], jnp.float32), jnp.ones((1, 2), jnp.float32)
    dot = written_out(lambda a, b: jnp.einsum("hi,hi->h", a, b, preferred_element_type=jnp.bfloat16))(a, b)
    assert dot.dtype == jnp.bfloat16 and dot[0] == 1


@pytest.mark.parametrize("lanes", [1, 2, 3, 7, 8, 9, 16, 74, 300, 1156])
def test_contract(lanes):
    """Lanes one by one in blocks, and as whole blocks where there are too many: two traces at once."""
    rng, shape = np.random.default_rng(lanes), (2, lanes, 3, 4)
    head = Head(shape, (), True, lambda y: y, lambda x: x, lambda w: w)
    g, e = list(rng.standard_normal((2, *shape[:-1]))), list(rng.standard_normal((2, *shape)))
    g[0][0, 0, 0] = np.inf
    status = [np.ones(shape[:-1]), np.ones(shape[:-1])]
    status[0][0, 0, 0] = e[0][0, 0, 0] = g[1][1, 0, 2] = 0  # an infinite signal meets nothing, and none what is spoiled
    status[1][1, 0, 2], status[1][1, 0, 1] = np.nan, np.nan
    found = head.contract(*(list(map(jnp.asarray, arrays)) for arrays in (g, e, status)))
    g[0][0, 0, 0] = 0
    g[1][1, 0, 1] = np.nan
    wanted = sum(np.einsum("bmn,bmnk->bnk", a, b) for a, b in zip(g, e, strict=True))
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)

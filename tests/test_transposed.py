"""Weights that are transposed before they meet data: a head reads them as they were."""

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest
from oracle import assert_close, bptt

import eqx_etrace as etr

N, F, T, B = 4, 3, 5, 2


def concatenated(m, h, x):
    """In pieces, of which the first has no derivative: cut out of the weight as it was."""
    return jnp.tanh(jnp.concatenate([x, h], 1) @ m["w"].T)


def twice(m, h, x):
    return jnp.tanh(jnp.einsum("bi,ij->bj", jnp.concatenate([x, h], 1), jnp.transpose(2 * m["w"].T.T)))


def three_axes(m, h, x):
    """Two permutations, one after the other: their order matters."""
    v = jnp.transpose(jnp.transpose(m["v"], (2, 0, 1)), (2, 1, 0))
    return jnp.tanh(jnp.einsum("bi,bj,ijk->bk", x, h, v))


def on_the_left(m, h, x):
    return jnp.tanh(jnp.transpose(m["w"].T, (1, 0)) @ jnp.concatenate([x, h], 1).T).T


@pytest.mark.parametrize("cell", [concatenated, twice, three_axes, on_the_left], ids=lambda cell: cell.__name__)
def test_the_gradient_is_that_of_bptt(cell):
    keys = iter(jax.random.split(jax.random.key(2), 4))
    model = {"w": jax.random.normal(next(keys), (N, F + N)) / 2, "v": jax.random.normal(next(keys), (N, F, N))}
    model["r"] = jax.random.normal(next(keys), (N, 2))
    xs, h = jax.random.normal(next(keys), (T, B, F)), jnp.full((B, N), 0.3)

    def loss_step(m, h, x):
        h = cell(m, h, x)
        return jnp.sum(jnp.sin(m["r"].T @ h.T)), h

    wanted = bptt(loss_step, model, h, xs)
    for rule, window in ((etr.RTRL(), 1), (etr.RTRL(), 2), (etr.DRTRL(), T), (etr.SnAp(9), 0)):
        online = etr.etrace_grad(loss_step, rule)
        found, _, _ = eqx.filter_jit(online.scan)(model, h, online.init(model, h, xs[0]), xs, window=window)
        assert_close(found, wanted, 1e-11)

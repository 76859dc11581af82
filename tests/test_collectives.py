"""Lanes mapped around the step, which read one another by their named axis."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax
from oracle import assert_close, bptt, relative

import eqx_etrace as etr

N, B, T = 4, 3, 5


def mean(h):
    return lax.pmean(h, "b")


def neighbour(h):
    return lax.ppermute(h, "b", [(0, 1), (1, 2), (2, 0)])


def gathered(h):
    return lax.all_gather(h, "b").sum(0)


def in_a_loop(h):
    return lax.fori_loop(0, 2, lambda _, v: 0.5 * v + lax.psum(h, "b"), h)


def cell(read):
    def advance(m, h, x):
        return jnp.tanh(m["a"] * h + m["w"] * x + 0.5 * read(h))

    return advance


def setup(key):
    draws = [jax.random.normal(k, shape) for k, shape in zip(jax.random.split(key, 4), SHAPES, strict=True)]
    return {"a": draws[0], "w": draws[1]}, draws[2], draws[3]


SHAPES = (N,), (N,), (B, N), (T, B, N)


@pytest.mark.sweep(2)
@pytest.mark.parametrize("rule", [etr.RTRL(), etr.SnAp(9), etr.DRTRL()], ids=str)
@pytest.mark.parametrize("read", [mean, neighbour, gathered, in_a_loop], ids=lambda read: read.__name__)
def test_what_other_lanes_did_is_reported(read, rule, key):
    model, state, xs = setup(key)

    def lane(m, h, x):
        h = cell(read)(m, h, x)
        return jnp.sum(jnp.sin(h)), h

    def all_lanes(m, h, x):
        h = jax.vmap(cell(read), (None, 0, 0), axis_name="b")(m, h, x)
        return jnp.sum(jnp.sin(h)), h

    online, seen = etr.etrace_grad(lane, rule), []

    def run(h, xs):
        seen.append(online.graph(model, h, xs[0]).report(rule))
        return online.scan(model, h, online.init(model, h, xs[0]), xs)[0]

    found = jax.jit(jax.vmap(run, (0, 1), axis_name="b"))(state, xs)
    found, wanted = jax.tree.map(lambda g: g.sum(0), found), bptt(all_lanes, model, state, xs)
    assert not any(row.exact for row in seen[0].rows)
    assert rule == etr.DRTRL() or "an axis around the step" in str(seen[0])
    assert max(relative(found[k], wanted[k]) for k in wanted) > 1e-6
    if rule == etr.RTRL():  # mapped inside, it is exact
        whole = etr.etrace_grad(all_lanes, rule)
        inside, _, _ = jax.jit(whole.scan)(model, state, whole.init(model, state, xs[0]), xs)
        assert_close(inside, wanted)


def test_a_weight_may_be_the_mean_over_lanes(key):
    """No credit of the past passes through it: as `jax.vmap` of the gradient of BPTT."""
    model, state, xs = setup(key)
    models = jax.tree.map(lambda w: w * jnp.arange(1.0, B + 1)[:, None], model)

    def lane(m, h, x):
        m = lax.pmean(m, "b")
        h = jnp.tanh(m["a"] * h + m["w"] * x)
        return jnp.sum(jnp.sin(h)), h

    online = etr.etrace_grad(lane, etr.RTRL())

    def run(m, h, xs):
        return online.scan(m, h, online.init(m, h, xs[0]), xs)[0]

    def total(m, h, xs):
        def body(h, x):
            loss, h = lane(m, h, x)
            return h, loss

        return lax.scan(body, h, xs)[1].sum()

    found = jax.vmap(run, (0, 0, 1), axis_name="b")(models, state, xs)
    assert_close(found, jax.vmap(jax.grad(total), (0, 0, 1), axis_name="b")(models, state, xs))

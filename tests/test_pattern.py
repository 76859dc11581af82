"""The pattern of a Jacobian against the Jacobian itself: an entry that it misses would be credit silently lost."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import eqx_etrace as etr

CONVOLUTIONS = {
    "strided": ((2, 4, 6), (4, 4, 3), {"window_strides": (2,), "padding": [(1, 1)]}, ("NCH", "OIH", "NCH")),
    "grouped": (
        (1, 4, 5),
        (6, 2, 3),
        {"window_strides": (1,), "padding": [(1, 1)], "feature_group_count": 2},
        ("NCH", "OIH", "NCH"),
    ),
    "depthwise_channels_last": (
        (2, 4, 3, 3),
        (2, 2, 1, 3),
        {"window_strides": (1, 1), "padding": [(0, 1), (1, 0)], "feature_group_count": 3},
        ("NHWC", "HWIO", "NHWC"),
    ),
    "dilated": (
        (1, 2, 6),
        (3, 2, 2),
        {"window_strides": (1,), "padding": [(0, 2)], "rhs_dilation": (2,), "lhs_dilation": (2,)},
        ("NCH", "OIH", "NCH"),
    ),
    "axes_in_another_order": (
        (5, 2, 3, 4),
        (2, 3, 2, 2),
        {"window_strides": (2, 1), "padding": [(1, 0), (0, 0)]},
        ("HNWC", "OHWI", "CWNH"),
    ),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_convolution_of_the_state(name):
    shape, kernel, how, layout = CONVOLUTIONS[name]
    rng = np.random.default_rng(0)
    if name == "axes_in_another_order":
        kernel = (2, 2, 2, 4)
    state = jnp.asarray(rng.standard_normal(shape))
    weight = jnp.asarray(0.5 + rng.random(kernel))

    def made(h):
        return lax.conv_general_dilated(h, weight, dimension_numbers=layout, **how)

    found, wanted = patterns(made, state)
    assert wanted.any() and not wanted.all()
    np.testing.assert_array_equal(found, wanted)


def patterns(made, state):
    """Of the Jacobian of `made`, as the analysis finds it in a step, and as it is."""
    size = jax.eval_shape(made, state).size

    def step(m, states, x):
        h, y = states
        out = made(h).reshape(-1)
        return jnp.sum(m * x) + out.sum() + y.sum(), (0.5 * h, 0.1 * y + out + m)

    arguments = jnp.ones(size), (state, jnp.zeros(size)), jnp.ones(size)
    graph = etr.compile_graph(step, *arguments)
    found = graph._analysis.structure.jacobian.toarray()[state.size :, : state.size]
    return found, np.asarray(jax.jit(jax.jacobian(lambda h: made(h).reshape(-1)))(state)).reshape(size, -1) != 0


ALONG = {
    "cumsum": lax.cumsum,
    "reversed cumsum": lambda h, axis: lax.cumsum(h, axis, reverse=True),
    "cumprod": lax.cumprod,
    "cummax": lax.cummax,
    "cumlogsumexp": lax.cumlogsumexp,
    "sort": jnp.sort,
    "softmax": jax.nn.softmax,
    "flip": jnp.flip,
    "roll": lambda h, axis: jnp.roll(h, 1, axis),
    "maximum": lambda h, axis: jnp.max(h, axis),
    "mean": lambda h, axis: h - jnp.mean(h, axis, keepdims=True),
    "half": lambda h, axis: lax.slice_in_dim(h, 1, None, axis=axis),
    "running sum": lambda h, axis: lax.associative_scan(jnp.add, h, axis=axis),
    "permuted": lambda h, axis: jnp.take(h, jnp.asarray([1, 0]), axis=axis),
}


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("name", ALONG)
def test_what_works_along_an_axis_stays_in_its_lines(name, axis):
    """No entry is missed, and no line is mixed with another."""
    state = jnp.asarray(np.random.default_rng(1).random((2, 3, 4)))
    found, wanted = patterns(lambda h: ALONG[name](h, axis=axis), state)
    assert wanted.any() and not (wanted & ~found).any()
    shape, out = state.shape, ALONG[name](state, axis=axis).shape
    line = np.arange(24 // shape[axis]).reshape(np.delete(shape, axis))
    of_old, of_new = (np.broadcast_to(np.expand_dims(line, axis), s) if len(s) == 3 else line for s in (shape, out))
    assert not (found & (of_new.reshape(-1, 1) != of_old.ravel())).any()


@pytest.mark.parametrize("axes", ["ijk,kl,ijl", "ijk,jkl,lij", "ijk,ilj,kli", "ijk,ijk,ij", "ijk,ikl,jl", "ijk,l,kjil"])
@pytest.mark.parametrize("turn", [1, -1])
def test_a_contraction_of_the_state(axes, turn):
    """Batch axes, contracted ones, and those of one operand, in any order, and the state on either side."""
    ours, theirs, out = axes.split(",")
    sizes, rng = {"i": 2, "j": 3, "k": 4, "l": 2}, np.random.default_rng(2)
    state, other = (jnp.asarray(0.5 + rng.random([sizes[a] for a in of])) for of in (ours, theirs))
    equation = ",".join((ours, theirs)[::turn]) + "->" + out
    found, wanted = patterns(lambda h: jnp.einsum(equation, *(h, other)[::turn]), state)
    assert wanted.any()
    np.testing.assert_array_equal(found, wanted)

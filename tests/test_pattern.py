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

    size = jax.eval_shape(made, state).size

    def step(m, states, x):
        h, y = states
        out = made(h).reshape(-1)
        return jnp.sum(m * x) + out.sum(), (0.5 * h, 0.1 * y + out + m)

    arguments = jnp.ones(size), (state, jnp.zeros(size)), jnp.ones(size)
    graph = etr.compile_graph(step, *arguments)
    found = graph._analysis.structure.jacobian.toarray()[state.size :, : state.size]
    wanted = np.asarray(jax.jacobian(lambda h: made(h).reshape(-1))(state)).reshape(size, -1) != 0
    assert wanted.any() and not wanted.all()
    np.testing.assert_array_equal(found, wanted)

"""Steps whose state is mixed from one step to the next, which only RTRL traces exactly."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax

from .table import B, case, F, N, series, supervised, T


@case(False, dropped="dot_general")
def mgu(draw):
    def cell(m, h, x):
        z = jnp.concatenate([x, h])
        forget = jax.nn.sigmoid(m["f"] @ z)
        h = (1 - forget) * h + forget * jnp.tanh(m["w"] @ jnp.concatenate([x, forget * h]))
        return h, h

    return supervised(cell), {"f": draw(N, F + N), "w": draw(N, F + N)}, draw(N), series(draw)


@case(False, dropped="dot_general")
def a_weight_on_both_sides_of_joined_data(draw):
    def cell(m, h, x):
        z = jnp.concatenate([x, h])
        h = jnp.tanh(z @ m["w"] + m["w"] @ z)[F:]
        return h, h

    return supervised(cell), {"w": draw(F + N, F + N)}, draw(N), series(draw)


@case(False, dropped="dot_general")
def heads_of_a_block_diagonal_network(draw):
    def cell(m, h, x):
        h = jnp.tanh(jnp.einsum("hij,hj->hi", m["w"], h) + jnp.einsum("hij,j->hi", m["v"], x))
        return h, h

    return supervised(cell), {"w": draw(3, 2, 2), "v": draw(3, 2, F)}, draw(3, 2), series(draw, (F,), (3, 2))


def mixed(mix, draw):
    """A leaky network whose state passes through `mix`."""

    def cell(m, h, x):
        h = jnp.tanh(0.6 * mix(h) + 0.3 * h + m["W"] @ x + m["b"])
        return h, h

    return supervised(cell), {"W": draw(N, F), "b": draw(N)}, draw(N), series(draw)


@case({"u": False, "b": False}, dropped="dot_general")
def a_state_of_no_elements(draw):
    def cell(m, s, x):
        h = jnp.tanh(m["u"] @ s["h"] + m["b"] * x)
        return h, {"h": h, "none": s["none"]}

    state = {"h": draw(N), "none": jnp.zeros((0, 3))}
    return supervised(cell), {"u": draw(N, N), "b": draw(N)}, state, series(draw, (N,))


@case(False, dropped="cumsum")
def cumulative_sum_of_the_state(draw):
    return mixed(lambda h: 0.3 * jnp.cumsum(h), draw)


@case(False)
def softmax_over_the_state(draw):
    return mixed(jax.nn.softmax, draw)


@case(False, dropped="sort")
def sorted_recurrence(draw):
    return mixed(jnp.sort, draw)


@case(False, dropped="conv")
def convolution_by_feature(draw):
    def cell(m, h, x):
        conv = jax.vmap(lambda c, k: jnp.convolve(c, k, mode="same"))
        h = jnp.tanh(conv(h, m["k"]) + jnp.outer(m["v"] @ x, jnp.ones(5)))
        return h, h

    return supervised(cell), {"k": draw(2, 3), "v": draw(2, F)}, draw(2, 5), series(draw, (F,), (2, 5))


@case(False, dropped="dot_general")
def masked_recurrent_weights(draw):
    mask = jnp.asarray(draw.rng.random((N, N)) < 0.4, float) + jnp.eye(N)
    mask = jnp.minimum(mask, 1.0)

    def cell(m, h, x):
        h = jnp.tanh((m["w"] * mask) @ h + m["v"] @ x)
        return h, h

    return supervised(cell), {"w": draw(N, N), "v": draw(N, F)}, draw(N), series(draw)


@case(False)
def substeps_by_an_inner_scan(draw):
    def cell(m, h, x):
        def substep(h, _):
            h = h + 0.3 * jnp.tanh(m["w"] @ h + m["v"] @ x)
            return h, h

        h, steps = lax.scan(substep, h, None, length=3)
        return h + 0.1 * steps.sum(0), h

    return supervised(cell), {"w": draw(N, N), "v": draw(N, F)}, draw(N), series(draw)


@case(False)
def a_branch(draw):
    def cell(m, h, x):
        h = lax.cond(x[0] > 0, lambda h: jnp.tanh(m["w"] @ h), lambda h: 0.5 * h + m["u"] * h[::-1], h)
        h = h + m["v"] @ x
        return jnp.tanh(h), h

    return supervised(cell), {"w": draw(N, N), "u": draw(N), "v": draw(N, F)}, draw(N), series(draw)


@case()
def linear_recurrent_unit(draw):
    """Orvieto et al. 2023: a complex diagonal recurrence."""

    def cell(m, h, x):
        eigenvalue = jnp.exp(lax.complex(-jnp.exp(m["nu"]), m["theta"]))
        h = eigenvalue * h + lax.complex(m["b_re"], m["b_im"]) @ x.astype(complex)
        return (m["c"] @ h).real, h

    model = {"nu": draw(N), "theta": draw(N), "b_re": draw(N, F), "b_im": draw(N, F)}
    model["c"] = lax.complex(draw(N, N), draw(N, N))
    state = lax.complex(draw(N), draw(N))
    return supervised(cell), model, state, series(draw)


@case()
def complex_weights_in_a_batch(draw):
    def one(m, h, x):
        h = m["a"] * h + m["b"] @ x.astype(complex)
        h = h / (1 + jnp.abs(h)).astype(complex)
        return h.real + h.imag, h

    def loss_step(m, h, x, y):
        out, h = jax.vmap(one, (None, 0, 0))(m, h, x)
        return jnp.mean((out - y) ** 2), h

    model = {"a": 0.5 * lax.complex(draw(N), draw(N)), "b": lax.complex(draw(N, F), draw(N, F))}
    return loss_step, model, lax.complex(draw(B, N), draw(B, N)), series(draw, (B, F), (B, N))


@case(False)
def two_recurrent_layers(draw):
    keys = draw.key(), draw.key()
    model = [eqx.nn.GRUCell(F, 3, key=keys[0], dtype=float), eqx.nn.GRUCell(3, 2, key=keys[1], dtype=float)]

    def cell(m, state, x):
        first = m[0](x, state[0])
        second = m[1](first, state[1])
        return second, (first, second)

    return supervised(cell), model, (draw(3), draw(2)), series(draw, (F,), (2,))


@case(False, dropped="rev")
def zero_times_the_state(draw):
    return mixed(lambda h: 0.0 * h + jnp.zeros(N) * h + h[::-1], draw)


@case(False, dropped="dot_general mixes positions")
def dense_complex_recurrence(draw):
    def cell(m, h, x):
        drive = m["w"] @ h + m["b"] @ x.astype(complex)
        h = drive / (1 + jnp.abs(drive)).astype(complex)
        return h.real * h.imag, h

    model = {"w": 0.6 * lax.complex(draw(N, N), draw(N, N)), "b": lax.complex(draw(N, F), draw(N, F))}
    return supervised(cell), model, lax.complex(draw(N), draw(N)), series(draw)


@case({"b": True, "omega": True, "tau": True})
def resonators_that_drive_rate_units(draw):
    """A complex state and a real one that share their positions: a resonator per unit, damped and turned."""

    def cell(m, state, x):
        z = jnp.exp(lax.complex(-jax.nn.softplus(m["tau"]), m["omega"])) * state["z"]
        z = z + (m["b"] @ x).astype(complex)
        v = 0.7 * state["v"] + jnp.tanh(z.imag) - 0.2 * jnp.conj(z).real * state["v"]
        return v, {"z": z + 0.1 * lax.complex(jnp.zeros(N), v), "v": v}

    model = {"b": draw(N, F), "omega": draw(N), "tau": draw(N)}
    return supervised(cell), model, {"z": lax.complex(draw(N), draw(N)), "v": draw(N)}, series(draw)


@case()
def a_real_weight_on_complex_data(draw):
    """`dot_general` takes operands of two dtypes: y = w x is complex, w is not."""
    turn = lax.complex(jnp.cos(jnp.arange(1.0 * F)), jnp.sin(jnp.arange(1.0 * F)))

    def cell(m, h, x):
        y = lax.dot_general(m, turn * x.astype(complex), (((1,), (0,)), ((), ())))
        h = lax.complex(jnp.full(N, 0.6), jnp.full(N, 0.5)) * h + y
        return h.real - jnp.tanh(h.imag), h

    return supervised(cell), draw(N, F), lax.complex(draw(N), draw(N)), series(draw)


@case()
def real_weight_with_a_complex_product(draw):
    """The product of a real weight and real data is complex from the start, and so is its trace."""

    def cell(m, h, x):
        current = jnp.matmul(m["w"], x, preferred_element_type=jnp.complex128)
        h = 0.8 * jnp.exp(0.5j) * h + 1j * current
        return jnp.concatenate([h.real, h.imag]), h

    state = lax.complex(draw(N), draw(N))
    return supervised(cell), {"w": draw(N, F)}, state, series(draw, (F,), (2 * N,))


@case()
def loop_of_no_steps(draw):
    def cell(m, h, x):
        h, _ = lax.scan(lambda h, y: (h * m["a"] + y, h), h, jnp.zeros((0, N)))
        h = jnp.tanh(h * m["a"] + m["v"] @ x)
        return h, h

    return supervised(cell), {"a": draw(N), "v": draw(N, F)}, draw(N), series(draw)


@case(False, dropped="broadcast_in_dim")
def one_scalar_through_an_inner_loop(draw):
    """The loop's carry first depends on nothing, then on one element."""

    def cell(m, h, x):
        c = lax.fori_loop(0, 3, lambda i, c: 0.5 * c + h[0], 0.0)
        h = jnp.tanh(0.4 * c + 0.3 * h + m["W"] @ x)
        return h, h

    return supervised(cell), {"W": draw(N, F)}, draw(N), series(draw)


@case(False, dropped="conv_general_dilated")
def a_weight_as_what_a_kernel_is_slid_over(draw):
    """`jnp.convolve` slides its second operand over the first: here the state over the weight."""

    def cell(m, h, x):
        h = jnp.tanh(jnp.convolve(m["w"], h, mode="same") + 0.3 * h + m["W"] @ x)
        return h, h

    return supervised(cell), {"w": draw(N), "W": draw(N, F)}, draw(N), series(draw)


@case(False, dropped="conv_general_dilated")
def a_kernel_over_groups_of_examples(draw):
    def cell(m, h, x):
        y = lax.conv_general_dilated(x[:, None], m["K"], (1,), "SAME", batch_group_count=2)[0]
        h = jnp.tanh(y.mean(1) + 0.4 * h[::-1])
        return h, h

    return supervised(cell), {"K": draw(2, 1, 3)}, draw(2), (draw(T, 2, 4), draw(T, 2))

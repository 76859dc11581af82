"""Recurrences that stay in their position, and the ways in which a weight can be made from parameters."""

import jax
import jax.numpy as jnp
import numpy as np

from .table import B, case, F, leaky, N, series, supervised, T

PERMUTATION = np.array([2, 0, 3, 1])
MASK = np.array([[1.0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]])


# -- the recurrence


@case()
def leaky_integrator(draw):
    return leaky(lambda m, x: m["W"] @ x, {"W": draw(N, F)}, draw)


@case()
def gates_read_only_the_input(draw):
    def cell(m, h, x):
        z = jax.nn.sigmoid(m["Wz"] @ x + m["bz"])
        h = z * h + (1 - z) * jnp.tanh(m["Wh"] @ x)
        return h, h

    return supervised(cell), {"Wz": draw(N, F), "bz": draw(N), "Wh": draw(N, F)}, draw(N), series(draw)


@case()
def diagonal_recurrence(draw):
    def cell(m, h, x):
        h = m["w"] * h + m["W"] @ x
        return jnp.sin(h), h

    return supervised(cell), {"w": draw(N), "W": draw(N, F)}, draw(N), series(draw)


@case()
def indrnn(draw):
    def cell(m, h, x):
        h = jnp.tanh(m["w"] * h + m["W"] @ x + m["b"])
        return h, h

    return supervised(cell), {"w": draw(N), "W": draw(N, F), "b": draw(N)}, draw(N), series(draw)


@case()
def fused_gates_split(draw):
    def cell(m, h, x):
        f, i, g = jnp.split(m["W"] @ x + m["b"], 3)
        h = jax.nn.sigmoid(f + m["w"] * h) * h + jax.nn.sigmoid(i) * jnp.tanh(g)
        return h, h

    return supervised(cell), {"W": draw(3 * N, F), "b": draw(3 * N), "w": draw(N)}, draw(N), series(draw)


@case()
def an_input_through_a_while_loop(draw):
    """Which has no derivative, and needs none."""

    def cell(m, h, x):
        x = jax.lax.while_loop(lambda v: jnp.sum(v**2) > 2, lambda v: 0.9 * v, x)
        h = jnp.tanh(m["w"] * h + m["W"] @ x)
        return h, h

    return supervised(cell), {"w": draw(N), "W": draw(N, F)}, draw(N), series(draw)


@case()
def scalar_time_constant(draw):
    def cell(m, h, x):
        h = jax.nn.sigmoid(m["tau"]) * h + m["W"] @ x
        return jnp.tanh(h), h

    return supervised(cell), {"tau": draw(), "W": draw(N, F)}, draw(N), series(draw)


@case()
def per_unit_time_constants(draw):
    def cell(m, h, x):
        decay = jnp.exp(-1 / (1 + jax.nn.softplus(m["tau"])))
        h = decay * h + (1 - decay) * (m["W"] @ x)
        return jnp.tanh(h), h

    return supervised(cell), {"tau": draw(N), "W": draw(N, F)}, draw(N), series(draw)


@case()
def stop_gradient_reset(draw):
    def cell(m, h, x):
        h = m["a"] * h * jax.lax.stop_gradient(jnp.exp(-h * h)) + m["W"] @ x
        return jnp.tanh(h), h

    return supervised(cell), {"a": draw(N), "W": draw(N, F)}, draw(N), series(draw)


@case()
def reset_by_where(draw):
    def loss_step(m, h, x, done, y):
        h = jnp.where(done, m["h0"], h)
        h = jnp.tanh(m["w"] * h + m["W"] @ x)
        return jnp.mean((h - y) ** 2), h

    x, y = series(draw)
    done = jnp.arange(T) == 4
    return loss_step, {"h0": draw(N), "w": draw(N), "W": draw(N, F)}, draw(N), (x, done, y)


@case()
def inner_jit_and_checkpoint(draw):
    @jax.jit
    def drive(m, x):
        return m["W"] @ x

    @jax.checkpoint
    def recur(m, h, y):
        return jnp.tanh(m["w"] * h + jax.jit(jnp.sin)(y))

    def cell(m, h, x):
        h = recur(m, h, drive(m, x))
        return h, h

    return supervised(cell), {"w": draw(N), "W": draw(N, F)}, draw(N), series(draw)


# -- the effective weight


@case()
def masked_weight(draw):
    return leaky(lambda m, x: (m["W"] * MASK) @ x, {"W": draw(N, F)}, draw)


@case()
def scaled_weight(draw):
    return leaky(lambda m, x: (m["s"] * m["W"]) @ x, {"W": draw(N, F), "s": draw()}, draw)


@case()
def squared_weight(draw):
    return leaky(lambda m, x: x @ m["W"] ** 2, {"W": draw(F, N)}, draw)


@case()
def transposed_weight(draw):
    return leaky(lambda m, x: x @ m["W"].T, {"W": draw(N, F)}, draw)


@case()
def weight_norm(draw):
    def drive(m, x):
        return (m["g"][:, None] * m["V"] / jnp.linalg.norm(m["V"], axis=1, keepdims=True)) @ x

    return leaky(drive, {"g": draw(N), "V": draw(N, F)}, draw)


@case()
def low_rank_weight(draw):
    return leaky(lambda m, x: (m["U"] @ m["V"]) @ x, {"U": draw(N, 2), "V": draw(2, F)}, draw)


@case()
def bias_before_and_after(draw):
    def drive(m, x):
        return jnp.tanh(m["W"] @ x + m["inner"]) * m["gain"] + m["outer"]

    return leaky(drive, {"W": draw(N, F), "inner": draw(N), "gain": draw(N), "outer": draw()}, draw)


@case()
def weight_used_twice_in_one_group(draw):
    return leaky(lambda m, x: jnp.tanh(m["W"] @ x) * (m["W"] @ jnp.cos(x)), {"W": draw(N, F)}, draw)


@case()
def manual_matmul(draw):
    return leaky(lambda m, x: jnp.sum(m["W"] * x[None], axis=1), {"W": draw(N, F)}, draw)


@case()
def dendrite(draw):
    def drive(m, x):
        branches = jnp.tanh(jnp.einsum("nki,i->nk", m["W"], x) + m["b"])
        return jnp.sum(branches * m["c"], axis=1)

    return leaky(drive, {"W": draw(N, 2, F), "b": draw(N, 2), "c": draw(2)}, draw)


# -- the layout of y


@case()
def permutation_after_projection(draw):
    return leaky(lambda m, x: (m["W"] @ x)[PERMUTATION], {"W": draw(N, F)}, draw)


@case()
def concatenated_populations(draw):
    def drive(m, x):
        return jnp.concatenate([m["E"] @ x, -jnp.abs(m["I"]) @ x])

    return leaky(drive, {"E": draw(3, F), "I": draw(1, F)}, draw)


@case()
def reversed_padded_reshaped(draw):
    def drive(m, x):
        return jnp.pad(jnp.flip((m["W"] @ x).reshape(2, 1, order="C")), ((0, 0), (1, 0))).reshape(N)

    return leaky(drive, {"W": draw(2, F)}, draw)


@case()
def batch_by_matmul(draw):
    return leaky(lambda m, x: x @ m["W"] + m["b"], {"W": draw(F, N), "b": draw(N)}, draw, inputs=(B, F), states=(B, N))


@case()
def batch_by_einsum(draw):
    return leaky(lambda m, x: jnp.einsum("bn,nm->bm", x, m["W"]), {"W": draw(F, N)}, draw, inputs=(B, F), states=(B, N))


@case()
def batched_heads_by_einsum(draw):
    def drive(m, x):
        return jnp.einsum("bhi,hij->bhj", x, m["W"])

    return leaky(drive, {"W": draw(2, F, N)}, draw, inputs=(B, 2, F), states=(B, 2, N))


@case()
def heads_by_reshape(draw):
    def drive(m, x):
        return (m["W"] @ x).reshape(2, N).T * m["g"]

    return leaky(drive, {"W": draw(2 * N, F), "g": draw(2)}, draw, states=(N, 2))

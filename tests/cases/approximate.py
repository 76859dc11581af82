"""Steps that mix positions on the way from state to state: D-RTRL drops credit and must say so."""

import jax
import jax.numpy as jnp
import numpy as np

from .table import case, F, leaky, N, series, supervised, T


def recurrence(recur, draw):
    """h' = recur(h) + W x"""

    def cell(m, h, x):
        h = recur(h) + m["W"] @ x
        return jnp.tanh(h), h

    return supervised(cell), {"W": draw(N, F)}, draw(N), series(draw)


@case(False, dropped="dot_general")
def vanilla_rnn(draw):
    def cell(m, h, x):
        h = jnp.tanh(m["W"] @ x + m["R"] @ h + m["b"])
        return h, h

    return supervised(cell), {"W": draw(N, F), "R": draw(N, N), "b": draw(N)}, draw(N), series(draw)


@case(False, dropped="out of its position")
def roll_and_leak(draw):
    return recurrence(lambda h: 0.5 * h + 0.9 * jnp.roll(h, 1), draw)


@case(False, dropped="mixes positions")
def mean_inhibition(draw):
    return recurrence(lambda h: 0.9 * h - 0.5 * jnp.mean(h), draw)


@case(False, dropped="cumsum")
def cumulative_sum(draw):
    return recurrence(lambda h: 0.3 * jnp.cumsum(h), draw)


@case(False, dropped="mixes positions")
def softmax_competition(draw):
    return recurrence(lambda h: jax.nn.softmax(h), draw)


@case(False, dropped="sort")
def sorted_state(draw):
    return recurrence(lambda h: 0.9 * jnp.sort(h), draw)


@case(False, dropped="fft")
def spectral_state(draw):
    turn = jax.lax.complex(jnp.cos(jnp.arange(1.0 * N)), jnp.sin(jnp.arange(1.0 * N)))
    return recurrence(lambda h: 0.5 * jnp.fft.ifft(jnp.fft.fft(h) * turn).real, draw)


@jax.custom_vjp
def normalised(h):
    """The identity, with its cotangent centred across units."""
    return 1.0 * h


normalised.defvjp(lambda h: (normalised(h), None), lambda _, ct: (ct - jnp.mean(ct),))


@case(False, dropped="custom_vjp")
def custom_vjp_that_mixes(draw):
    return recurrence(lambda h: 0.9 * normalised(h), draw)


@jax.custom_vjp
def clipped(h):
    """The identity, with its cotangent clipped."""
    return 1.0 * h


clipped.defvjp(lambda h: (clipped(h), None), lambda _, ct: (jnp.clip(ct, -0.05, 0.05),))


@case(False, dropped="custom_vjp")
def custom_vjp_that_clips(draw):
    return recurrence(lambda h: 0.9 * clipped(h), draw)


@case()
def scan_inside_the_step(draw):
    def cell(m, h, x):
        h, _ = jax.lax.scan(lambda h, _: (h + 0.2 * (jnp.tanh(m["W"] @ x) - h), None), h, None, length=3)
        return h, h

    return supervised(cell), {"W": draw(N, F)}, draw(N), series(draw)


@case()
def cond_inside_the_step(draw):
    def loss_step(m, h, x, up, y):
        h = jax.lax.cond(up, lambda h: 0.9 * h, lambda h: 0.5 * h, h) + m["W"] @ x
        return jnp.mean((h - y) ** 2), h

    x, y = series(draw)
    return loss_step, {"W": draw(N, F)}, draw(N), (x, jnp.arange(T) % 2 == 0, y)


@case(False, dropped="gather")
def gather_by_data(draw):
    def loss_step(m, h, x, index, y):
        h = 0.9 * h[index] + m["W"] @ x
        return jnp.mean((h - y) ** 2), h

    x, y = series(draw)
    index = jnp.asarray([[1, 0, 3, 2], [3, 2, 1, 0]] * 4)[:T]
    return loss_step, {"W": draw(N, F)}, draw(N), (x, index, y)


@case({"W": True, "U": True})
def mixing_within_one_step(draw):
    """The second group reads the first through a constant matrix, in the same step, and leaks at one rate."""
    K = draw(2, N)

    def cell(m, s, x):
        h = 0.8 * s[0] + m["W"] @ x
        g = 0.7 * s[1] + K @ jnp.tanh(h) + m["U"] @ x
        return g, [h, g]

    return supervised(cell), {"W": draw(N, F), "U": draw(2, F)}, [draw(N), draw(2)], series(draw, (F,), (2,))


@case({"W": False, "U": False}, dropped="dot_general")
def two_groups_in_a_loop(draw):
    """Excitation and inhibition: each population reads the other through a matrix."""
    A, C = draw(2, N), draw(N, 2)

    def cell(m, s, x):
        e = jnp.tanh(0.8 * s["e"] - C @ s["i"] + m["W"] @ x)
        i = jnp.tanh(0.7 * s["i"] + A @ s["e"] + m["U"] @ x)
        return e, {"e": e, "i": i}

    model = {"W": draw(N, F), "U": draw(2, F)}
    return supervised(cell), model, {"e": draw(N), "i": draw(2)}, series(draw)


# One element of y that enters several positions has no trace by position.


@case(False, dropped="mixes positions")
def gather_some_rows_twice(draw):
    return leaky(lambda m, x: jnp.take(m["W"] @ x, np.array([0, 1, 1, 0]), axis=0), {"W": draw(2, F)}, draw)


@case()
def outer_product_state(draw):
    def drive(m, x):
        return jnp.outer(m["k"] @ x, m["v"] @ x)

    return leaky(drive, {"k": draw(N, F), "v": draw(2, F)}, draw, states=(N, 2))

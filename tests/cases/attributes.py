"""Several groups, several uses of one parameter, and the forms that a state may take."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from .table import case, F, N, series, supervised


@case()
def tied_weight_in_two_groups(draw):
    def cell(m, s, x):
        h = 0.9 * s[0] + m["W"] @ x
        g = 0.5 * s[1] + m["W"] @ jnp.cos(x)
        return jnp.tanh(h) * jnp.roll(g, 1), [h, g]

    return supervised(cell), {"W": draw(N, F)}, [draw(N), draw(N)], series(draw)


@case()
def scalar_in_several_groups(draw):
    def cell(m, s, x):
        decay = jax.nn.sigmoid(m["tau"])
        h = decay * s["h"] + m["W"] @ x
        g = decay**2 * s["g"] + m["U"] @ x
        return jnp.tanh(h) + jnp.sum(jnp.tanh(g)), {"h": h, "g": g}

    model = {"W": draw(N, F), "U": draw(2, F), "tau": draw()}
    return supervised(cell), model, {"h": draw(N), "g": draw(2)}, series(draw)


@case()
def parallel_groups_meet_in_the_readout(draw):
    def cell(m, s, x):
        h, g = jnp.tanh(m["w"] * s[0] + m["W"] @ x), 0.7 * s[1] + m["U"] @ x
        return m["R"] @ jnp.concatenate([h, g]) + m["c"], (h, g)

    model = {"w": draw(N), "W": draw(N, F), "U": draw(3, F), "R": draw(2, N + 3), "c": draw(2)}
    return supervised(cell), model, (draw(N), draw(3)), series(draw, (F,), (2,))


class Pair(NamedTuple):
    u: jax.Array
    v: jax.Array


@case()
def named_tuple_state(draw):
    """A rotation of two states that share a unit: both off-diagonal entries of D matter."""

    def cell(m, s, x):
        u = 0.8 * s.u - m["w"] * s.v + m["W"] @ x
        v = jnp.tanh(m["w"] * s.u + 0.6 * s.v)
        return u * v, Pair(u, v)

    return supervised(cell), {"w": draw(N, scale=0.4), "W": draw(N, F)}, Pair(draw(N), draw(N)), series(draw)


@case()
def a_new_state_from_the_model_alone(draw):
    """Neither the old state nor an input reaches `h`, and a second state is made of it."""

    def cell(m, s, x):
        h = jnp.tanh(m["p"])
        o = 0.9 * s["o"] + h * jnp.sum(x) + m["q"]
        return h * s["h"] + jnp.tanh(o), {"h": h, "o": o}

    return supervised(cell), {"p": draw(N), "q": draw(N)}, {"h": draw(N), "o": draw(N)}, series(draw)


@case()
def counter_key_and_flag_in_the_state(draw):
    def cell(m, s, x):
        key, now = jax.random.split(s["key"])
        noise = 0.1 * jax.random.normal(now, (N,))
        t = s["t"] + 1
        kept = jnp.where(s["flag"], 0.5, 0.9)
        h = kept * m["w"] * s["h"] + m["W"] @ x + noise + m["b"] * t.astype(noise.dtype)
        return h, {"h": h, "key": key, "t": t, "flag": t % 3 == 0}

    state = {"h": draw(N), "key": draw.key(), "t": jnp.int32(0), "flag": jnp.bool_(False)}
    model = {"w": draw(N), "W": draw(N, F), "b": draw(N, scale=0.1)}
    return supervised(cell), model, state, series(draw)


@case()
def delayed_states(draw):
    """A delay line of arrays: h, one step later, two steps later."""

    def cell(m, s, x):
        h, once, twice = s
        new = 0.5 * h + m["w"] * twice + m["W"] @ x
        return jnp.tanh(new), [new, h, once]

    return supervised(cell), {"w": draw(N), "W": draw(N, F)}, [draw(N), draw(N), draw(N)], series(draw)


@case()
def delayed_half(draw):
    """Only the first half of the units is delayed."""

    def cell(m, s, x):
        new = 0.5 * s["h"] + m["W"] @ x
        new = new.at[: N // 2].set(new[: N // 2] + m["w"] * s["late"])
        return jnp.tanh(new), {"h": new, "late": s["h"][: N // 2]}

    model = {"w": draw(N // 2), "W": draw(N, F)}
    return supervised(cell), model, {"h": draw(N), "late": draw(N // 2)}, series(draw)


@case(True)
def scatter_add(draw):
    """`.at[].add` keeps positions: each update enters the element that its index names."""

    def cell(m, h, x):
        h = (0.5 * h).at[: N // 2].add(0.3 * h[: N // 2]) + m["W"] @ x
        return jnp.tanh(h), h

    return supervised(cell), {"W": draw(N, F)}, draw(N), series(draw)


@case()
def state_nobody_reads(draw):
    """A mixing path into a state that never reaches the loss costs no exactness."""

    def cell(m, s, x):
        h = 0.8 * s["h"] + m["W"] @ x
        return h, {"h": h, "monitor": 0.9 * s["monitor"] + jnp.mean(h)}

    return supervised(cell), {"W": draw(N, F)}, {"h": draw(N), "monitor": draw()}, series(draw)


@case({"readout": True, "E": True, "W": True})
def readout_without_state_and_encoder(draw):
    def cell(m, h, x):
        h = 0.8 * h + m["W"] @ jnp.tanh(m["E"] @ x)
        return m["readout"] @ h, h

    model = {"readout": draw(2, N), "E": draw(N, F), "W": draw(N, N)}
    return supervised(cell), model, draw(N), series(draw, (F,), (2,))


@case({"W1": False, "w1": False, "W2": True, "w2": True}, dropped="dot_general")
def two_stacked_layers(draw):
    def cell(m, s, x):
        first = jnp.tanh(m["w1"] * s[0] + m["W1"] @ x)
        second = jnp.tanh(m["w2"] * s[1] + m["W2"] @ first)
        return second, [first, second]

    model = {"W1": draw(N, F), "w1": draw(N), "W2": draw(N, N), "w2": draw(N)}
    return supervised(cell), model, [draw(N), draw(N)], series(draw)

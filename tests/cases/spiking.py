"""Several coupled states per unit, surrogate spikes."""

import jax
import jax.numpy as jnp

from .table import B, case, F, N, series, supervised


@jax.custom_jvp
def spike(v):
    """A spike whose derivative is a triangle-like bump, by `custom_jvp`."""
    return jnp.where(v > 0, 1.0, 0.0).astype(v.dtype)


@spike.defjvp
def _spike_jvp(primals, tangents):
    (v,), (dv,) = primals, tangents
    return spike(v), dv / (1 + 2 * jnp.abs(v)) ** 2


@jax.custom_vjp
def spike_vjp(v):
    """The same by `custom_vjp`."""
    return jnp.where(v > 0, 1.0, 0.0).astype(v.dtype)


spike_vjp.defvjp(lambda v: (spike_vjp(v), v), lambda v, ct: (ct / (1 + 2 * jnp.abs(v)) ** 2,))


def alif(fire):
    """V, adaptation and synapse; V reads the g of the same step."""

    def cell(m, s, x):
        z = fire(s["V"] - 0.3 - s["a"])
        g = 0.7 * s["g"] + m["W"] @ x
        V = jax.nn.sigmoid(m["tau"]) * s["V"] + g - z
        a = 0.8 * s["a"] + 0.1 * z + 0.05 * V
        return fire(V - 0.3 - a), {"V": V, "a": a, "g": g}

    return supervised(cell)


def alif_case(draw, fire):
    state = {name: 0.3 * draw(N) for name in "Vag"}
    return alif(fire), {"W": draw(N, F, scale=1.5), "tau": draw(N)}, state, series(draw)


def alif_fires(s):
    return s["V"] > 0.3 + s["a"]


@case(fires=alif_fires)
def adaptive_lif_with_synapse(draw):
    return alif_case(draw, spike)


@case(fires=alif_fires)
def adaptive_lif_with_custom_vjp(draw):
    return alif_case(draw, spike_vjp)


@case(fires=lambda s: s["V"] > 0.3)
def only_half_adapts(draw):
    def cell(m, s, x):
        z = spike(s["V"] - 0.3)
        a = 0.9 * s["a"] + m["b"] * s["V"][: N // 2]
        V = 0.8 * s["V"] + m["W"] @ x - 0.5 * z - jnp.concatenate([a, jnp.zeros(N - N // 2)])
        return V, {"V": V, "a": a}

    model = {"W": draw(N, F, scale=1.5), "b": draw(N // 2, scale=0.3)}
    return supervised(cell), model, {"V": draw(N), "a": draw(N // 2)}, series(draw)


@case(fires=lambda s: s["V"] > 0.3)
def spiking_readout(draw):
    def cell(m, s, x):
        V = 0.8 * s["V"] * (1 - spike(s["V"] - 0.3)) + m["W"] @ x
        return m["R"] @ spike(V - 0.3), {"V": V}

    return supervised(cell), {"W": draw(N, F, scale=1.5), "R": draw(2, N)}, {"V": draw(N)}, series(draw, (F,), (2,))


@case(fires=lambda s: s["V"] > 0.3)
def batch_by_vmap_inside(draw):
    def one(m, s, x):
        z = spike(s["V"] - 0.3)
        V = 0.8 * s["V"] + m["W"] @ x + m["b"] - z - s["a"]
        return V, {"V": V, "a": 0.9 * s["a"] + 0.1 * z}

    def cell(m, s, x):
        return jax.vmap(one, (None, 0, 0))(m, s, x)

    model = {"W": draw(N, F, scale=1.5), "b": draw(N)}
    return supervised(cell), model, {"V": draw(B, N), "a": draw(B, N)}, series(draw, (B, F), (B, N))


@case({"W": False, "R": False, "b": False}, dropped="dot_general", fires=lambda s: s["V"] > 0.3)
def recurrent_lif(draw):
    def cell(m, s, x):
        z = spike(s["V"] - 0.3)
        V = 0.8 * s["V"] + m["W"] @ x + m["R"] @ z + m["b"] - z
        return V, {"V": V}

    model = {"W": draw(N, F, scale=1.5), "R": draw(N, N), "b": draw(N)}
    return supervised(cell), model, {"V": draw(N)}, series(draw)


@case({"W1": False, "W2": True}, dropped="dot_general", fires=lambda s: jnp.concatenate([s[0], s[1]]) > 0.3)
def two_spiking_layers(draw):
    def cell(m, s, x):
        V1 = 0.8 * s[0] - 0.5 * spike(s[0] - 0.3) + m["W1"] @ x
        V2 = 0.8 * s[1] - 0.5 * spike(s[1] - 0.3) + m["W2"] @ spike(V1 - 0.3)
        return V2, [V1, V2]

    return (
        supervised(cell),
        {"W1": draw(N, F, scale=1.5), "W2": draw(N, N, scale=1.5)},
        [draw(N), draw(N)],
        series(draw),
    )

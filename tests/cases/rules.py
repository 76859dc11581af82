"""Calls whose own backward rule is odd: what is linear and aligned is traced, what is not is cut and said."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax

from .table import case, F, N, series, supervised


def ruled(backward):
    """The identity, with this backward rule (residual, cotangent) -> cotangent."""

    @jax.custom_vjp
    def call(h):
        return 1.0 * h

    call.defvjp(lambda h: (1.0 * h, h), lambda h, ct: (backward(h, ct),))
    return call


def on_state(backward, draw):
    call = ruled(backward)

    def cell(m, h, x):
        h = call(0.9 * h) + m["W"] @ x
        return jnp.tanh(h), h

    return supervised(cell), {"W": draw(N, F)}, draw(N), series(draw)


def on_weight(backward, draw):
    call = ruled(backward)

    def cell(m, h, x):
        h = 0.9 * h + call(m["W"]) @ x
        return jnp.tanh(h), h

    return supervised(cell), {"W": draw(N, F)}, draw(N), series(draw)


@case()
def rule_scales(draw):
    return on_state(lambda h, ct: 0.5 * ct * jnp.cos(h), draw)


@case()
def rule_stops_second_order(draw):
    return on_state(lambda h, ct: 0.5 * lax.stop_gradient(ct), draw)


@case()
def rule_is_straight_through_on_a_weight(draw):
    return on_weight(lambda w, ct: 0.5 * ct, draw)


@case(False, dropped="mixes positions")
def rule_adds_a_constant(draw):
    return on_state(lambda h, ct: ct + 0.1, draw)


@case(False, dropped="mixes positions")
def rule_injects_a_regulariser(draw):
    return on_state(lambda h, ct: ct + 0.1 * jnp.sign(h), draw)


@case(False, dropped="mixes positions")
def rule_selects_a_constant(draw):
    return on_state(lambda h, ct: jnp.where(h > 0, ct, 0.3), draw)


@case(False, dropped="mixes positions")
def rule_rounds(draw):
    return on_state(lambda h, ct: jnp.round(ct * 64) / 64, draw)


@case(False, dropped="mixes positions")
def rule_casts_to_integers(draw):
    return on_state(lambda h, ct: (ct * 64).astype(jnp.int32).astype(ct.dtype) / 64, draw)


@case(False, dropped="mixes positions")
def rule_casts_to_a_narrow_float(draw):
    return on_state(lambda h, ct: ct.astype(jnp.bfloat16).astype(ct.dtype), draw)


@case(False, dropped="mixes positions")
def rule_clips_the_gradient_of_a_weight(draw):
    return on_weight(lambda w, ct: jnp.clip(ct, -0.01, 0.01), draw)


@case(False, dropped="mixes positions")
def rule_decays_a_weight(draw):
    return on_weight(lambda w, ct: ct + 0.1 * w, draw)


@case(False, dropped="mixes positions")
def rule_multiplies_its_cotangents(draw):
    @jax.custom_vjp
    def call(x, y):
        return 1.0 * x, 1.0 * y

    call.defvjp(lambda x, y: ((1.0 * x, 1.0 * y), None), lambda _, ct: (ct[0] * ct[1], ct[1]))

    def cell(m, h, x):
        a, b = call(0.9 * h, m["W"] @ x)
        h = a + b
        return jnp.tanh(h), h

    return supervised(cell), {"W": draw(N, F)}, draw(N), series(draw)


@case()
def delay_line_read_in_the_same_step(draw):
    def cell(m, s, x):
        buffer = jnp.concatenate([(m["W"] @ x)[None], s["buffer"][:-1]])
        v = 0.9 * s["v"] + buffer[-1]
        return jnp.tanh(v), {"buffer": buffer, "v": v}

    return supervised(cell), {"W": draw(N, F)}, {"buffer": draw(2, N), "v": draw(N)}, series(draw)


@case()
def wiring_from_a_constant_key(draw):
    def cell(m, h, x):
        h = 0.9 * h + (m["W"] @ x)[jax.random.permutation(jax.random.key(0), N)]
        return jnp.tanh(h), h

    return supervised(cell), {"W": draw(N, F)}, draw(N), series(draw)


@case(False)
def rule_clips_inside_a_scan(draw):
    call = ruled(lambda h, ct: jnp.clip(ct, -0.02, 0.02))

    def cell(m, h, x):
        h = lax.scan(lambda h, _: (call(0.9 * h) + 0.1 * jnp.tanh(m["w"] @ h), None), h, None, length=2)[0]
        h = h + m["v"] @ x
        return jnp.tanh(h), h

    return supervised(cell), {"w": draw(N, N), "v": draw(N, F)}, draw(N), series(draw)


@case(False)
def rule_clips_inside_a_branch(draw):
    call = ruled(lambda h, ct: jnp.clip(ct, -0.02, 0.02))

    def cell(m, h, x):
        h = lax.cond(x[0] > 0, call, lambda h: 0.5 * h, h) + m["v"] @ x
        return jnp.tanh(h), h

    return supervised(cell), {"v": draw(N, F)}, draw(N), series(draw)


@case(False)
def rule_clips_a_weight_inside_a_scan(draw):
    call = ruled(lambda w, ct: jnp.clip(ct, -0.01, 0.01))

    def cell(m, h, x):
        weight = lax.scan(lambda w, _: (call(w), None), m["v"], None, length=1)[0]
        h = 0.9 * h + weight @ x
        return jnp.tanh(h), h

    return supervised(cell), {"v": draw(N, F)}, draw(N), series(draw)


@case()
def rule_by_equinox(draw):
    """Equinox stages a call without outputs beside it."""

    @eqx.filter_custom_vjp
    def call(h):
        return jnp.tanh(h)

    def forward(perturbed, h):
        del perturbed
        return jnp.tanh(h), h

    def backward(residual, ct, perturbed, h):
        del perturbed, h
        return 0.5 * ct * jnp.cos(residual)

    call.def_fwd(forward)
    call.def_bwd(backward)

    def cell(m, h, x):
        h = call(0.9 * h) + m["W"] @ x
        return jnp.tanh(h), h

    return supervised(cell), {"W": draw(N, F)}, draw(N), series(draw)

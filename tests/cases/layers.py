"""Unmodified Equinox layers."""

import equinox as eqx
import jax
import jax.numpy as jnp

from .table import case, F, leaky, N, series, supervised


@case()
def linear_layer(draw):
    return leaky(lambda m, x: m["l"](x), {"l": eqx.nn.Linear(F, N, key=draw.key())}, draw)


@case()
def conv1d_stride_padding_groups(draw):
    conv = eqx.nn.Conv1d(2, 4, 3, stride=2, padding=1, groups=2, key=draw.key())
    return leaky(lambda m, x: m["conv"](x), {"conv": conv}, draw, inputs=(2, 6), states=(4, 3))


@case()
def conv1d_dilated_transposed_layout(draw):
    conv = eqx.nn.Conv1d(2, 3, 2, dilation=2, use_bias=False, key=draw.key())
    return leaky(lambda m, x: m["conv"](x.T).T, {"conv": conv}, draw, inputs=(5, 2), states=(3, 3))


@case()
def conv2d_batched(draw):
    conv = eqx.nn.Conv2d(1, 2, (2, 3), stride=(1, 2), padding=((1, 0), (1, 1)), key=draw.key())
    return leaky(lambda m, x: jax.vmap(m["conv"])(x), {"conv": conv}, draw, inputs=(2, 1, 3, 4), states=(2, 2, 3, 2))


@case()
def depthwise_conv2d(draw):
    conv = eqx.nn.Conv2d(2, 2, 2, groups=2, key=draw.key())
    return leaky(lambda m, x: m["conv"](x), {"conv": conv}, draw, inputs=(2, 3, 3), states=(2, 2, 2))


@case()
def ensemble_by_filter_vmap(draw):
    layers = eqx.filter_vmap(lambda k: eqx.nn.Linear(F, N, key=k))(jax.random.split(draw.key(), 2))

    def drive(m, x):
        return eqx.filter_vmap(lambda layer, x: layer(x), in_axes=(eqx.if_array(0), None))(m["l"], x)

    return leaky(drive, {"l": layers}, draw, states=(2, N))


@case()
def conv_transpose(draw):
    conv = eqx.nn.ConvTranspose1d(2, 3, 2, stride=2, key=draw.key())
    return leaky(lambda m, x: m["conv"](x), {"conv": conv}, draw, inputs=(2, 2), states=(3, 4))


class Recurrent(eqx.Module):
    cell: eqx.Module
    readout: eqx.nn.Linear


@case({"cell": False, "readout": True}, dropped="dot_general")
def gru(draw):
    def cell(m, h, x):
        h = m.cell(x, h)
        return m.readout(h), h

    model = Recurrent(eqx.nn.GRUCell(F, N, key=draw.key()), eqx.nn.Linear(N, 2, key=draw.key()))
    return supervised(cell), model, draw(N), series(draw, (F,), (2,))


@case({"cell": False, "readout": True}, dropped="dot_general")
def lstm(draw):
    def cell(m, s, x):
        s = m.cell(x, s)
        return m.readout(s[0]), s

    model = Recurrent(eqx.nn.LSTMCell(F, N, key=draw.key()), eqx.nn.Linear(N, 2, key=draw.key()))
    return supervised(cell), model, (draw(N), draw(N)), series(draw, (F,), (2,))


@case({"encoder": True, "W": True, "readout": True})
def mlp_encoder_before_the_cell(draw):
    def cell(m, h, x):
        h = 0.8 * h + m["W"] @ m["encoder"](x)
        return m["readout"](jnp.tanh(h)), h

    encoder = eqx.nn.MLP(F, N, 3, 1, jax.nn.tanh, key=draw.key())
    model = {"encoder": encoder, "W": draw(N, N), "readout": eqx.nn.MLP(N, 2, 3, 1, jnp.tanh, key=draw.key())}
    return supervised(cell), model, draw(N), series(draw, (F,), (2,))


@case({"l": False, "norm": True}, dropped="mixes")
def layer_norm_between_matmul_and_state(draw):
    model = {"l": eqx.nn.Linear(F, N, key=draw.key()), "norm": eqx.nn.LayerNorm(N)}
    return leaky(lambda m, x: m["norm"](m["l"](x)), model, draw)


@case({"W": False, "norm": False}, dropped="mixes")
def layer_norm_on_the_state(draw):
    def cell(m, h, x):
        h = 0.8 * m["norm"](h) + m["W"] @ x
        return h, h

    model = {"W": draw(N, F), "norm": eqx.nn.LayerNorm(N)}
    return supervised(cell), model, draw(N), series(draw)

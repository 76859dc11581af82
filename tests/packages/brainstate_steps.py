"""The cells of brainstate, with mutable states: parameters and hidden states are split off, and merged for a step."""

import brainstate
import jax.numpy as jnp
from brainstate.graph import treefy_merge, treefy_split
from check import INPUTS, LANES, row, UNITS

brainstate.environ.set(precision=64)
brainstate.random.seed(0)
nn = brainstate.nn

for kind in (nn.ValinaRNNCell, nn.GRUCell, nn.MGUCell, nn.LSTMCell, nn.URLSTMCell):
    layer = kind(INPUTS, UNITS)
    layer.init_state(LANES)
    graph, parameters, hidden = treefy_split(layer, brainstate.ParamState, brainstate.HiddenState)

    def cell(model, state, x, graph=graph):
        layer = treefy_merge(graph, model, state)
        out = layer.update(x)
        return out, treefy_split(layer, brainstate.ParamState, brainstate.HiddenState)[2]

    _, hidden = cell(parameters, hidden, jnp.zeros((LANES, INPUTS)))  # once written, a state has another structure
    row("brainstate", kind.__name__, cell, parameters, hidden)

"""The neurons of brainpy.state, in physical units and with mutable states: what a step does to them is handed back."""

import brainpy.state as bp
import brainstate
import brainunit as u
import jax
import jax.numpy as jnp
from brainstate.graph import treefy_merge, treefy_split, treefy_states
from check import INPUTS, LANES, row, UNITS

brainstate.environ.set(precision=64, dt=0.1 * u.ms)
WEIGHT = jax.random.normal(jax.random.key(0), (INPUTS, UNITS))

for kind in (bp.IF, bp.LIF, bp.ALIF, bp.AdExIF, bp.Gif):
    layer = kind(UNITS)
    layer.init_state(LANES)
    graph, hidden = treefy_split(layer)

    def cell(model, state, x, graph=graph):
        layer = treefy_merge(graph, state)
        return layer.update(x @ model * 40 * u.mA), treefy_states(layer)

    _, hidden = cell(WEIGHT, hidden, jnp.zeros((LANES, INPUTS)))  # once written, a state has another structure
    row("brainpy", kind.__name__, cell, WEIGHT, hidden)

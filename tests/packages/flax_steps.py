"""The recurrent cells of flax.nnx. A recurrent weight mixes units: `DRTRL` approximates there."""

import jax
import jax.numpy as jnp
from check import INPUTS, LANES, row, UNITS
from flax import nnx

for kind in (nnx.SimpleCell, nnx.GRUCell, nnx.LSTMCell, nnx.OptimizedLSTMCell):
    layer = kind(INPUTS, UNITS, dtype=jnp.float64, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    graph, parameters, rest = nnx.split(layer, nnx.Param, ...)

    def cell(model, state, x, graph=graph, rest=rest):
        state, out = nnx.merge(graph, model, rest)(state, x)
        return out, state

    start = layer.initialize_carry((LANES, INPUTS), nnx.Rngs(0))
    row("flax", kind.__name__, cell, parameters, jax.tree.map(jnp.asarray, start))

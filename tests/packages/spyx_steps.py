"""The neurons of spyx: two states of one neuron lie one after the other in one array."""

import jax
import spyx.nn as snn
from check import INPUTS, LANES, row, UNITS
from flax import nnx

WEIGHT = jax.random.normal(jax.random.key(0), (INPUTS, UNITS))


for kind in (snn.IF, snn.LI, snn.LIF, snn.ALIF, snn.CuBaLIF, snn.RIF, snn.RLIF, snn.RCuBaLIF):
    layer = kind((UNITS,), rngs=nnx.Rngs(0))
    graph, parameters = nnx.split(layer)

    def cell(model, state, x, graph=graph):
        return nnx.merge(graph, model["neuron"])(x @ model["weight"], state)

    model = {"weight": WEIGHT, "neuron": parameters}
    row("spyx", kind.__name__, cell, model, layer.initial_state(LANES))

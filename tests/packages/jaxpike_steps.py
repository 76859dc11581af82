"""The neurons of jaxpike behind its `Dense`: time constants, and a surrogate with a slope, are parameters."""

import jax
import jax.numpy as jnp
import jaxpike as jp
from check import INPUTS, LANES, row, UNITS

jp.neurons.STATE_DTYPE = jnp.float64


def cell(model, state, x):
    state, out = model(state, x)
    return out, state


def dense(inputs: int, gain: float) -> jp.Dense:
    return jp.Dense(inputs, UNITS, key=jax.random.key(inputs), gain=gain)


nodes = {"in": dense(INPUTS, 20.0), "lif": jp.LIF(), "back": dense(UNITS, 5.0)}
edges = [("input", "in"), ("in", "lif"), ("lif", "back"), ("back", "lif")]
steps = {neuron.__name__: jp.Sequential(dense(INPUTS, 20.0), neuron()) for neuron in (jp.LIF, jp.ALIF, jp.LinearLIF)}
steps["LIF, reset to zero"] = jp.Sequential(dense(INPUTS, 20.0), jp.LIF(reset="zero"))
steps["LeakyIntegrator"] = jp.Sequential(dense(INPUTS, 20.0), jp.LeakyIntegrator())
steps["Izhikevich"] = jp.Sequential(dense(INPUTS, 20.0), jp.Izhikevich())
steps["LIF in a Graph"] = jp.Graph(nodes, edges, output="lif")
for name, step in steps.items():
    row("jaxpike", name, cell, jax.tree.map(jnp.asarray, step), step.init_state((LANES, INPUTS)))

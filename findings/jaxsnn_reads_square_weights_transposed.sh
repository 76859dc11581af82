#!/usr/bin/env bash
# jaxsnn 0.3.0 (nir 1.0.8, jax 0.10.2): `from_nir` reads the weights of a `nir.Linear` transposed, which for a square
# matrix gives another network.
#
# Input: input (2) -> Linear with the weight 8 from input 1 to neuron 0 and 0 elsewhere -> CubaLIF (2) -> output; one
# spike of input 0, then of input 1.
#
# Expected: input 1 makes neuron 0 spike, input 0 nothing. A weight of NIR has the shape (outputs, inputs).
#
# Seen: input 0 makes neuron 1 spike, input 1 nothing. The matrix is taken as it is, and the package reads the row of the
# input. With unequal numbers an error of shapes comes; with equal ones no warning.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "jaxsnn==0.3.0" "jax==0.10.2" "jaxlib==0.10.2" "nir==1.0.8" "numpy==2.4.6" \
    "scipy==1.17.1"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import logging

import jax
import jax.numpy as jnp
import nir
import numpy as np
from jaxsnn.event import ConversionConfig, from_nir
from jaxsnn.event.types import Spike

logging.disable(logging.CRITICAL)


def spike(times, neurons):
    times, neurons = jnp.array([times]), jnp.array([neurons])
    nothing = jnp.zeros_like(times)
    return Spike(times, neurons, nothing, nothing.astype(int), nothing == 0)


weight, one = np.array([[0.0, 8.0], [0.0, 0.0]]), np.ones(2)
neuron = nir.CubaLIF(tau_mem=10 * one, tau_syn=5 * one, r=one, v_leak=0 * one, v_threshold=one, v_reset=0 * one)
ends = {"input": nir.Input({"input": np.array([2])}), "output": nir.Output({"output": np.array([2])})}
graph = nir.NIRGraph({**ends, "weights": nir.Linear(weight), "lif": neuron},
                     [("input", "weights"), ("weights", "lif"), ("lif", "output")])
init, apply = from_nir(graph, ConversionConfig(t_max=0.1, n_steps={"lif": 10})).done()
seen = []
for number in (0, 1):
    out = apply({"input": spike([0.0], [number])}, init(jax.random.PRNGKey(0)))["lif"]
    seen.append(sorted(set(np.asarray(out.idx)[np.asarray(out.internal)].tolist())))
    print(f"a spike of input {number} makes these neurons spike: {seen[-1]}")
assert seen == [[1], []]
PYTHON

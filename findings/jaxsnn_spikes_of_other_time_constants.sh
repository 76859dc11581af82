#!/usr/bin/env bash
# jaxsnn 0.3.0 (jax 0.10.2): the event-based `LIF` gives wrong times of spikes, without a word, unless tau_mem is tau_syn
# or twice tau_syn.
#
# Input: one neuron with threshold 1, one input spike of weight 6 at 0, tau_syn = 5 ms, tau_mem = 5, 7, 10, 15 and 20 ms.
#
# Expected: the times at which the double exponential crosses 1, or an error for time constants that cannot be solved.
# `LIF` and `LIFParameters` take any; only the solver inside says that it is for two special cases.
#
# Seen: right for 5 and 10 ms. For 15 ms a spike at 3.56 ms in place of 4.47 ms; for 20 ms one at 4.75 ms, where the
# potential stays below 0.95 and there is none. The ratio is rounded and held between 1 and 2, and the formula for it is
# used with the given tau_mem. The state between the spikes follows the given constants.
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
import numpy as np
from jaxsnn.event.modules import LIF, Linear, LIFParameters, Source
from jaxsnn.event.topology import Topology
from jaxsnn.event.types import Spike

logging.disable(logging.CRITICAL)


def spike(times, neurons):
    times, neurons = jnp.array([times]), jnp.array([neurons])
    nothing = jnp.zeros_like(times)
    return Spike(times, neurons, nothing, nothing.astype(int), nothing == 0)


def first(tau_mem, tau_syn=5e-3, weight=6.0):
    topology = Topology(t_max=0.1)
    neuron = LIF(1, 10, LIFParameters(v_reset=-1000.0, v_th=1.0, tau_syn=tau_syn, tau_mem=tau_mem))
    topology.add({"inp": Source(1), "lif": neuron, "syn": Linear(pre_weights=jnp.full((1, 1), weight))})
    topology.connect([("inp", "syn"), ("syn", "lif")])
    init, apply = topology.done()
    out = apply({"inp": spike([0.0], [0])}, init(jax.random.PRNGKey(0)))["lif"]
    seen = np.asarray(out.time)[np.asarray(out.internal)]
    t = np.linspace(0, 0.05, 500_001)
    if tau_mem == tau_syn:
        v = weight * t / tau_mem * np.exp(-t / tau_mem)
    else:
        v = weight * tau_syn / (tau_mem - tau_syn) * (np.exp(-t / tau_mem) - np.exp(-t / tau_syn))
    above = np.flatnonzero(v > 1)
    return (1e3 * seen[0] if len(seen) else None), (1e3 * t[above[0]] if len(above) else None), v.max()


for tau_mem in (5e-3, 10e-3, 7e-3, 15e-3, 20e-3):
    seen, exact, highest = first(tau_mem)
    print(f"tau_mem {1e3 * tau_mem:.0f} ms: spike at {seen:.3f}, exact {exact and round(exact, 3)}, highest {highest:.3f}")
    if tau_mem in (5e-3, 10e-3):
        assert abs(seen - exact) < 0.002
    elif exact is None:
        assert tau_mem == 20e-3 and abs(seen - 4.748) < 0.01 and highest < 0.95
    else:
        assert abs(seen - exact) > 0.07
PYTHON

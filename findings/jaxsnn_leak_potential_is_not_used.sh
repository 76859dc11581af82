#!/usr/bin/env bash
# jaxsnn 0.3.0 (jax 0.10.2): the event-based `LIF` does not use `v_leak`.
#
# Input: one neuron with threshold 1, tau_mem = 10 ms, tau_syn = 5 ms, one input spike of weight 3 at 30 ms, `v_leak` 0
# and 0.9; the same in the time-discrete `LIF` of the package with steps of 0.1 ms.
#
# Expected: with 0.9 the potential is near 0.86 at 30 ms and the input brings it over 1. The docstring of `LIFParameters`
# calls it the leak potential, as in the time-discrete part.
#
# Seen: no spike in both; the time-discrete layer spikes with 0.9. The flow between events has the two time constants
# only, and nothing else reads the value. No warning.
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
from jaxsnn.discrete.functional.lif import LIFState, lif_step
from jaxsnn.discrete.functional.threshold import heaviside
from jaxsnn.event.modules import LIF, Linear, LIFParameters, Source
from jaxsnn.event.topology import Topology
from jaxsnn.event.types import Spike

logging.disable(logging.CRITICAL)


def spike(times, neurons):
    times, neurons = jnp.array([times]), jnp.array([neurons])
    nothing = jnp.zeros_like(times)
    return Spike(times, neurons, nothing, nothing.astype(int), nothing == 0)


def events(v_leak):
    topology = Topology(t_max=0.1)
    neuron = LIF(1, 10, LIFParameters(v_reset=0.0, v_th=1.0, tau_syn=5e-3, tau_mem=1e-2, v_leak=v_leak))
    topology.add({"inp": Source(1), "lif": neuron, "syn": Linear(pre_weights=jnp.full((1, 1), 3.0))})
    topology.connect([("inp", "syn"), ("syn", "lif")])
    init, apply = topology.done()
    return int(np.asarray(apply({"inp": spike([0.03], [0])}, init(jax.random.PRNGKey(0)))["lif"].internal).sum())


def steps(v_leak):
    state, count = LIFState(jnp.zeros(1), jnp.zeros(1)), 0
    for step in range(1000):
        state, z = lif_step({"inp": jnp.array([3.0 if step == 300 else 0.0])}, state, None, heaviside, v_leak, 1.0, 0.0,
                            1e-2, 5e-3, 1e-4)
        count += int(z[0] > 0.5)
    return count


seen = {v_leak: (events(v_leak), steps(v_leak)) for v_leak in (0.0, 0.9)}
for v_leak, (by_events, by_steps) in seen.items():
    print(f"v_leak {v_leak}: {by_events} spikes by events, {by_steps} by steps")
assert seen[0.0] == (0, 0)
assert seen[0.9][0] == 0 and seen[0.9][1] > 0
PYTHON

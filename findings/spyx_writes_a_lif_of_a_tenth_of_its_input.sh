#!/usr/bin/env bash
# spyx 1.0.0 (nir 1.0.8, flax 0.12.8, jax 0.10.2): a LIF that `spyx.nir.to_nir` writes takes a tenth of the input that it
# takes in spyx.
#
# Input: `LIF(beta=0.9)` with a threshold that is not reached, a constant input of 1 for 50 steps; the node that `to_nir`
# writes, by the equation of NIR, tau dv/dt = v_leak - v + r I, with Euler's rule at the same step.
#
# Expected: the same potential. The how-to calls the LIF fully supported, and the step of the export is the one of the
# run.
#
# Seen: 9.95 in spyx, 0.895 by the graph. In NIR the input is scaled by dt / tau = 1 - beta, spyx adds it as it is, so
# that `r` would have to be 1 / (1 - beta) = 10; written is beta, 0.9. Other readers get a network that hardly spikes.
# spyx itself reads its own files right because its reader leaves out `r`. `PSU_LIF`, which is written with r = 1, has
# the same gap.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "spyx==1.0.0" "flax==0.12.8" "jax==0.10.2" "jaxlib==0.10.2" "optax==0.2.8" \
    "nir==1.0.8" "numpy==2.4.6"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import jax.numpy as jnp
import numpy as np
import spyx.nir
import spyx.nn
from flax import nnx

for make in (spyx.nn.LIF, spyx.nn.PSU_LIF):
    model = spyx.nn.Sequential(make((1,), beta=0.9, threshold=100.0, rngs=nnx.Rngs(0)))
    node = spyx.nir.to_nir(model, {"input": np.array([1])}, {"output": np.array([1])}, dt=1).nodes["layer_0"]
    _, state = spyx.nn.run(model, jnp.ones((50, 1, 1)))
    in_spyx, in_nir = float(state[0][0, 0]), 0.0
    for _ in range(50):
        in_nir += float((node.v_leak[0] - in_nir + node.r[0] * 1.0) / node.tau[0])
    print(f"{make.__name__}: tau {node.tau[0]:.2f}, r {node.r[0]:.2f}: spyx {in_spyx:.2f}, the graph {in_nir:.3f}")
    assert abs(in_spyx - 9.948) < 0.01
    assert abs(in_nir - 0.9948 * float(node.r[0])) < 0.01 and float(node.r[0]) in (1.0, float(np.float32(0.9)))
PYTHON

#!/usr/bin/env bash
# spyx 1.0.0 (nir 1.0.8, flax 0.12.8, jax 0.10.2): `spyx.nir.from_nir` does not read `r` and `v_leak` of a LIF.
#
# Input: input -> LIF with tau 10 and threshold 1 -> output, with r = 1, r = 10 and v_leak = 5; a constant input of 0.3
# for 50 steps of 1.
#
# Expected: by the equation of NIR, tau dv/dt = v_leak - v + r I, none with r = 1 (the potential goes to 0.3), and spikes
# with r = 10 (it goes to 3) and with v_leak = 5 (to 5.3).
#
# Seen: 11 spikes in each. Only tau and the threshold are read, and the input is added as it is, as if `r` were tau / dt.
# No warning.
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
import nir
import numpy as np
import spyx.nir


def spikes(r, v_leak):
    node = nir.LIF(tau=np.array([10.0]), r=np.array([r]), v_leak=np.array([v_leak]), v_threshold=np.ones(1))
    ends = {"input": nir.Input({"input": np.array([1])}), "output": nir.Output({"output": np.array([1])})}
    graph = nir.NIRGraph({**ends, "lif": node}, [("input", "lif"), ("lif", "output")])
    counted = int(spyx.nir.from_nir(graph, jnp.full((50, 1, 1), 0.3), dt=1)[1].sum())
    v, expected = 0.0, 0
    for _ in range(50):
        v += (v_leak - v + r * 0.3) / 10
        if v > 1:
            v, expected = 0.0, expected + 1
    return counted, expected


seen = {(r, v_leak): spikes(r, v_leak) for r, v_leak in ((1.0, 0.0), (10.0, 0.0), (1.0, 5.0))}
for (r, v_leak), (counted, expected) in seen.items():
    print(f"r {r}, v_leak {v_leak}: {counted} spikes, by the equation {expected}")
assert [counted for counted, _ in seen.values()] == [11, 11, 11]
assert seen[1.0, 0.0][1] == 0 and len({expected for _, expected in seen.values()}) == 3
PYTHON

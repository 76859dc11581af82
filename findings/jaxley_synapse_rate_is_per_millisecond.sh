#!/usr/bin/env bash
# jaxley 0.14.0 (jax 0.10.2): the rate `k_minus` of `IonotropicSynapse` is per millisecond; its docstring says per
# second.
#
# Input: one synapse with `s` = 0.2 at the start and a presynaptic cell held far below the threshold; `k_minus` 25, which
# is a decay of 40 ms if it is per second, and the default 0.025; 10 ms.
#
# Expected: with 25 per second 78 % of `s` is left after 10 ms (exp(-10 / 40)), with 0.025 per second all of it.
#
# Seen: with 25 a thousandth is left, with 0.025 it is 78 %. The time constant is (1 - s_inf) / k_minus and is divided by
# the step in milliseconds. A rate from the literature in the unit of the docstring is a thousand times too fast.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "jaxley==0.14.0" "jax==0.10.2" "jaxlib==0.10.2" "numpy==2.4.6" "pandas==3.1.1"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import jax.numpy as jnp
import jaxley as jx
from jaxley.connect import connect
from jaxley.synapses import IonotropicSynapse


def left(rate):
    net = jx.Network([jx.Cell() for _ in range(2)])
    connect(net.cell(0), net.cell(1), IonotropicSynapse())
    net.set("IonotropicSynapse_k_minus", rate)
    net.set("v", -120.0)
    net.cell(0).clamp("v", jnp.full(401, -120.0), verbose=False)
    net.IonotropicSynapse.edge(0).record("IonotropicSynapse_s", verbose=False)
    s = jx.integrate(net, delta_t=0.025)[0]
    return float(s[400] / s[0])


slow, fast = left(0.025), left(25.0)
print(f"left after 10 ms: k_minus 0.025 {100 * slow:.1f} %, k_minus 25 {100 * fast:.1f} %")
assert abs(slow - 0.779) < 0.005
assert fast < 0.002
PYTHON

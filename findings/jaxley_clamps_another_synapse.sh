#!/usr/bin/env bash
# jaxley 0.14.0 (jax 0.10.2): with synapses of more than one type, `clamp` of the state of a synapse holds another
# synapse or none.
#
# Input: one `IonotropicSynapse`, then two `TestSynapse`; `TestSynapse_c` of the first, then of the second `TestSynapse`
# is clamped to 0.77, by `clamp` and by `data_clamp`.
#
# Expected: 0.77 in the clamped one, the other about at its initial 0.2.
#
# Seen: the clamp of the first holds the second, that of the second does nothing. The states of synapses lie in one array
# for each type, but the clamp takes the number of the synapse in the whole network; a number beyond the end is dropped.
# Recordings are counted within the type, and so show the right synapse. No warning.
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
from jaxley.synapses import IonotropicSynapse, TestSynapse


def network():
    net = jx.Network([jx.Cell() for _ in range(4)])
    for number, synapse in enumerate((IonotropicSynapse(), TestSynapse(), TestSynapse())):
        connect(net.cell(number), net.cell(number + 1), synapse)
    net.TestSynapse.edge("all").record("TestSynapse_c", verbose=False)
    return net


def held(net, **options):
    return [round(float(c), 2) for c in jx.integrate(net, delta_t=0.025, **options)[:, -1]]


value, seen = 0.77 * jnp.ones(20), []
for synapse in (0, 1):
    net = network()
    net.TestSynapse.edge(synapse).clamp("TestSynapse_c", value, verbose=False)
    by_clamp = held(net)
    net = network()
    by_data = held(net, data_clamps=net.TestSynapse.edge(synapse).data_clamp("TestSynapse_c", value), t_max=0.45)
    print(f"clamped TestSynapse {synapse}: {by_clamp}, by data_clamp {by_data}")
    seen.append((by_clamp, by_data))
assert seen[0] == ([0.2, 0.77], [0.2, 0.77])
assert seen[1] == ([0.2, 0.2], [0.2, 0.2])
PYTHON

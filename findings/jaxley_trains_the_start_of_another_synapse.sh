#!/usr/bin/env bash
# jaxley 0.14.0 (jax 0.10.2): with synapses of more than one type, the initial state of a synapse that is made trainable,
# or is set by `data_set`, goes to another synapse or to none.
#
# Input: one `IonotropicSynapse`, then two `TestSynapse`; the initial `TestSynapse_c` of the first, then of the second
# `TestSynapse` is made trainable and given as 0.9.
#
# Expected: 0.9 and 0.2 at the first step, then 0.2 and 0.9 (the default is 0.2), as `set` gives.
#
# Seen: 0.2 and 0.9, then 0.2 and 0.2. The states of synapses lie in one array for each type; parameters of synapses are
# counted within the type before they are written, states are not, and take the number of the synapse in the whole
# network. A number beyond the end is dropped. A fit trains another synapse, or gets a gradient of 0. No warning.
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


def start(net, **options):
    return [round(float(c), 3) for c in jx.integrate(net, t_max=1.0, **options)[:, 0]]


seen = []
for synapse in (0, 1):
    net = network()
    net.TestSynapse.edge(synapse).set("TestSynapse_c", 0.9)
    by_set = start(net)
    net = network()
    net.TestSynapse.edge(synapse).make_trainable("TestSynapse_c", verbose=False)
    trained = start(net, params=[{"TestSynapse_c": jnp.array([0.9])}])
    net = network()
    by_data = start(net, param_state=net.TestSynapse.edge(synapse).data_set("TestSynapse_c", 0.9, None))
    print(f"TestSynapse {synapse}: set {by_set}, make_trainable {trained}, data_set {by_data}")
    seen.append((by_set, trained, by_data))
assert seen[0] == ([0.9, 0.2], [0.2, 0.9], [0.2, 0.9])
assert seen[1] == ([0.2, 0.9], [0.2, 0.2], [0.2, 0.2])
PYTHON

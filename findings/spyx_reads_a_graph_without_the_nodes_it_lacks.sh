#!/usr/bin/env bash
# spyx 1.0.0 (nir 1.0.8, flax 0.12.8, jax 0.10.2): `spyx.nir.from_nir` leaves out nodes that it has no module for,
# without a word.
#
# Input: input -> `nir.Scale` of 100 -> LIF with tau 10 -> output, and the same with `nir.Delay` and `nir.Threshold`; an
# input of 0.05.
#
# Expected: an error that the node is not supported (that comes for `nir.LI`), or at least the warning that `to_nir`
# prints when it leaves out a layer.
#
# Seen: the model has one module, the LIF, in all three, and gives the same output as without the node: with the scale of
# 100 no spike. A node that the module table does not know yields nothing, and the loop goes on.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "spyx==1.0.0" "flax==0.12.8" "jax==0.10.2" "jaxlib==0.10.2" "optax==0.2.8" \
    "nir==1.0.8" "numpy==2.4.6"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import contextlib
import io
import warnings

import jax.numpy as jnp
import nir
import numpy as np
import spyx.nir

one, x = np.ones(1), jnp.full((50, 1, 1), 0.05)


def read(node):
    nodes = {"input": nir.Input({"input": np.array([1])}), "output": nir.Output({"output": np.array([1])})}
    nodes["lif"], nodes["node"] = nir.LIF(10 * one, one, 0 * one, one), node
    graph = nir.NIRGraph(nodes, [("input", "node"), ("node", "lif"), ("lif", "output")])
    said = io.StringIO()
    with contextlib.redirect_stdout(said), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        model, out = spyx.nir.from_nir(graph, x, dt=1)
    told = [w for w in warned if "nir" in str(w.message).lower()]
    return len(model.layers), int(out.sum()), len(said.getvalue()) + len(told)


for node in (nir.Scale(100 * one), nir.Delay(5 * one), nir.Threshold(0.01 * one)):
    modules, spikes, said = read(node)
    print(f"{type(node).__name__}: {modules} module, {spikes} spikes, {said} words")
    assert (modules, spikes, said) == (1, 0, 0)
PYTHON

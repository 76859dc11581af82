#!/usr/bin/env bash
# sinabs 3.1.3 asks for nir <= 1.0.4. What nir 1.0.8 writes holds `v_reset` for every neuron, given or not, and nir 1.0.4
# fails on it. So what any package with a current nir writes cannot be read where sinabs was installed.
#
# Input: input -> affine -> LIF without a `v_reset` -> output, written by nir 1.0.8 in one environment, read in another
# where sinabs was installed by pip.
#
# Expected: a file of LIF neurons is what the format is for; or that the file says its version is too new.
#
# Seen: TypeError, `LIF.__init__() got an unexpected keyword argument 'v_reset'`.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"${PYTHON:-python3.11}" -m venv "$folder/writer"
"$folder/env/bin/pip" install --quiet "sinabs==3.1.3" "h5py==3.14.0" "torch==2.14.1" "numpy==2.4.6"
"$folder/writer/bin/pip" install --quiet "nir==1.0.8" "numpy==2.4.6"
"$folder/writer/bin/python" - "$folder/graph.nir" <<'PYTHON'
import sys

import nir
import numpy as np

n = np.ones(2)
lif = nir.LIF(tau=0.02 * n, r=n, v_leak=0 * n, v_threshold=n)
nir.write(sys.argv[1], nir.NIRGraph.from_list(nir.Affine(np.eye(2), 0 * n), lif))
PYTHON
"$folder/env/bin/python" -W ignore - "$folder/graph.nir" <<'PYTHON'
import importlib.metadata
import sys

import nir

version = importlib.metadata.version("nir")
try:
    nir.read(sys.argv[1])
except TypeError as error:
    found = str(error)
else:
    found = "read"
print(f"sinabs brought nir {version}: {found}")
assert version == "1.0.4"
assert "unexpected keyword argument 'v_reset'" in found
PYTHON

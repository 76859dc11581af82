#!/usr/bin/env bash
# nir 1.0.8 (h5py 3.14.0): recordings of a graph inside a graph (`NIRGraphData` within `NIRGraphData`) cannot be written.
#
# Input: a `NIRGraphData` with one node that is a `NIRGraphData`, with one node that has two recordings of three steps of
# one unit.
#
# Expected: the class takes it, and `read_data` has a branch for it: a file.
#
# Seen: `write_data` goes over the nodes of the outer graph again for the inner one, and ends in RecursionError.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "nir==1.0.8" "h5py==3.14.0" "numpy==2.4.6"
"$folder/env/bin/python" - "$folder/data.nir" <<'PYTHON'
import sys

import nir
import numpy as np

cell = nir.NIRNodeData(observables={"v": nir.TimeGriddedData(data=np.zeros((2, 3, 1)), dt=1e-3)})
inner = nir.NIRGraphData(nodes={"cell": cell})
nir.write_data(sys.argv[1], inner)
print("one graph:", list(nir.read_data(sys.argv[1]).nodes))
try:
    nir.write_data(sys.argv[1], nir.NIRGraphData(nodes={"layer": inner}))
except RecursionError as error:
    found = type(error).__name__
else:
    found = "written"
print("a graph in a graph:", found)
assert found == "RecursionError"
PYTHON

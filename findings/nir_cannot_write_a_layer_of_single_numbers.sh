#!/usr/bin/env bash
# nir 1.0.8 (h5py 3.14.0): a node whose parameters are arrays without axes can be made, put into a graph and checked there,
# and cannot be written.
#
# Input: `LIF(tau=np.array(0.02), ...)`, one number for all units, in a graph of input, LIF and output.
#
# Expected: the node's own check asks that all parameters have one shape, which () is; so that the graph can be written, or
# is refused where it is made.
#
# Seen: `nir.write` raises TypeError, "Scalar datasets don't support chunk/filter options". It leaves a file behind that
# holds a part of the graph.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "nir==1.0.8" "h5py==3.14.0" "numpy==2.4.6"
"$folder/env/bin/python" - "$folder/graph.nir" <<'PYTHON'
import pathlib
import sys

import nir
import numpy as np

one, zero = np.array(1.0), np.array(0.0)
graph = nir.NIRGraph.from_list(nir.LIF(tau=np.array(0.02), r=one, v_leak=zero, v_threshold=one, v_reset=zero))
try:
    nir.write(sys.argv[1], graph)
except TypeError as error:
    found = str(error)
else:
    found = "written"
size = pathlib.Path(sys.argv[1]).stat().st_size
print(f"{found}; the file has {size} bytes")
assert "Scalar datasets" in found
assert size > 0
PYTHON

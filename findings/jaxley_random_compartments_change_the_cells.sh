#!/usr/bin/env bash
# jaxley 0.14.0 (jax 0.10.2): with `random_post_comp=True`, `connectivity_matrix_connect` does not build the matrix, and
# `sparse_connect` builds a network in which cells meet cells of about the same number.
#
# Input: seven cells of three compartments and a matrix with 0 -> 6, 1 -> 5, 2 -> 4, 3 -> 0; and 40 cells with p = 0.1.
#
# Expected: the option chooses the compartment of the postsynaptic cell, the cells stay those of the matrix. Between the
# numbers of pre- and postsynaptic cells of the random network no correlation.
#
# Seen: 0 -> 0, 1 -> 4, 2 -> 5, 3 -> 6, and a correlation of 0.99 (0.02 without the option). The compartments are drawn
# grouped by postsynaptic cell and come back in the order of these cells; they are put beside the presynaptic cells,
# which stand in the order of the connections. Number of synapses and in-degree are right. No warning.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "jaxley==0.14.0" "jax==0.10.2" "jaxlib==0.10.2" "numpy==2.4.6" "pandas==3.1.1"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import jaxley as jx
import numpy as np
from jaxley.connect import connectivity_matrix_connect, sparse_connect
from jaxley.synapses import IonotropicSynapse


def pairs(number, connect, *args, **options):
    np.random.seed(0)
    net = jx.Network([jx.Cell(jx.Branch(ncomp=3), parents=[-1]) for _ in range(number)])
    connect(net.cell("all"), net.cell("all"), IonotropicSynapse(), *args, **options)
    cell = net.nodes["global_cell_index"]
    return cell.loc[net.edges["pre_index"]].tolist(), cell.loc[net.edges["post_index"]].tolist()


matrix = np.zeros((7, 7), bool)
for pre, post in ((0, 6), (1, 5), (2, 4), (3, 0)):
    matrix[pre, post] = True
first, random = (list(zip(*pairs(7, connectivity_matrix_connect, matrix, random_post_comp=r))) for r in (False, True))
print(f"matrix: {first}; with random compartments: {random}")
assert first == [(0, 6), (1, 5), (2, 4), (3, 0)]
assert random == [(0, 0), (1, 4), (2, 5), (3, 6)]
first, random = (np.corrcoef(*pairs(40, sparse_connect, p=0.1, random_post_comp=r))[0, 1] for r in (False, True))
print(f"correlation of pre and post: {first:.2f}; with random compartments: {random:.2f}")
assert abs(first) < 0.25 and random > 0.97
PYTHON

#!/usr/bin/env bash
# jaxley 0.14.0 (jax 0.10.2): `fully_connect(..., random_post_comp=True)` leaves out pairs of cells and makes others
# twice, if there are not as many pre- as postsynaptic cells.
#
# Input: three cells to four cells of three compartments each.
#
# Expected: each of the 12 pairs once, as without the option, which chooses the compartment of the postsynaptic cell.
#
# Seen: 10 of the 12 pairs; the first cell has two synapses on the first and none on the last, the third the other way
# round. The compartments are drawn for each postsynaptic cell, one for each presynaptic, and the list is then folded as
# if it were the other way round. The number of synapses is right. No warning.
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
from jaxley.connect import fully_connect
from jaxley.synapses import IonotropicSynapse


def counts(pre, post, random):
    net = jx.Network([jx.Cell(jx.Branch(ncomp=3), parents=[-1]) for _ in range(pre + post)])
    cells = list(range(pre + post))
    fully_connect(net.cell(cells[:pre]), net.cell(cells[pre:]), IonotropicSynapse(), random_post_comp=random)
    cell, table = net.nodes["global_cell_index"], np.zeros((pre + post, pre + post), int)
    np.add.at(table, (cell.loc[net.edges["pre_index"]], cell.loc[net.edges["post_index"]]), 1)
    return table[:pre, pre:].tolist()


plain, random, square = counts(3, 4, False), counts(3, 4, True), counts(3, 3, True)
print(f"synapses of 3 x 4 cells: {plain}; with random compartments: {random}; 3 x 3: {square}")
assert plain == [[1] * 4] * 3 and square == [[1] * 3] * 3
assert random == [[2, 1, 1, 0], [1, 1, 1, 1], [0, 1, 1, 2]]
PYTHON

#!/usr/bin/env bash
# jaxley 0.14.0 (jax 0.10.2): `make_trainable` of groups with unequal numbers of compartments also sets the last
# compartment of the network, which belongs to none of them.
#
# Input: three cells with one branch of 1, 2 and 2 compartments; one capacitance for the branch of each of the first two
# cells; the parameters are 5 and 7.
#
# Expected: 5, 7, 7, and the default 1 in both compartments of the third cell.
#
# Seen: 5, 7, 7, 1, 5, by `write_trainables` and in the simulation: the gradient of the voltage of the third cell, which
# has no synapse, with regard to the parameter of the first is not 0. The shorter lists of compartments are filled up
# with the index -1, and -1 is the last one. In a cell with branch points it hits a branch point instead, and nothing is
# seen. No warning.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "jaxley==0.14.0" "jax==0.10.2" "jaxlib==0.10.2" "numpy==2.4.6" "pandas==3.1.1"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import jax
import jax.numpy as jnp
import jaxley as jx
from jaxley.channels import Leak

net = jx.Network([jx.Cell(jx.Branch(ncomp=n), parents=[-1]) for n in (1, 2, 2)])
net.insert(Leak())
net.set("v", -60.0)
net.cell([0, 1]).branch("all").make_trainable("capacitance", verbose=False)
net.cell(2).branch(0).comp(1).record(verbose=False)
params = [{"capacitance": jnp.array([5.0, 7.0])}]
gradient = jax.grad(lambda p: jx.integrate(net, params=p, t_max=5.0)[0, -1])(params)[0]["capacitance"]
net.write_trainables(params)
capacitance = net.nodes["capacitance"].tolist()
print(f"capacitances: {capacitance}; gradient of the third cell by the two parameters: {gradient}")
assert capacitance == [5.0, 7.0, 7.0, 1.0, 5.0]
assert abs(gradient[0]) > 1e-3 and gradient[1] == 0
PYTHON

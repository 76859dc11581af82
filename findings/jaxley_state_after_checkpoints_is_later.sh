#!/usr/bin/env bash
# jaxley 0.14.0 (jax 0.10.2): `integrate(..., return_states=True, checkpoint_lengths=...)` returns the states of a later
# time than that of the last recorded voltage.
#
# Input: a passive compartment with a constant current for 5 ms, 201 steps; once without checkpoints, once with
# `checkpoint_lengths=[16, 16]`.
#
# Expected: the same states: those at the end of the recording, from which a second run goes on. The docstring says that
# the simulation goes on to the product of the lengths and that the result is cut back.
#
# Seen: the recordings are equal and end at -57.67 mV in both. The returned voltage is -57.67 without checkpoints and
# -59.25 with them. The recording is cut back, the states are those after 256 steps, the last 55 without the current. A
# run in parts goes on from there.
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
from jaxley.channels import Leak

cell = jx.Cell()
cell.insert(Leak())
cell.set("v", -60.0)
cell.record(verbose=False)
cell.stimulate(jnp.full(201, 0.001), verbose=False)
plain, state = jx.integrate(cell, delta_t=0.025, return_states=True)
checked, later = jx.integrate(cell, delta_t=0.025, return_states=True, checkpoint_lengths=[16, 16])
returned = state["v"][0], later["v"][0]
print(f"last recorded {plain[0, -1]:.3f} and {checked[0, -1]:.3f} mV; returned {returned[0]:.3f} and {returned[1]:.3f} mV")
assert abs(plain - checked).max() < 1e-3
assert abs(state["v"][0] - plain[0, -1]) < 1e-3
assert abs(later["v"][0] + 59.248) < 0.02
PYTHON

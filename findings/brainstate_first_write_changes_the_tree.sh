#!/usr/bin/env bash
# brainstate 0.6.0 (JAX 0.12.0.1, Python 3.12 or later): a state that is written for the first time changes the pytree
# that it is in.
#
# Input: a GRUCell with initialised states, split by `treefy_split` into graph, parameters and hidden states; a step
# that merges them, updates the cell and splits again. The hidden states keep their shapes and dtypes.
#
# Expected: the hidden states after the step are a pytree of the same structure. So they can be the carry of
# `jax.lax.scan`, the step is traced once under `jax.jit`, and `jax.tree.map` takes before and after together.
#
# Seen: the flag `_been_writen` is part of the tree's structure, False before the first step and True after it. The scan
# raises TypeError, `jax.jit` traces the step twice, `jax.tree.map` raises ValueError. If each hidden state is written
# with its own value before the split, all three do as expected.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.13}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "brainstate==0.6.0" "jax==0.12.0.1" "jaxlib==0.12.0.1"
JAX_PLATFORMS=cpu "$folder/env/bin/python" - <<'PYTHON'
import brainstate
import jax
import jax.numpy as jnp
from brainstate.graph import treefy_merge, treefy_split

T, B = 5, 4
xs = jnp.ones((T, B, 2))


def trial(write_first):
    cell = brainstate.nn.GRUCell(2, 3)
    cell.init_state(B)
    if write_first:
        for state in cell.states(brainstate.HiddenState).values():
            state.value = state.value
    graph, parameters, start = treefy_split(cell, brainstate.ParamState, brainstate.HiddenState)

    def step(hidden, x):
        cell = treefy_merge(graph, parameters, hidden)
        out = cell.update(x)
        return treefy_split(cell, brainstate.ParamState, brainstate.HiddenState)[2], out

    def scanned():
        return jax.lax.scan(step, start, xs)[1].shape

    def traces():
        count = 0

        @jax.jit
        def jitted(hidden, x):
            nonlocal count
            count += 1
            return step(hidden, x)

        hidden = start
        for x in xs:
            hidden, _ = jitted(hidden, x)
        return count

    def moved():
        return jax.tree.map(jnp.subtract, step(start, xs[0])[0], start)["h"].value.shape

    before, after = ([(a.shape, a.dtype) for a in jax.tree.leaves(h)] for h in (start, step(start, xs[0])[0]))
    assert before == after
    results = {}
    for what in (scanned, traces, moved):
        try:
            results[what.__name__] = what()
        except Exception as error:
            results[what.__name__] = type(error)
            assert "('_been_writen', False)" in str(error)
    print("written first:" if write_first else "as initialised:", results)
    return results


assert trial(False) == {"scanned": TypeError, "traces": 2, "moved": ValueError}
assert trial(True) == {"scanned": (T, B, 3), "traces": 1, "moved": (B, 3)}
PYTHON

#!/usr/bin/env bash
# spyx 1.0.0 (flax 0.12.8, jax 0.10.2): `ChunkedSSM` of two causal layers is not causal, and has no blend to learn.
#
# Input: `ChunkedSSM(LRU(1), LRU(1), chunk_size=4)`, 8 steps; how the output at step 0 depends on the inputs; the
# parameters beside those of the two layers.
#
# Expected: only on step 0, as in the two layers alone and as in the H-Net that the docstring names, a causal model. And
# a parameter of the blend, which the docstring calls learnable.
#
# Seen: the output at step 0 depends on steps 0 to 3. The summary of a chunk is added to all steps of the same chunk. A
# model that predicts the next step is given it, for three steps of four. There is no parameter of a blend; the two are
# just added.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "spyx==1.0.0" "flax==0.12.8" "jax==0.10.2" "jaxlib==0.10.2" "optax==0.2.8" \
    "nir==1.0.8" "numpy==2.4.6"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from spyx.ssm import LRU, ChunkedSSM


def depends(model):
    return np.flatnonzero(np.abs(jax.jacobian(lambda u: model(u)[0, 0, 0])(jnp.ones((8, 1, 1))))[:, 0, 0] > 1e-6).tolist()


def size(model):
    return len(jax.tree.leaves(nnx.state(model, nnx.Param)))


inner, outer = LRU(1, 4, rngs=nnx.Rngs(0)), LRU(1, 4, rngs=nnx.Rngs(1))
for pool in ("mean", "last"):
    chunked = ChunkedSSM(inner, outer, chunk_size=4, pool=pool)
    print(f"step 0 of the inner layer: {depends(inner)}; of {pool}: {depends(chunked)}; "
          f"parameters: {size(inner)} + {size(outer)}, together {size(chunked)}")
    assert depends(inner) == [0] and depends(chunked) == [0, 1, 2, 3]
    assert size(chunked) == size(inner) + size(outer)
PYTHON

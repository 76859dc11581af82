#!/usr/bin/env bash
# spyx 1.0.0 (flax 0.12.8, jax 0.10.2): `PopulationCode(num_classes)` makes groups of `num_classes` neurons, not
# `num_classes` groups, and adds the samples of a batch to one row.
#
# Input: the activity of 6 neurons, 0 to 5, and a batch of 4 of them; `PopulationCode(2)`.
#
# Expected: 2 sums, one for each class, over 3 neurons each; (4, 2) for the batch. The only parameter is the number of
# classes.
#
# Seen: 3 sums over 2 neurons each; the batch comes out as one row of 12. Only where the number of neurons is the square
# of the number of classes the number of sums is the one of the classes.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "spyx==1.0.0" "flax==0.12.8" "jax==0.10.2" "jaxlib==0.10.2" "optax==0.2.8" \
    "nir==1.0.8" "numpy==2.4.6"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import jax.numpy as jnp
import spyx.nn

code = spyx.nn.PopulationCode(2)
one, batch = code(jnp.arange(6.0)), code(jnp.ones((4, 6)))
print(f"one sample: {one}; a batch of 4: {batch.shape}; 100 neurons of 2 classes: {code(jnp.ones(100)).shape}")
assert one.tolist() == [1.0, 5.0, 9.0]
assert batch.shape == (12,)
assert code(jnp.ones(100)).shape == (50,)
PYTHON

#!/usr/bin/env bash
# spyx 1.0.0 (flax 0.12.8, jax 0.10.2): `mse_spikerate` compares mean rates with numbers of spikes, so that the wished
# rate costs more than silence.
#
# Input: two samples of 100 steps and two classes; `mse_spikerate(sparsity=0.25)`; the neuron of the true class spikes at
# every fourth step, the other never.
#
# Expected: 0. The docstring calls `sparsity` the share of the time in which the neurons should spike, and that is the
# share here.
#
# Seen: 306.3. The traces are averaged over time (0.25), and the target is `sparsity` times the number of steps (25),
# which no train of spikes reaches. Silence costs 312.5, a spike of the true class at each step 288. The loss always asks
# for more spikes, and `sparsity` has no rate as its minimum.
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
import numpy as np
import spyx.fn

steps, targets = 100, jnp.array([0, 1])
wished, full = np.zeros((2, steps, 2), np.float32), np.zeros((2, steps, 2), np.float32)
for sample in range(2):
    wished[sample, ::4, sample] = 1
    full[sample, :, sample] = 1
loss = spyx.fn.mse_spikerate(sparsity=0.25)
at_wish, silent, always = (float(loss(jnp.asarray(x), targets)) for x in (wished, 0 * wished, full))
print(f"a quarter of the steps: {at_wish:.2f}; no spike: {silent:.2f}; each step: {always:.2f}")
assert abs(at_wish - 306.28) < 0.1
assert always < at_wish < silent
PYTHON

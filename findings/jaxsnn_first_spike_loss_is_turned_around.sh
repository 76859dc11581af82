#!/usr/bin/env bash
# jaxsnn 0.3.0 (jax 0.10.2): `ttfs_loss` is lower when the neuron of the true class spikes last, and its gradient drives
# the spike away.
#
# Input: three classes, class 0 is the true one, targets of `target_temporal_encode`; first spikes at 4, 6 and 6 ms
# (right) and at 6, 4 and 4 ms (wrong), tau_mem = 10 ms; `mse_loss` and `target_time_loss` as a comparison.
#
# Expected: a lower loss for the right order, and a positive derivative by the time of the true class, so that descent
# makes it earlier. The other two losses are so.
#
# Seen: -0.97 for the right, -1.24 for the wrong order, and a negative derivative. The logarithm of the sum of
# exp((t_true - t_n) / tau), which grows with a late true spike, is returned with a minus.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "jaxsnn==0.3.0" "jax==0.10.2" "jaxlib==0.10.2" "nir==1.0.8" "numpy==2.4.6" \
    "scipy==1.17.1"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import jax
import jax.numpy as jnp
from jaxsnn.event.encode import target_temporal_encode
from jaxsnn.event.loss import mse_loss, target_time_loss, ttfs_loss

target = target_temporal_encode(jnp.array(0), 4.5e-3, 5.5e-3, 3)
right, wrong, even = (1e-3 * jnp.array(t) for t in ([4.0, 6.0, 6.0], [6.0, 4.0, 4.0], [5.0, 5.0, 5.01]))
seen = {}
for loss in (ttfs_loss, mse_loss, target_time_loss):
    slope = float(jax.grad(loss)(even, target, 1e-2)[0])
    seen[loss.__name__] = float(loss(right, target, 1e-2)) < float(loss(wrong, target, 1e-2)), slope > 0
    print(f"{loss.__name__}: {loss(right, target, 1e-2):.3f}, wrong {loss(wrong, target, 1e-2):.3f}, slope {slope:.0f}")
assert seen["ttfs_loss"] == (False, False)
assert seen["mse_loss"] == seen["target_time_loss"] == (True, True)
PYTHON

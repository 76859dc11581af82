#!/usr/bin/env bash
# memorax 1.0.1 (flax 0.12.8, JAX 0.10.2): the bias of the input gate of mLSTMCell changes no output.
#
# Input: Memoroid(cell=mLSTMCell(...)) with one and with two heads, float64, no resets, 6 steps; the kernels of its
# gates drawn at random, the bias of its input gate set to -5, 0 and 5.
#
# Expected: the bias matters. The cell divides q C by max(|q n|, 1), as the xLSTM paper does, so a gate that is nearly
# shut gives nearly nothing. Its states are scaled by exp(-m), "for numerical stability": that should change no output.
#
# Seen: the outputs are the same for the three biases, and their derivative by it is zero, both to rounding. The bound
# of 1 is put on the scaled q n, which for states that are not scaled is max(|q n|, exp(m)): m grows as the bias does,
# and it cancels. A plain recurrence without scaling agrees to rounding if it divides by max(|q n|, exp(m)), and does
# not if it divides by max(|q n|, 1). For scaled states the bound would be exp(-m), as in the code of the paper's
# authors. (The formula at the head of the module, (q C) / (q n) without a bound, does not depend on the bias either,
# but gives other outputs.)
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "memorax==1.0.1" "flax==0.12.8" "jax==0.10.2" "jaxlib==0.10.2"
JAX_PLATFORMS=cpu "$folder/env/bin/python" -W ignore - <<'PYTHON'
import jax
import jax.numpy as jnp
import numpy as np
from memorax.networks.sequence_models import Memoroid, mLSTMCell

jax.config.update("jax_enable_x64", True)
T, F = 6, 4
x = 2 * jax.random.normal(jax.random.key(0), (1, T, F))
mask = jnp.zeros((1, T), bool)


def plain(weights, heads, divisor):
    """The recurrence, step by step and without scaling."""
    w = jax.tree.map(np.asarray, weights)["params"]["cell"]
    size = F // heads
    hidden = np.asarray(x[0]) @ w["in_proj"]["kernel"]
    q, k, v = ((hidden @ w[name]["kernel"]).reshape(T, heads, size) for name in "qkv")
    qkv = np.concatenate([q, k, v], -1).reshape(T, -1)
    log_i = qkv @ w["wi"]["kernel"] + w["wi"]["bias"]
    log_f = -np.log1p(np.exp(-(qkv @ w["wf"]["kernel"] + w["wf"]["bias"])))
    q, k = q / np.sqrt(size), k / np.sqrt(size)
    C, n, m, outputs = np.zeros((heads, size, size)), np.zeros((heads, size)), np.full(heads, -np.inf), []
    for t in range(T):
        i, f = np.exp(log_i[t]), np.exp(log_f[t])
        C = f[:, None, None] * C + i[:, None, None] * k[t][:, :, None] * v[t][:, None, :]
        n = f[:, None] * n + i[:, None] * k[t]
        m = np.maximum(m + log_f[t], log_i[t])
        read = np.einsum("hk,hkv->hv", q[t], C) / divisor(np.einsum("hk,hk->h", q[t], n), m)[:, None]
        outputs.append(read.reshape(-1) @ w["out_proj"]["kernel"])
    return np.stack(outputs)


DIVISORS = {
    "max(|qn|, 1)": lambda qn, m: np.maximum(abs(qn), 1) + 1e-6,
    "max(|qn|, exp(m))": lambda qn, m: np.maximum(abs(qn), np.exp(m)) + 1e-6 * np.exp(m),
    "qn": lambda qn, m: qn,
}
for heads in (1, 2):
    network = Memoroid(cell=mLSTMCell(F, F, heads, dtype=jnp.float64, param_dtype=jnp.float64))
    weights = network.init(jax.random.key(1), x, mask)
    for number, gate in enumerate(("wi", "wf")):
        kernel = weights["params"]["cell"][gate]["kernel"]
        weights["params"]["cell"][gate]["kernel"] = 0.2 * jax.random.normal(jax.random.key(2 + number), kernel.shape)

    def with_bias(b):
        copied = jax.tree.map(lambda leaf: leaf, weights)
        copied["params"]["cell"]["wi"]["bias"] = jnp.broadcast_to(jnp.asarray(b, float), (heads,))
        return copied

    def run(b):
        return network.apply(with_bias(b), x, mask)[1][0]

    at_zero = np.asarray(run(0.0))
    for b in (-5.0, 0.0, 5.0):
        found = np.asarray(run(b))
        off = {name: float(abs(plain(with_bias(b), heads, d) - found).max()) for name, d in DIVISORS.items()}
        slope = float(abs(jax.jacobian(run)(jnp.full(heads, b))).max())
        print(f"heads: {heads}, bias {b:4}: off from bias 0 by {abs(found - at_zero).max():.0e}, ", end="")
        print(f"derivative {slope:.0e}; off from", ", ".join(f"{name}: {value:.0e}" for name, value in off.items()))
        assert abs(found - at_zero).max() < 1e-10 and slope < 1e-10
        assert off["max(|qn|, exp(m))"] < 1e-10
        assert off["max(|qn|, 1)"] > 1e-2 and off["qn"] > 1e-2
PYTHON

#!/usr/bin/env bash
# memorax 1.0.1 (flax 0.12.8, JAX 0.10.2): LRUCell has the fields `dtype` and `param_dtype`, and uses neither.
#
# Input: Memoroid(cell=LRUCell(..., dtype=D, param_dtype=D)) on inputs of dtype D, with `jax_enable_x64`: D is float64,
# then bfloat16. Beside it MinGRUCell with the same two fields.
#
# Expected: parameters of dtype D; for float64 a carry that keeps its dtype, so that `jax.lax.scan` can hand it on, and
# the outputs of the same recurrence in NumPy to the rounding of float64. MinGRUCell has the first two (shown).
#
# Seen: the parameters of LRUCell are float32 whatever D is. With float64, the outputs are called float64 but are off by
# the rounding of float32, and the state is complex64 in the initial carry and complex128 in the next one: a scan over
# steps raises TypeError. No warning.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "memorax==1.0.1" "flax==0.12.8" "jax==0.10.2" "jaxlib==0.10.2"
JAX_PLATFORMS=cpu "$folder/env/bin/python" - <<'PYTHON'
import warnings

import jax
import jax.numpy as jnp
import numpy as np
from memorax.networks.sequence_models import LRUCell, Memoroid, MinGRUCell

jax.config.update("jax_enable_x64", True)
T, F, N = 50, 4, 3
mask = jnp.zeros((1, T), bool)


def dtypes(tree):
    return sorted({str(leaf.dtype) for leaf in jax.tree.leaves(tree)})


def recurrence(parameters, x):
    """The same in NumPy, float64 and complex128, from the parameters as they are."""
    p = {name: np.asarray(value, np.float64) for name, value in parameters["params"]["cell"].items()}
    decay = np.exp(-np.exp(p["nu_log"]) + 1j * np.exp(p["theta_log"]))
    into = (p["B_real"] + 1j * p["B_imag"]) * np.exp(p["gamma_log"])[:, None]
    state, outputs = np.zeros(N, complex), []
    for now in np.asarray(x[0]):
        state = decay * state + into @ now
        outputs.append(((p["C_real"] + 1j * p["C_imag"]) @ state).real + p["D"] * now)
    return np.stack(outputs)


def trial(of, dtype, **sizes):
    network = Memoroid(cell=of(**sizes, dtype=dtype, param_dtype=dtype))
    x = jax.random.normal(jax.random.key(0), (1, T, F)).astype(dtype)
    start = network.initialize_carry(jax.random.key(1), (1, F))
    parameters = network.init(jax.random.key(2), x, mask, start)
    carry, out = network.apply(parameters, x, mask, start)

    def step(carry, now):
        return network.apply(parameters, now[None, None], mask[:, :1], carry)

    try:
        jax.lax.scan(step, start, x[0])
        scanned = "runs"
    except TypeError:
        scanned = "TypeError"
    print(f"{of.__name__}, {dtype.__name__}: parameters {dtypes(parameters)}, ", end="")
    print(f"carry {dtypes(start)} -> {dtypes(carry)}, output {out.dtype}, scan: {scanned}")
    return parameters, x, out, scanned


with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    parameters, x, out, scanned = trial(LRUCell, jnp.float64, features=F, hidden_dim=N)
    bfloat16 = trial(LRUCell, jnp.bfloat16, features=F, hidden_dim=N)[0]
assert not [w for w in caught if "dtype" in str(w.message)]
off = float(np.abs(recurrence(parameters, x) - out[0]).max())
print(f"LRUCell, float64: off from NumPy by {off:.0e}")
assert dtypes(parameters) == dtypes(bfloat16) == ["float32"]
assert out.dtype == jnp.float64 and off > 1e-9 and scanned == "TypeError"
parameters, _, _, scanned = trial(MinGRUCell, jnp.float64, features=F)
assert dtypes(parameters) == ["float64"] and scanned == "runs"
assert dtypes(trial(MinGRUCell, jnp.bfloat16, features=F)[0]) == ["bfloat16"]
PYTHON

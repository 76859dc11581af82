#!/usr/bin/env bash
# braintrace 0.2.8 (brainstate 0.6.0, JAX 0.12.0.1, Python 3.12 or later): what stands around an operator is not
# differentiated, and no warning says so.
#
# Input: one leaky layer without recurrent weights, h <- 0.9 h + 0.1 tanh(y), and a linear readout; 8 steps, batch of 2;
# D-RTRL by `braintrace.compile(..., "d_rtrl")`, where it is exact. The drive is y = braintrace.matmul(x, w), or with
# something beside it: 2 * w, w * mask, a gain per unit behind it, a normalisation over units behind it, or a trained leak.
#
# Expected: the gradients of backpropagation through time, as for the plain operator (shown), or an error, or a warning.
#
# Seen: w gets the gradient of what the operator was given: half for 2 * w, not masked for w * mask (what the mask keeps
# is right). A gain behind the operator and a trained leak get zero; so does w where units are normalised behind it.
# The one warning is about the readout, whose gradient is right. `weight_fn=` of the operator does what 2 * w should.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.13}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "braintrace==0.2.8" "brainstate==0.6.0" "jax==0.12.0.1" "jaxlib==0.12.0.1"
JAX_PLATFORMS=cpu "$folder/env/bin/python" - <<'PYTHON'
import warnings

import brainstate
import braintrace
import jax
import jax.numpy as jnp

T, B, F, N = 8, 2, 3, 4
keys = jax.random.split(jax.random.key(0), 4)
start = {
    "w": jax.random.normal(keys[0], (F, N)),
    "gain": jnp.linspace(0.5, 2.0, N),
    "leak": jnp.linspace(0.5, 0.9, N),
    "readout": jax.random.normal(keys[1], (N, 2)),
}
xs, ys = jax.random.normal(keys[2], (T, B, F)), jax.random.normal(keys[3], (T, B, 2))
mask = (jnp.arange(F * N).reshape(F, N) % 3 > 0).astype(jnp.float32)


def normalised(y):
    return (y - y.mean(-1, keepdims=True)) / jnp.sqrt(y.var(-1, keepdims=True) + 1e-5)


DRIVES = {
    "plain": lambda mm, p, x: mm(x, p["w"]),
    "2 * w": lambda mm, p, x: mm(x, 2 * p["w"]),
    "w * mask": lambda mm, p, x: mm(x, p["w"] * mask),
    "gain behind": lambda mm, p, x: p["gain"] * mm(x, p["w"]),
    "normalised": lambda mm, p, x: normalised(mm(x, p["w"])),
    "weight_fn": lambda mm, p, x: mm(x, p["w"], weight_fn=lambda w: 2 * w) if mm is braintrace.matmul else mm(x, 2 * p["w"]),
    "trained leak": lambda mm, p, x: mm(x, p["w"]),
}


def step(name, mm, p, h, x):
    leak = p["leak"] if name == "trained leak" else 0.9
    return leak * h + 0.1 * jnp.tanh(DRIVES[name](mm, p, x))


def through_time(name):
    def loss(p):
        def one(h, now):
            h = step(name, jnp.matmul, p, h, now[0])
            return h, jnp.mean((h @ p["readout"] - now[1]) ** 2)

        return jax.lax.scan(one, jnp.zeros((B, N)), (xs, ys))[1].sum()

    return jax.grad(loss)(start)


class Network(brainstate.nn.Module):
    def __init__(self, name):
        super().__init__()
        self.of = name
        used = {"w", "readout"} | {"gain": {"gain"}, "trained": {"leak"}}.get(name.split()[0], set())
        self.held = {k: brainstate.ParamState(start[k]) for k in sorted(used)}

    def init_state(self, batch_size=None, **_):
        self.h = brainstate.HiddenState(jnp.zeros((batch_size, N)))

    def update(self, x):
        p = {k: s.value for k, s in self.held.items()}
        self.h.value = step(self.of, braintrace.matmul, p, self.h.value, x)
        return braintrace.matmul(self.h.value, p["readout"])


def online(name):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        learner = braintrace.compile(Network(name), "d_rtrl", xs[0], batch_size=B)
        found = learner.etrace_grad(xs, ys, step_fn=lambda x, y: jnp.mean((learner(x) - y) ** 2), reduction="sum")
    said = [str(w.message) for w in caught if "ETP" in str(w.message)]
    assert all("'readout'" in text for text in said), said
    return {path[-1]: leaf for path, leaf in found.items()}


def off(a, b):
    return float(jnp.linalg.norm(a - b) / jnp.linalg.norm(b))


for name in DRIVES:
    wanted, found = through_time(name), online(name)
    print(f"{name:14}", {k: f"{off(v, wanted[k]):.1e}" for k, v in found.items()})
    assert off(found["readout"], wanted["readout"]) < 1e-5
    if name in ("plain", "weight_fn", "gain behind", "trained leak"):
        assert off(found["w"], wanted["w"]) < 1e-5
    if name == "2 * w":
        assert off(2 * found["w"], wanted["w"]) < 1e-5
    if name == "w * mask":
        assert off(found["w"], wanted["w"]) > 0.1 and off(found["w"] * mask, wanted["w"]) < 1e-5
    for silent in {"gain behind": ["gain"], "trained leak": ["leak"], "normalised": ["w"]}.get(name, []):
        assert not found[silent].any() and wanted[silent].any()
PYTHON

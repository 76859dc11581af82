#!/usr/bin/env bash
# optax 0.2.8 (jax 0.10.2): `adadelta`, `contrib.prodigy` and `contrib.dadapt_adamw` take complex parameters and do not
# find the minimum that they find for the same two real numbers.
#
# Input: the minimum of |z|^2 from z = 1 + 2i, with conjugated gradients as optax asks for, and of x^2 + y^2 from (1, 2),
# 500 steps; Adam as a comparison. And one step of `adadelta` from z = 2i.
#
# Expected: losses near 0 in both. Most optimisers of optax take complex parameters, `sm3` refuses them with an error,
# and nothing is said for these. From 2i a step along the imaginary axis.
#
# Seen: Adam is near 0 in both. For complex z `prodigy` and `dadapt_adamw` end above the loss of 5 at which they began,
# with two real numbers at 1e-22. `adadelta` moves 2i along the real axis. The squares of gradients are taken without a
# conjugate, so that they are complex, and the root turns the step. `contrib.split_real_and_imaginary` around the
# optimiser helps. Recurrent layers with complex weights (LRU, S5) are such parameters.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "optax==0.2.8" "jax==0.10.2" "jaxlib==0.10.2" "numpy==2.4.6"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import jax
import jax.numpy as jnp
import optax


def loss(z):
    return jnp.sum(jnp.abs(z) ** 2)


def end(optimiser, z, steps=500):
    state = optimiser.init(z)
    for _ in range(steps):
        updates, state = jax.jit(optimiser.update)(jax.grad(loss)(z).conj(), state, z)
        z = optax.apply_updates(z, updates)
    return z


z, pair = jnp.array([1 + 2j]), jnp.array([1.0, 2.0])
ends = {}
for name, optimiser in (("adam", optax.adam(0.1)), ("prodigy", optax.contrib.prodigy(1.0)),
                        ("dadapt_adamw", optax.contrib.dadapt_adamw(1.0))):
    split = optax.contrib.split_real_and_imaginary(optimiser)
    ends[name] = [float(loss(e)) for e in (end(optimiser, z), end(optimiser, pair), end(split, z))]
    print(f"{name}: complex {ends[name][0]:.3g}, two real numbers {ends[name][1]:.3g}, split {ends[name][2]:.3g}")
step = end(optax.adadelta(1.0), jnp.array([2j]), steps=1)[0] - 2j
print(f"the first step of adadelta from 2i: {step:.3g}")
assert max(ends["adam"]) < 1e-5
assert all(ends[name][0] > 5 and max(ends[name][1:]) < 1e-5 for name in ("prodigy", "dadapt_adamw"))
assert abs(step.real) > 100 * abs(step.imag) and abs(step.real) > 0
PYTHON

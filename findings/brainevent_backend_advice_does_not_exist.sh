#!/usr/bin/env bash
# brainevent 0.3.0 (brainunit 0.6.0, JAX 0.12.0.1, Python 3.12 or later): installed as its README says, a product with a
# sparse matrix raises on a CPU, and two of the three ways out that the error names do not exist.
#
# Input: `pip install brainevent`; a CSR matrix of 2 x 2 with three entries, times a vector of ones, on a CPU.
#
# Expected: [3, 3]. Or an error whose advice can be followed.
#
# Seen: KernelCompilationError: the default backend on a CPU is numba, which only the extra `brainevent[cpu]` installs;
# the README names no extra. The other backend, jax_raw, needs nothing more, but is not tried. The error advises
# `csrmv.set_default('cpu', '<name>')` and `brainevent.set_backend('cpu', '<name>')`: both are AttributeErrors. What
# there is, is `brainevent.csrmv_p.set_default` and `brainevent.config.set_backend`. With either, or with
# `backend="jax_raw"`, which the error says first and which CSR takes, the product is [3, 3].
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.13}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "brainevent==0.3.0" "brainunit==0.6.0" "jax==0.12.0.1" "jaxlib==0.12.0.1"
JAX_PLATFORMS=cpu "$folder/env/bin/python" - <<'PYTHON'
import brainevent
import jax.numpy as jnp

x = jnp.ones(2)


def product(**options):
    entries = jnp.array([1.0, 2.0, 3.0]), jnp.array([0, 1, 0]), jnp.array([0, 2, 3])
    return (brainevent.CSR(entries, shape=(2, 2), **options) @ x).tolist()


def outcome(what):
    try:
        return what()
    except Exception as error:
        return error


def show(label, found):
    print(f"{label:44}", found if isinstance(found, list) else f"{type(found).__name__}: {found}")
    return found


error = show("csr @ x", outcome(product))
assert isinstance(error, brainevent.KernelCompilationError) and "No module named 'numba'" in str(error)
assert "csrmv.set_default('cpu', '<name>')" in str(error) and "brainevent.set_backend('cpu', '<name>')" in str(error)
for label, advised in {
    "brainevent.csrmv.set_default": lambda: brainevent.csrmv.set_default("cpu", "jax_raw"),
    "brainevent.set_backend": lambda: brainevent.set_backend("cpu", "jax_raw"),
}.items():
    assert isinstance(show(label, outcome(advised)), AttributeError)
assert show("csr @ x with backend='jax_raw'", outcome(lambda: product(backend="jax_raw"))) == [3.0, 3.0]
brainevent.config.set_backend("cpu", "jax_raw")
assert show("csr @ x after brainevent.config.set_backend", outcome(product)) == [3.0, 3.0]
brainevent.config.set_backend("cpu", None)
brainevent.csrmv_p.set_default("cpu", "jax_raw")
assert show("csr @ x after brainevent.csrmv_p.set_default", outcome(product)) == [3.0, 3.0]
PYTHON

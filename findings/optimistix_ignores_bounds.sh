#!/usr/bin/env bash
# optimistix 0.1.0 (equinox 0.13.8, lineax 0.1.1, JAX 0.10.2): bounds are kept by some solvers, by others dropped unsaid.
#
# Input: `options=dict(lower=..., upper=...)`, as Newton, Chord and Bisection document it, for other solvers of the same
# three functions: (y - 3)^2 for 0 <= y <= 1, and the root of y - 3 in the same interval.
#
# Expected: a solution within the bounds, or an error that names the option.
#
# Seen: BFGS, LBFGS, NonlinearCG, NelderMead, LevenbergMarquardt, GaussNewton and Dogleg return 3, outside the bounds and
# called successful. Newton, with the same options, does not leave them, and says that it found no root. A misspelt
# option (`uper`) is dropped by all without a word, by Newton as well.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "optimistix==0.1.0" "equinox==0.13.8" "lineax==0.1.1" "jax==0.10.2" "jaxlib==0.10.2"
JAX_PLATFORMS=cpu "$folder/env/bin/python" -W ignore - <<'PYTHON'
import jax
import jax.numpy as jnp
import optimistix as ox

jax.config.update("jax_enable_x64", True)
tolerances = {"rtol": 1e-8, "atol": 1e-8}
BOUNDS = {"lower": jnp.array(0.0), "upper": jnp.array(1.0)}
start = jnp.array(0.5)


def residual(y, args):
    return y - 3.0


def square(y, args):
    return residual(y, args) ** 2


def report(what, name, options=BOUNDS):
    function = square if what is ox.minimise else residual
    found = what(function, getattr(ox, name)(**tolerances), start, options=options, throw=False)
    successful = bool(found.result == ox.RESULTS.successful)
    print(f"{what.__name__:14}{name:20}{list(options)} -> {float(found.value):.6f}, successful: {successful}")
    return float(found.value), successful


ignoring = [(ox.minimise, name) for name in ("BFGS", "LBFGS", "NonlinearCG", "NelderMead")]
ignoring += [(ox.least_squares, name) for name in ("LevenbergMarquardt", "GaussNewton", "Dogleg")]
ignoring += [(ox.root_find, name) for name in ("LevenbergMarquardt", "Dogleg")]
for what, name in ignoring:
    value, successful = report(what, name)
    assert successful and abs(value - 3.0) < 1e-4
value, successful = report(ox.root_find, "Newton")
assert value <= 1.0 and not successful
value, successful = report(ox.root_find, "Newton", {"lower": jnp.array(0.0), "uper": jnp.array(1.0)})
assert successful and abs(value - 3.0) < 1e-4
PYTHON

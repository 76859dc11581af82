#!/usr/bin/env bash
# saiunit 0.6.0 (JAX 0.12.0.1, Python 3.12 or later): `saiunit.math.cov` of two quantities in different units gives
# wrong variances.
#
# Input: cov(x, y) of the same four voltages twice, each in mV or in V; then of voltages in mV with currents in nA.
#
# Expected: all four elements are the variance of the voltages, 1.67 mV^2, in whichever unit x and y are, as they are
# for one unit. The voltages with the currents: an error, since no one unit is right for all elements.
#
# Seen: with one in mV and one in V the covariances are right. Each variance has the number of its own unit, but the
# unit of the covariance, mV V: the same voltages have a variance of 1667 mV^2 where they were in mV, and of 0.00167
# mV^2 where they were in V. The variance of the voltages beside currents is called 1.67 pW. Nothing is raised. The
# docstring announces this unit, `m.unit * y.unit`, but only the covariances of x with y have it. `saiunit.math.stack`
# converts, as + does; cov of what it returns is right.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.13}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "saiunit==0.6.0" "jax==0.12.0.1" "jaxlib==0.12.0.1"
JAX_PLATFORMS=cpu "$folder/env/bin/python" - <<'PYTHON'
import jax.numpy as jnp
import numpy as np
import saiunit as u

numbers = jnp.array([1.0, 2.0, 3.0, 4.0])
voltages = {"mV": numbers * u.mV, "V": numbers * 1e-3 * u.volt}
right = jnp.var(numbers, ddof=1)


def show(label, found):
    number = np.asarray(found.to_decimal(u.mV**2), float)
    print(f"{label:22}", number.round(6).tolist(), "mV^2")
    return number


for one, x in voltages.items():
    for other, y in voltages.items():
        assert np.allclose((x + y).to_decimal(u.mV), 2 * numbers)
        assert np.allclose(show(f"cov of stacked {one}, {other}", u.math.cov(u.math.stack([x, y]))), right)
        found = show(f"cov({one}, {other})", u.math.cov(x, y))
        scale = {"mV": 1e3, "V": 1e-3}
        variances = [right, right] if one == other else [right * scale[one], right * scale[other]]
        assert np.allclose(np.diag(found), variances) and np.allclose(found[[0, 1], [1, 0]], right)

found = u.math.cov(voltages["mV"], numbers * u.nA)
print("cov(mV, nA)", found)
assert np.allclose(found.to_decimal(u.mV * u.nA), right)
PYTHON

#!/usr/bin/env bash
# brainpy 2.8.2 with brainpy-state 0.1.0 (jax 0.10.2; the same in brainpy 2.9.0): the noise of `OUProcessInput` and
# `WienerProcessInput` depends on the unit in which the time step is written.
#
# Input: an OU process with mean 0, sigma = 1 mA and tau = 10 ms, 500 channels, 1,000 steps, with dt = 0.1 ms, 100 us and
# 0.0001 s, the same step, and one seed.
#
# Expected: the same numbers. All times carry units, and the docstring gives the variance sigma^2 tau / 2.
#
# Seen: standard deviations of 2.26, 71.4 and 0.071 mA. The square root is taken of the bare number of the step in the
# unit in which it stands, so that sigma is per root of a millisecond, microsecond or second.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "brainpy==2.8.2" "brainpy-state==0.1.0" "brainstate==0.5.4" "braintools==0.3.0" \
    "brainunit==0.5.2" "saiunit==0.5.2" "brainevent==0.2.1" "jax==0.10.2" "jaxlib==0.10.2" "numpy==2.4.6"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import brainpy.state as bp
import brainstate
import brainunit as u
import jax.numpy as jnp
import numpy as np


def spread(make, steps, dt):
    brainstate.random.seed(0)
    with brainstate.environ.context(dt=dt):
        noise = make()
        brainstate.nn.init_all_states(noise)

        def step(i):
            with brainstate.environ.context(t=i * dt, i=i):
                return noise.update()

        currents = brainstate.transform.for_loop(step, jnp.arange(steps))
    return float(np.std(np.asarray(currents[-1].to_decimal(u.mA))))


def ou():
    return bp.OUProcessInput(500, mean=0.0 * u.mA, sigma=1.0 * u.mA, tau=10 * u.ms, duration=1e5 * u.ms)


def wiener():
    return bp.WienerProcessInput(500, sigma=1.0 * u.mA, duration=1e5 * u.ms)


for make, steps in ((ou, 1000), (wiener, 10)):
    ms, us, s = (spread(make, steps, dt) for dt in (0.1 * u.ms, 100 * u.us, 1e-4 * u.second))
    print(f"{make.__name__}: standard deviation with 0.1 ms {ms:.3g} mA, 100 us {us:.3g} mA, 0.0001 s {s:.3g} mA")
    assert abs(us / ms - 1000**0.5) < 0.1 and abs(ms / s - 1000**0.5) < 0.1
PYTHON

#!/usr/bin/env bash
# elephant 1.2.1 (neo 0.14.6, quantities 0.16.4): the window of `spike_time_tiling_coefficient` grows with the time of
# the spikes: after 300 s it is 3 ms wider on each side, after an hour 36 ms.
#
# Input: two regular trains, 8 ms apart, with dt = 5 ms; the same recording with a clock that starts at 0, at 300 s and
# at 1,000 s.
#
# Expected: the same coefficient, below 0: no spike is within 5 ms of one of the other train.
#
# Seen: -0.1, 1.0 and 1.0. Spikes are compared with a relative tolerance of 1e-5 of their times beside dt, that of
# `numpy.isclose`.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "elephant==1.2.1" "neo==0.14.6" "quantities==0.16.4" "numpy==2.4.6" "scipy==1.17.1"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import numpy as np
import quantities as pq
from elephant.spike_train_correlation import spike_time_tiling_coefficient
from neo import SpikeTrain

times, seen = 0.1 * np.arange(200) + 0.05, []
for start in (0, 300, 1000):
    trains = [SpikeTrain(start + times + shift, units="s", t_start=start, t_stop=start + 20) for shift in (0, 0.008)]
    seen.append(float(spike_time_tiling_coefficient(*trains, dt=5 * pq.ms)))
    print(f"clock starts at {start:4d} s: {seen[-1]:.3f}")
assert abs(seen[0] + 0.1) < 1e-3
assert abs(seen[2] - 1) < 1e-9
PYTHON

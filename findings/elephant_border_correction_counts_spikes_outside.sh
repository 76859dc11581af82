#!/usr/bin/env bash
# elephant 1.2.1 (neo 0.14.6, quantities 0.16.4): `instantaneous_rate` with `border_correction` in a part of the
# recording is scaled to the spikes of all of it.
#
# Input: ten spikes, one of them between 400 and 600 ms, `t_start` = 400 ms and `t_stop` = 600 ms, a Gaussian kernel of
# 20 ms.
#
# Expected: one spike in the integral of the rate: `t_start` and `t_stop` are the interval to compute the rate, and the
# correction is to mend what is lost at its borders.
#
# Seen: 1.0 without and 10.0 with the correction, ten times too high. It takes the number of spikes of the whole train.
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
from elephant.kernels import GaussianKernel
from elephant.statistics import instantaneous_rate
from neo import SpikeTrain

train = SpikeTrain([20, 60, 100, 140, 180, 500, 820, 860, 900, 940], units="ms", t_stop=1000)
seen = []
for correction in (False, True):
    rate = instantaneous_rate(train, sampling_period=1 * pq.ms, kernel=GaussianKernel(20 * pq.ms), t_start=400 * pq.ms,
                              t_stop=600 * pq.ms, border_correction=correction)
    seen.append(float(rate.rescale("1/ms").magnitude.sum()))
    print(f"border_correction={correction}: {seen[-1]:.3f} spikes from 400 to 600 ms")
assert np.allclose(seen, [1, 10], atol=1e-3)
PYTHON

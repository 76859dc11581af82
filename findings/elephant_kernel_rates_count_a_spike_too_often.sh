#!/usr/bin/env bash
# elephant 1.2.1 (neo 0.14.6, quantities 0.16.4): `instantaneous_rate` is up to 9 % too high for a usual kernel: the
# kernel is not sampled in steps of `sampling_period`.
#
# Input: one spike, steps of 1 ms, Gaussian kernels with sigma 1, 1.1, 1.5, 2.1 and 3.3 ms, all else by default; the
# integral of the rate.
#
# Expected: 1 for all: a kernel has an area of one, and 1.1 ms is sampled well enough, as 1 ms shows.
#
# Seen: 1.000, 1.091, 1.067, 1.048, 1.030. Five sigma are cut into a whole number of steps, which are then shorter than
# `sampling_period`, but are put one in each of its bins. The documentation says that the same resolution is used for
# the kernel. Counts of spikes, and comparisons of widths, are off by that factor.
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

train, seen = SpikeTrain([500], units="ms", t_stop=1000), []
for sigma in (1.0, 1.1, 1.5, 2.1, 3.3):
    rate = instantaneous_rate(train, sampling_period=1 * pq.ms, kernel=GaussianKernel(sigma * pq.ms))
    seen.append(float(rate.rescale("1/ms").magnitude.sum()))
    print(f"sigma {sigma} ms: the rate integrates to {seen[-1]:.3f} spikes; {np.ceil(5 * sigma) / (5 * sigma):.3f} by the steps of the kernel")
assert np.allclose(seen, [1, 1.0909, 1.0667, 1.0476, 1.0303], atol=1e-3)
PYTHON

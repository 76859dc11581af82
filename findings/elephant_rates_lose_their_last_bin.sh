#!/usr/bin/env bash
# elephant 1.2.1 (neo 0.14.6, quantities 0.16.4): `instantaneous_rate` loses the last bin, and its spikes, where the
# division of two times is rounded down.
#
# Input: four spikes in 0.3 s, two of them in the last 0.1 s; a `sampling_period` of 0.1 s, and of 100 ms for a train in
# ms.
#
# Expected: three values: (t_stop - t_start) / sampling_period, as documented. `BinnedSpikeTrain` has three bins, and
# logs that it corrected a rounding error.
#
# Seen: two values and no warning in seconds, three in milliseconds. 0.3 / 0.1 is 2.9999999999999996, which is cut to 2.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "elephant==1.2.1" "neo==0.14.6" "quantities==0.16.4" "numpy==2.4.6" "scipy==1.17.1"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import logging
import quantities as pq
from elephant.conversion import BinnedSpikeTrain
from elephant.kernels import RectangularKernel
from elephant.statistics import instantaneous_rate
from neo import SpikeTrain

logging.disable()
seconds = SpikeTrain([0.05, 0.15, 0.25, 0.27], units="s", t_stop=0.3)
binned = BinnedSpikeTrain(seconds, bin_size=0.1 * pq.s).to_array()[0].tolist()
sizes = []
for train, step in ((seconds, 0.1 * pq.s), (seconds.rescale("ms"), 100 * pq.ms)):
    rate = instantaneous_rate(train, sampling_period=step, kernel=RectangularKernel(0.02 * pq.s))
    sizes.append(len(rate))
    print(f"step {step}: {len(rate)} values, up to {rate.t_stop}; BinnedSpikeTrain: {binned}")
assert sizes == [2, 3] and binned == [1, 1, 2]
PYTHON

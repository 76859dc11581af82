#!/usr/bin/env bash
# elephant 1.2.1 (neo 0.14.6, quantities 0.16.4): `StationaryPoissonProcess` with a `refractory_period` starts at time
# 0, and not at `t_start`.
#
# Input: 100 Hz from -1 s to 1 s, 1 ms refractory, 20 spike trains; the same without the refractory period; and from 5 s
# to 6 s as arrays.
#
# Expected: about 200 spikes in each of the first, 100 of them before 0; none before 5 s in the last.
#
# Seen: nine of ten are silent for the whole second before 0, and have half the rate. From 5 s to 6 s the arrays have
# spikes from 0 s on. Where the first spike is drawn, `t_start` is added in one of two cases, that of a spike within the
# refractory period.
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
from elephant.spike_train_generation import StationaryPoissonProcess

np.random.seed(0)
early = {}
for refractory in (None, 1 * pq.ms):
    process = StationaryPoissonProcess(100 * pq.Hz, t_start=-1 * pq.s, t_stop=1 * pq.s, refractory_period=refractory)
    trains = [t.rescale("s").magnitude for t in process.generate_n_spiketrains(20)]
    early[refractory is None] = np.array([(t < 0).sum() for t in trains])
    print(f"refractory period {refractory}: spikes before 0 in 20 trains {early[refractory is None].tolist()}")
late = StationaryPoissonProcess(100 * pq.Hz, t_start=5 * pq.s, t_stop=6 * pq.s, refractory_period=1 * pq.ms)
arrays = late.generate_n_spiketrains(20, as_array=True)
print(f"from 5 s to 6 s: {np.mean([a[0] < 5 for a in arrays]):.0%} of 20 arrays begin before 5 s, {np.median([len(a) for a in arrays]):.0f} spikes")
assert early[True].min() > 50
assert (early[False] == 0).sum() >= 10
assert np.mean([a[0] < 1 for a in arrays]) >= 0.5
PYTHON

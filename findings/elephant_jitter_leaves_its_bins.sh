#!/usr/bin/env bash
# elephant 1.2.1 (neo 0.14.6, quantities 0.16.4): `jitter_spikes` moves spikes out of their bins, by hundreds of
# milliseconds, if the spike train does not start at 0.
#
# Input: four spikes, 10, 110, 310 and 510 ms after the start, bins of 100 ms, a start at 0 and at 100 ms, 200
# surrogates.
#
# Expected: each spike somewhere in its own bin of 100 ms, so that none moves by 100 ms.
#
# Seen: so with a start at 0. With a start at 100 ms all move by 290 to 390 ms. The start is added to the edges that
# have it already, once more to the spikes, and not subtracted where the bin of a spike is counted. Many other starts
# stop with an error.
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
from elephant.spike_train_surrogates import jitter_spikes
from neo import SpikeTrain

np.random.seed(0)
moves = []
for start in (0, 100):
    train = SpikeTrain(start + np.array([10.0, 110, 310, 510]), units="ms", t_start=start, t_stop=start + 1000)
    surrogates = jitter_spikes(train, bin_size=100 * pq.ms, n_surrogates=200)
    moved = np.array([s.magnitude - train.magnitude for s in surrogates])
    moves.append((moved.min(), moved.max()))
    print(f"start at {start} ms: spikes move by {moved.min():.0f} to {moved.max():.0f} ms")
assert -100 < moves[0][0] and moves[0][1] < 100
assert moves[1][0] > 150 and moves[1][1] > 300
PYTHON

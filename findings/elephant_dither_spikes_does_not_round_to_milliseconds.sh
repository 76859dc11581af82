#!/usr/bin/env bash
# elephant 1.2.1 (neo 0.14.6, quantities 0.16.4): `dither_spikes(decimals=0)` does not round.
#
# Input: two spikes, `decimals=0`, as in the example of its documentation, and `decimals=1`;
# `randomise_spikes(decimals=0)` beside it.
#
# Expected: whole milliseconds: None means machine precision, 0 no decimals. The example shows 81., 242., 595., 799.
#
# Seen: full precision with 0, one decimal with 1. The value is tested for truth, and 0 is false. `randomise_spikes`
# rounds.
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
from elephant.spike_train_surrogates import dither_spikes, randomise_spikes
from neo import SpikeTrain

np.random.seed(0)
train = SpikeTrain([100, 250], units="ms", t_stop=1000)
dithered = {d: dither_spikes(train, 20 * pq.ms, decimals=d)[0].magnitude for d in (0, 1)}
random = randomise_spikes(train, decimals=0)[0].magnitude
print(f"dither_spikes: decimals=0 {dithered[0]}, decimals=1 {dithered[1]}; randomise_spikes: decimals=0 {random}")
assert not np.allclose(dithered[0], dithered[0].round(), atol=1e-6)
assert np.allclose(dithered[1], dithered[1].round(1)) and np.array_equal(random, random.round())
PYTHON

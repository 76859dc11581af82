#!/usr/bin/env bash
# elephant 1.2.1 (neo 0.14.6, quantities 0.16.4): `cross_correlation_histogram` with a window that is not symmetric puts
# its counts at wrong lags, and returns fewer of them than lags.
#
# Input: a spike at bin 50 in the first train, at bin 45 in the second: one pair at lag -5. Windows [-10, 10], [-10, 5],
# [-10, -2], the default `method='speed'` and `method='memory'`.
#
# Expected: the pair at lag -5 for all windows, and as many counts as lags. Window: two integers, the left and right
# extremes.
#
# Seen: 'memory' does that. 'speed' is right for [-10, 10]; for [-10, 5] it has 11 counts for 16 lags, and the pair is
# at -10; for [-10, -2] one count, of nothing. It pads by the shorter side of the window on both sides.
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
from elephant.conversion import BinnedSpikeTrain
from elephant.spike_train_correlation import cross_correlation_histogram
from neo import SpikeTrain

first, second = (BinnedSpikeTrain(SpikeTrain([t], units="ms", t_stop=100), bin_size=1 * pq.ms) for t in (50.5, 45.5))
seen = {}
for method in ("memory", "speed"):
    for window in ([-10, 10], [-10, 5], [-10, -2]):
        counts, lags = cross_correlation_histogram(first, second, window=window, method=method)
        place = [round(float(t), 3) + 0.5 for t in counts.times[counts.magnitude[:, 0] > 0].rescale("ms")]
        seen[method, window[1]] = len(counts), len(lags), place
        print(f"{method}, window {window}: {len(counts)} counts for {len(lags)} lags, the pair at {place} ms")
assert all(seen["memory", right] == (right + 11, right + 11, [-5.0]) for right in (10, 5, -2))
assert seen["speed", 10] == (21, 21, [-5.0])
assert seen["speed", 5] == (11, 16, [-10.0])
assert seen["speed", -2] == (1, 9, [])
PYTHON

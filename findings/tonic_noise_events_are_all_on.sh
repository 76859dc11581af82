#!/usr/bin/env bash
# tonic 1.7.0: `UniformNoise` adds ON events only if the polarity is a Boolean, as it is in DVSGesture, CIFAR10DVS and
# other data sets of tonic.
#
# Input: 1,000 noise events, with the polarity as int8 and as bool; `tonic.io.events_struct` has bool.
#
# Expected: half of them ON: noise that is uniform in x, y, t and p.
#
# Seen: about a half with integers, all with Booleans. A number between 0 and 2 is drawn, and all but exactly 0 is true.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "tonic==1.7.0" "numpy==2.4.6"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import numpy as np
from tonic.io import events_struct
from tonic.transforms import UniformNoise

np.random.seed(0)
shares = []
for kind in (np.dtype([("x", np.int16), ("y", np.int16), ("t", np.int64), ("p", np.int8)]), events_struct):
    events = np.zeros(2, kind)
    events["t"] = [0, 1_000_000]
    noisy = UniformNoise(sensor_size=(10, 10, 2), n=1000)(events)
    shares.append(int(noisy["p"].sum()) / 1000)
    print(f"polarity as {kind['p']}: {100 * shares[-1]:.0f} % of the noise is ON")
assert abs(shares[0] - 0.5) < 0.05 and shares[1] == 1.0
PYTHON

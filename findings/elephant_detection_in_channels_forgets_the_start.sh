#!/usr/bin/env bash
# elephant 1.2.1 (neo 0.14.6, quantities 0.16.4): `threshold_detection` and `peak_detection` shift all spikes if the
# signal has more than one channel and does not start at 0.
#
# Input: one pulse in each of two channels, 40 ms after the start of a signal that starts at 10 s; all channels and one
# channel.
#
# Expected: a spike at 10.04 s in both cases.
#
# Seen: 10.04 s for one channel, 0.04 s for two, in spike trains that start at 0. The channels are copied without their
# start.
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
from elephant.spike_train_generation import peak_detection, threshold_detection
from neo import AnalogSignal

values = np.zeros((100, 2))
values[40] = 1
signal = AnalogSignal(values, units="mV", sampling_rate=1 * pq.kHz, t_start=10 * pq.s)
for detect in (threshold_detection, peak_detection):
    one = detect(signal[:, :1], 0.5 * pq.mV)
    two = detect(signal, 0.5 * pq.mV)
    print(f"{detect.__name__}: one channel {one.times}, two channels {[str(t.times) for t in two]}")
    assert np.isclose(float(one[0]), 10.04)
    assert all(np.isclose(float(t[0]), 0.04) for t in two)
PYTHON

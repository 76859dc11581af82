#!/usr/bin/env bash
# elephant 1.2.1 (neo 0.14.6, quantities 0.16.4): `weighted_phase_lag_index` of two `AnalogSignal`s takes the Fourier
# transform over trials, and not over time.
#
# Input: two signals of 1,000 samples at 1 kHz in 20 trials, 40 Hz in both, one 0.8 rad behind; as `AnalogSignal`, where
# time is the first axis, and as an array of trials by time.
#
# Expected: 501 frequencies from 0 to 500 Hz, and 1 at 40 Hz, in both cases: `AnalogSignal` is listed as an input, with
# its sampling rate.
#
# Seen: so for the array. For the signal 11 frequencies, in steps of 50 Hz, which are those of 20 samples: the trials,
# over which it transforms, while it averages over time. They are 0.7 to 1 at all of them. `phase_locking_value` as well
# has an array (time, trials) in its documentation, and averages over the first axis.
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
from elephant.phase_analysis import phase_locking_value, weighted_phase_lag_index
from neo import AnalogSignal

random = np.random.default_rng(0)
time, phase = np.arange(1000)[:, None] / 1000, random.uniform(0, 2 * np.pi, 20)
first = np.sin(2 * np.pi * 40 * time + phase)
second = np.sin(2 * np.pi * 40 * time + phase - 0.8) + 0.1 * random.normal(size=first.shape)
signals = [AnalogSignal(x, units="mV", sampling_rate=1 * pq.kHz) for x in (first, second)]
f_signal, w_signal = weighted_phase_lag_index(*signals)
f_array, w_array = weighted_phase_lag_index(first.T, second.T, 1 * pq.kHz)
print(f"arrays: {len(f_array)} frequencies, {w_array[40]:.3f} at 40 Hz")
print(f"AnalogSignal: {len(f_signal)} frequencies {f_signal.rescale('Hz')}, values {w_signal.round(2)}")
print("phase_locking_value of (1000 times, 20 trials):", phase_locking_value(first, second).shape)
assert len(f_array) == 501 and w_array[40] > 0.99
assert len(f_signal) == 11 and np.nanmin(w_signal[1:-1]) > 0.5
assert phase_locking_value(first, second).shape == (20,)
PYTHON

#!/usr/bin/env bash
# elephant 1.2.1 (neo 0.14.6, quantities 0.16.4): `cross_correlation_function(n_lags=...)` returns a signal whose lags
# are wrong: they begin at that of the uncut function.
#
# Input: a channel with a pulse at sample 50, another with a pulse at sample 53, 1,001 samples at 1 Hz, with and without
# `n_lags=10`.
#
# Expected: lags from -10 to 10, with the peak where it is without `n_lags`: `n_lags` only cuts. The example in the
# documentation plots the function over these times.
#
# Seen: lags from -500 to -480, the peak at -493. (Without `n_lags` it is at -3, though by the formula in the
# documentation, the mean of x(t) y(t + lag), it belongs to +3.)
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
from elephant.signal_processing import cross_correlation_function
from neo import AnalogSignal

values = np.zeros((1001, 2))
values[50, 0] = values[53, 1] = 1
signal = AnalogSignal(values, units="mV", sampling_rate=1 * pq.Hz)
peaks = []
for lags in (None, 10):
    result = cross_correlation_function(signal, [0, 1], n_lags=lags)
    times = result.times.rescale("s").magnitude
    peaks.append(float(times[np.argmax(result.magnitude[:, 0])]))
    print(f"n_lags={lags}: lags {times[0]:.0f} to {times[-1]:.0f} s, peak at {peaks[-1]:.0f} s")
assert peaks == [-3.0, -493.0]
PYTHON

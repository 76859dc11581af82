#!/usr/bin/env bash
# elephant 1.2.1 (neo 0.14.6, quantities 0.16.4): `rauc` with a `bin_duration` leaves out the last interval of each bin:
# a bin of ten samples has nine tenths of its area.
#
# Input: a constant signal of 1 mV for 1 s at 1 kHz, bins of 1, 2, 10 and 100 ms.
#
# Expected: the duration of the bin times 1 mV, and 1 mV s in all (0.999, as the whole signal has, for the last sample).
#
# Seen: 0, half, 90 % and 99 % of that. Each bin is integrated from its first to its last sample, and what lies between
# two bins is in neither of them. Values for different bins cannot be compared.
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
from elephant.signal_processing import rauc
from neo import AnalogSignal

signal = AnalogSignal(np.ones(1000), units="mV", sampling_rate=1 * pq.kHz)
whole = float(rauc(signal).rescale("mV*s"))
shares = []
for duration in (1, 2, 10, 100):
    areas = rauc(signal, bin_duration=duration * pq.ms).rescale("mV*s").magnitude
    shares.append(float(areas.sum()))
    print(f"bins of {duration:3d} ms: {areas[0, 0] * 1000:.0f} uV s each, {shares[-1]:.3f} mV s in all; without bins {whole:.3f}")
assert np.allclose(shares, [0, 0.5, 0.9, 0.99])
PYTHON

#!/usr/bin/env bash
# tonic 1.7.0: `ToFrame(n_time_bins=n)` leaves out the last event, and takes a `start_time` and an `end_time` that it does
# not use.
#
# Input: eight events, one in each millisecond from 0 to 7; seven bins, with and without start_time=0, end_time=14000.
#
# Expected: eight events in the frames; and with 14 ms in seven bins of 2 ms, two events in each of the first four.
#
# Seen: seven events, one in each bin, both times: bins reach from the first event to the last, which is outside.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "tonic==1.7.0" "numpy==2.4.6"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import numpy as np
from tonic.transforms import ToFrame

events = np.zeros(8, [("t", int), ("x", int), ("p", int)])
events["t"] = 1000 * np.arange(8)
by_number = ToFrame(sensor_size=(4, 1, 1), n_time_bins=7)(events)
with_times = ToFrame(sensor_size=(4, 1, 1), n_time_bins=7, start_time=0, end_time=14_000)(events)
counts = [int(with_times[i].sum()) for i in range(7)]
print(f"{by_number.sum()} of 8 events; with start and end by bin: {counts}")
assert by_number.sum() == 7
assert counts == [1] * 7
PYTHON

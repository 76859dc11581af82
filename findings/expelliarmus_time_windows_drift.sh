#!/usr/bin/env bash
# expelliarmus 1.1.12: the windows of `read_time_window` are no windows of time: each begins at the first event after
# the last one, and contains the event that is beyond its end.
#
# Input: six events at 0, 0.1, 10.05, 25, 30.01 and 30.02 ms; one event each millisecond for 1 s; windows of 10 ms, DAT.
#
# Expected: chunks of at most 10 ms, as documented, and 100 of them in 1 s, so that the number of a window is its time.
#
# Seen: two windows, 0 to 10.05 ms and 25 to 30.02 ms, and not four; 91 windows of 11 events in 1 s. Rates per window
# are 10 % too high, and after 1 s the count of windows is 90 ms behind.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "expelliarmus==1.1.12" "numpy==2.4.6"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import pathlib
import tempfile

import numpy as np
from expelliarmus import Wizard

seen = []
with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / "events.dat"
    for times in ([0, 100, 10_050, 25_000, 30_010, 30_020], 1000 * np.arange(1000)):
        events = np.zeros(len(times), [("t", np.int64), ("x", np.int16), ("y", np.int16), ("p", np.uint8)])
        events["t"] = times
        Wizard(encoding="dat").save(path, events)
        seen.append([w["t"].tolist() for w in Wizard(encoding="dat", fpath=path, time_window=10_000).read_time_window()])
print("six events:", seen[0])
print(f"1 s: {len(seen[1])} windows, the first with {len(seen[1][0])} events, the second from {seen[1][1][0]}")
assert seen[0] == [[0, 100, 10_050], [25_000, 30_010, 30_020]]
assert len(seen[1]) == 91 and len(seen[1][0]) == 11
PYTHON

#!/usr/bin/env bash
# aestream 0.6.4: reading EVT3, aestream gives times that are wrong by multiples of 4,096 microseconds and not in order.
#
# Input: seven events from 0 to 20 ms, written word by word as the format is described: the upper 12 bits of the time
# where they change, the lower 12 bits, y, x.
#
# Expected: 0, 1, 1000, 5000, 5001, 9000, 20000: a time is upper * 4096 + lower.
#
# Seen: 0, 4097, 9193, 6001, 6906, 11810, 23618. The pixels are right. The reader adds up the lower halves, where each
# replaces the former one, and adds a step of 4,096 of its own where a lower half is larger than that sum.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "aestream==0.6.4" "numpy==2.4.6"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import pathlib
import tempfile

import numpy as np

def evt3(times, path):
    "one ON event at each time: words of 16 bits, by the description of the format"
    words, high = [], -1
    for k, t in enumerate(times):
        while high < t >> 12:
            high += 1
            words.append(0x8000 | high)
        words += [0x6000 | t & 0xFFF, 0x0000 | k % 400, 0x2000 | 0x800 | k % 400]
    path.write_bytes(b"% evt 3.0\n% format EVT3;height=480;width=640\n% end\n" + np.array(words, "<u2").tobytes())

import aestream

written = [0, 1, 1000, 5000, 5001, 9000, 20_000]
with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / "events.raw"
    evt3(written, path)
    events = aestream.FileInput(str(path), (640, 480)).load()
read = events["timestamp"].tolist()
print("written:", written)
print("read:   ", read, "x:", events["x"].tolist())
assert events["x"].tolist() == list(range(7))
assert read != sorted(read) and read[1] == 4097
PYTHON

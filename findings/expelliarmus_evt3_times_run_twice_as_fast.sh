#!/usr/bin/env bash
# expelliarmus 1.1.12: reading EVT3, expelliarmus counts each step of the upper half of the time twice: recordings
# become up to twice as long.
#
# Input: seven events from 0 to 20 ms, and one event each millisecond for 10 s, written word by word as the format is
# described: the upper 12 bits of the time where they change, the lower 12 bits, y, x.
#
# Expected: the times as they are: a time is upper * 4096 + lower.
#
# Seen: 5,000 is read as 9,096, 9,000 as 17,192, and 10 s as 20 s. Where the lower half becomes smaller the reader adds
# 4,096, for good, although the upper half has been written, and read. The lower bits are right, so that short intervals
# look well.
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

def evt3(times, path):
    "one ON event at each time: words of 16 bits, by the description of the format"
    words, high = [], -1
    for k, t in enumerate(times):
        while high < t >> 12:
            high += 1
            words.append(0x8000 | high)
        words += [0x6000 | t & 0xFFF, 0x0000 | k % 400, 0x2000 | 0x800 | k % 400]
    path.write_bytes(b"% evt 3.0\n% format EVT3;height=480;width=640\n% end\n" + np.array(words, "<u2").tobytes())

from expelliarmus import Wizard

with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / "events.raw"
    few, many = np.array([0, 1, 1000, 5000, 5001, 9000, 20_000]), 1000 * np.arange(10_000)
    evt3(few, path)
    read = Wizard(encoding="evt3").read(path)["t"]
    evt3([int(t) for t in many], path)
    long = Wizard(encoding="evt3").read(path)["t"]
print("written:", few.tolist())
print("read:   ", read.tolist())
print(f"written 0 to {many[-1]}, read 0 to {long[-1]}")
assert read.tolist() == [0, 1, 1000, 9096, 9097, 17192, 28192]
assert long[-1] > 1.99 * many[-1]
PYTHON

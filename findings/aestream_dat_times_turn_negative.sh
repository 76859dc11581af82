#!/usr/bin/env bash
# aestream 0.6.4: reading DAT, aestream gives negative times after 35.8 minutes.
#
# Input: a DAT file with four events around 2^31 microseconds; the format has 32 bits without a sign for a time.
#
# Expected: 2147483646, 2147483647, 2147483648, 2147483649.
#
# Seen: the last two are -2147483648 and -2147483647. Frames by time, and sorting, put the second half of a recording of
# an hour before the first.
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

import aestream
import numpy as np

times = 2**31 + np.array([-2, -1, 0, 1])
words = np.zeros((4, 2), "<u4")
words[:, 0] = times
words[:, 1] = [x | y << 14 | 1 << 28 for x, y in ((10, 1), (20, 2), (30, 3), (40, 4))]
with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / "events.dat"
    path.write_bytes(b"% Data file containing Event2D events.\n% Version 2\n% Height 480\n% Width 640\n" + bytes([12, 8]) + words.tobytes())
    events = aestream.FileInput(str(path), (640, 480)).load()
print("written:", times.tolist())
print("read:   ", events["timestamp"].tolist(), "x:", events["x"].tolist())
assert events["x"].tolist() == [10, 20, 30, 40]
assert events["timestamp"].tolist() == [2**31 - 2, 2**31 - 1, -(2**31), -(2**31) + 1]
PYTHON

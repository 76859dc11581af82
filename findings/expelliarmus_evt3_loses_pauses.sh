#!/usr/bin/env bash
# expelliarmus 1.1.12: saving as EVT3, expelliarmus loses all pauses of more than 4 ms: 10 s between two events come
# back as 1.7 ms.
#
# Input: four events at 0, 10, 20 and 40 s, and four at 0, 1, 5 and 20 ms, saved by `save` and read by `read`; and the
# same as EVT2.
#
# Expected: the times that were saved.
#
# Seen: 0, 1664, 3328, 6656 and 0, 1000, 5000, 7712 microseconds. The upper 12 bits of a time are written once, at the
# start; afterwards a step of 4,096 is seen where the lower ones become smaller, and there is no more than one step per
# event. EVT2 is right.
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

back = {}
with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / "events.raw"
    for times in ([0, 10_000_000, 20_000_000, 40_000_000], [0, 1000, 5000, 20_000]):
        events = np.zeros(4, [("t", np.int64), ("x", np.int16), ("y", np.int16), ("p", np.uint8)])
        events["t"] = times
        for encoding in ("evt2", "evt3"):
            Wizard(encoding=encoding).save(path, events)
            back[encoding, times[1]] = Wizard(encoding=encoding).read(path)["t"].tolist()
            print(f"saved as {encoding}: {times}, read: {back[encoding, times[1]]}")
assert back["evt2", 10_000_000] == [0, 10_000_000, 20_000_000, 40_000_000]
assert back["evt3", 10_000_000] == [0, 1664, 3328, 6656]
assert back["evt3", 1000] == [0, 1000, 5000, 7712]
PYTHON

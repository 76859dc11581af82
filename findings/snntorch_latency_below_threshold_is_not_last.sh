#!/usr/bin/env bash
# snnTorch 1.0.0 (PyTorch 2.14.1): `spikegen.latency`: inputs below the threshold fire in the midst of the time, at a
# step that depends on `epsilon`.
#
# Input: inputs of 0, 0.005, 0.02 and 0.5, the default threshold of 0.01, 100 steps, tau 1 and 5, and a smaller
# `epsilon`.
#
# Expected: the last step, 99, for the first two: the documentation says that they fire at the final time step, if
# `clip` is not set.
#
# Seen: step 12 with tau 1, 58 with tau 5; 9 and 46 with an `epsilon` of 1e-6. They are set to the threshold plus
# `epsilon`, described as a means against rounding errors, and fire at the time of that.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "snntorch==1.0.0" "torch==2.14.1" "numpy==2.4.6"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import torch
from snntorch import spikegen

data, seen = torch.tensor([0.0, 0.005, 0.02, 0.5]), []
for kwargs in ({"tau": 1}, {"tau": 5}, {"tau": 1, "epsilon": 1e-6}, {"tau": 5, "epsilon": 1e-6}):
    spikes = spikegen.latency(data, num_steps=100, **kwargs)
    seen.append(spikes.argmax(0).tolist())
    print(f"{kwargs}: steps {seen[-1]} of 0 to 99")
assert [s[0] for s in seen] == [12, 58, 9, 46]
assert all(s[0] == s[1] for s in seen)
PYTHON

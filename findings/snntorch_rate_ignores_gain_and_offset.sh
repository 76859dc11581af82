#!/usr/bin/env bash
# snnTorch 1.0.0 (PyTorch 2.14.1): `spikegen.rate` ignores `gain` and `offset` if `time_var_input=True`.
#
# Input: the value 0.5 as a constant input of 2,000 steps and as a time-varying one, with gain 0.2, and with offset 0.4.
#
# Expected: a spike in 10 % and in 90 % of the steps in both cases: the documentation has no exception.
#
# Seen: 10 % and 90 % for the constant input, 50 % both times for the time-varying one. No error, no warning.
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

torch.manual_seed(0)
shares = []
for kwargs in ({"gain": 0.2}, {"offset": 0.4}):
    constant = spikegen.rate(torch.full((1,), 0.5), num_steps=2000, **kwargs).mean()
    varying = spikegen.rate(torch.full((2000, 1), 0.5), time_var_input=True, **kwargs).mean()
    shares.append((float(constant), float(varying)))
    print(f"{kwargs}: constant input {shares[-1][0]:.2f}, time-varying input {shares[-1][1]:.2f}")
assert abs(shares[0][0] - 0.1) < 0.04 and abs(shares[1][0] - 0.9) < 0.04
assert all(abs(varying - 0.5) < 0.04 for _, varying in shares)
PYTHON

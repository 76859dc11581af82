#!/usr/bin/env bash
# jaxley 0.14.0 (jax 0.10.2): `step_current` makes pulses of some lengths one step shorter than asked for.
#
# Input: pulses of 0.1 to 1 ms from the start, steps of 0.1 ms, and of 0.1 to 0.35 ms with steps of 0.025 ms.
#
# Expected: as many steps as the length divided by the step, all of them whole numbers.
#
# Seen: with 0.1 ms, those of 0.3, 0.6 and 0.7 ms have 2, 5 and 6 steps; with the default of 0.025 ms, those of 0.15, 0.3
# and 0.35 ms have one less than 6, 12 and 14. The quotient of the two numbers lies a rounding error below the whole
# number and is cut off. A pulse of 0.3 ms brings a third less charge with 0.1 ms. The delay is cut off in the same way.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "jaxley==0.14.0" "jax==0.10.2" "jaxlib==0.10.2" "numpy==2.4.6" "pandas==3.1.1"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import jaxley as jx


def steps(length, delta_t, delay=0.0):
    return int((jx.step_current(delay, length, 1.0, delta_t, 3.0) > 0).sum())


coarse = {n / 10: steps(n / 10, 0.1) for n in range(1, 11)}
fine = {t: steps(t, 0.025) for t in (0.1, 0.15, 0.2, 0.3, 0.35)}
start = int((jx.step_current(0.3, 1.0, 1.0, 0.1, 3.0) > 0).argmax())
print(f"steps of 0.1 ms: {coarse}; of 0.025 ms: {fine}; a delay of 0.3 ms ends at step {start}")
assert [length for length, n in coarse.items() if n != round(length / 0.1)] == [0.3, 0.6, 0.7]
assert fine == {0.1: 4, 0.15: 5, 0.2: 8, 0.3: 11, 0.35: 13}
assert start == 2
PYTHON

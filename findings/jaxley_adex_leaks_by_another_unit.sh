#!/usr/bin/env bash
# jaxley 0.14.0 (jax 0.10.2): the conductance of the leak of `AdEx` is in mS/cm^2, that of `Leak` in S/cm^2, and two of
# the defaults are not those of the docstring.
#
# Input: a compartment of 1 uF/cm^2 at -60 mV with a leak of 1e-4 S/cm^2 towards -70 mV, as `Leak` and as `AdEx`
# (adaptation 0, far below the threshold); 10 ms.
#
# Expected: the same, a time constant of 10 ms. Channels of this package take S/cm^2, which the source of `AdEx` names
# for its parameters too. And the defaults of the docstring, a threshold of 20 mV and a reset to -70 mV (it names nS for
# the leak).
#
# Seen: -66.3 mV with `Leak`, -60.0 mV with `AdEx`; with 0.1 it is -66.3 mV. The derivative is the current divided by the
# capacitance, without the factor of 1000 between mA and uA that other channels get. The defaults are a threshold of 0 mV
# and a reset to -58 mV; the default leak of 10 makes a membrane of 0.1 ms.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "jaxley==0.14.0" "jax==0.10.2" "jaxlib==0.10.2" "numpy==2.4.6" "pandas==3.1.1"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import jaxley as jx
from jaxley.channels import AdEx, Leak


def end(channel, **parameters):
    cell = jx.Cell()
    cell.insert(channel)
    for key, value in {"v": -60.0, **parameters}.items():
        cell.set(key, value)
    cell.record(verbose=False)
    return float(jx.integrate(cell, t_max=10.0)[0, -1])


leak = end(Leak(), Leak_gLeak=1e-4, Leak_eLeak=-70.0)
same, more = (end(AdEx(), AdEx_g_L=g, AdEx_a=0.0) for g in (1e-4, 0.1))
defaults = AdEx().channel_params
print(f"Leak 1e-4: {leak:.2f} mV; AdEx 1e-4: {same:.2f} mV; AdEx 0.1: {more:.2f} mV; "
      f"threshold {defaults['AdEx_v_threshold']}, reset {defaults['AdEx_v_reset']}")
assert abs(leak + 66.32) < 0.05 and abs(more - leak) < 0.05 and abs(same + 60.01) < 0.01
assert (defaults["AdEx_v_threshold"], defaults["AdEx_v_reset"]) == (0.0, -58.0)
PYTHON

"""On several devices."""

import pathlib
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "rules",
    [
        pytest.param(("DRTRL", "EProp"), marks=pytest.mark.outside_sample),
        pytest.param(("RTRL", "SnAp", "OSTL", "PPProp", "NoTrace", "RFLO", "OTTT", "OTPE"), marks=pytest.mark.slow),
    ],
)
def test_inside_shard_map_gradients_are_those_of_one_device(rules):
    """These rules, by calls and by windows, with JAX's check of what varies over which axis."""
    script = pathlib.Path(__file__).parent / "sharded.py"
    done = subprocess.run([sys.executable, str(script), *rules], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(done.stdout.splitlines()) == len(rules)

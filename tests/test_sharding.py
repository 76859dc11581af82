"""On several devices."""

import pathlib
import socket
import subprocess
import sys

import pytest

ALL = (*("DRTRL", "RTRL", "SnAp", "OSTL", "PPProp", "NoTrace", "EProp"), *("RFLO", "OTTT", "OTPE"))
RANDOM = ("UORO", "KFRTRL", "OK")


def output_of(script, *arguments):
    """The lines of a program of its own: devices must be there before JAX is."""
    command = [sys.executable, str(pathlib.Path(__file__).parent / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("axes", "rules"),
    [
        pytest.param("manual", ("DRTRL", "EProp"), marks=pytest.mark.outside_sample),
        pytest.param("explicit", ("DRTRL", "RTRL"), marks=pytest.mark.outside_sample),
        pytest.param("automatic", ("DRTRL", "PPProp"), marks=pytest.mark.outside_sample),
        pytest.param("manual", ALL, marks=pytest.mark.slow),
        pytest.param("explicit", (*ALL, *RANDOM), marks=pytest.mark.slow),
        pytest.param("automatic", (*ALL, *RANDOM), marks=pytest.mark.slow),
    ],
)
def test_on_a_mesh_gradients_are_those_of_one_device_and_no_trace_is_gathered(axes, rules):
    """These rules, by calls and by windows, over axes of every kind."""
    assert len(output_of("sharded.py", axes, *rules)) == len(rules)


@pytest.mark.outside_sample
@pytest.mark.parametrize("what", ["collectives", "tools"])
def test_inside_shard_map(what):
    """Over eight devices: a step that reads others by the name of the axis, and what else is offered."""
    assert output_of("inside_shard_map.py", what) == [what]


@pytest.mark.outside_sample
def test_two_processes_share_the_lanes():
    """By `jax.distributed`: each holds half of the trace, and both have the gradients of plain BPTT."""
    script = pathlib.Path(__file__).parent / "processes.py"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [[sys.executable, str(script), number, port] for number in "01"]
    several = [subprocess.Popen(one, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for one in command]
    for done in several:
        out, error = done.communicate(timeout=200)
        assert done.returncode == 0, error[-2000:]
        processes, off, held = out.splitlines()[-1].split()
        assert processes == "2"
        assert float(off) < 1e-12
        assert float(held) == 0.5

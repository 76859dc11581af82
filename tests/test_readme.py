"""The README is executed: what it shows is what happens."""

import pathlib
import re

import jax.numpy as jnp

README = pathlib.Path(__file__).parent.parent / "README.md"


def test_python_blocks_run_and_train(capsys):
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(blocks) == 7
    namespace: dict = {"__name__": "readme"}
    exec(compile(blocks[0], str(README), "exec"), namespace)
    printed = capsys.readouterr().out
    assert "The hidden groups are:" in printed
    assert "approximate" not in printed
    assert printed.count("exact") >= 5
    assert namespace["losses"].shape == (100,)
    trained = namespace["grads"]
    for block in blocks[1:]:
        exec(compile(block, str(README), "exec"), namespace)
    printed = capsys.readouterr().out
    assert "('neuron', 'tau')  is associated with hidden group 0" in printed
    assert namespace["partial"] is not None and namespace["frozen"].time_constant is not None
    assert namespace["grads"].time_constant is not None
    assert all(bool(jnp.any(leaf != 0)) for leaf in (trained.cell.weight, trained.readout.bias))


def test_there_are_two_commands():
    commands = [line for line in README.read_text().splitlines() if line.startswith("python3 -m venv")]
    assert len(commands) == 2
    assert "examples/quickstart.py" in commands[0]
    assert "pytest" in commands[1]

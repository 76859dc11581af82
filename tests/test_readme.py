"""The README is executed: what it shows is what happens."""

import contextlib
import io
import pathlib
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest

import eqx_etrace as etr

README = pathlib.Path(__file__).parent.parent / "README.md"


@pytest.fixture(scope="module")
def page():
    """The first block, with a list of the traces of `loss_step`."""
    body = "    out, state = model(x, state)\n"
    first = blocks("python")[0]
    assert first.count(body) == 1
    namespace: dict = {"__name__": "readme", "traces": []}
    with jax.numpy_dtype_promotion("standard"):
        exec(compile(first.replace(body, body + "    traces.append(model)\n"), "train.py", "exec"), namespace)
    return namespace


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(), re.DOTALL)


def test_the_example_trains_and_its_report_is_the_one_that_is_shown():
    example, report = blocks("python")
    namespace: dict = {"__name__": "readme"}
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"):
        exec(compile(example, "train.py", "exec"), namespace)
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(compile(report, "report.py", "exec"), namespace)
    assert out.getvalue() in README.read_text()
    assert float(namespace["loss"]) > 0 and float(jnp.abs(namespace["moments"][0].mu.cell.weight).max()) > 0


def test_the_loop_compiles_once(page):
    assert len(page["traces"]) == 2  # for `init`, and for `learn`


def test_the_loop_compiles_once_also_for_a_spiking_network(page):
    """Nothing in a neuron is weakly typed."""

    class Spiking(eqx.Module):
        cell: eqx.nn.Linear
        neuron: etr.nn.LIF
        readout: etr.nn.LeakyRateReadout

        def __call__(self, x, state):
            spikes, neuron = self.neuron(self.cell(x), state[0])
            out, readout = self.readout(spikes, state[1])
            return out, (neuron, readout)

    keys = jax.random.split(jax.random.key(1))
    neuron, readout = etr.nn.LIF(tau=jnp.full(64, 10.0)), etr.nn.LeakyRateReadout(64, 2, tau=10.0, key=keys[1])
    model = Spiking(eqx.nn.Linear(3, 64, key=keys[0]), neuron, readout)
    state = neuron.init_state(64), readout.init_state()
    assert not any(leaf.weak_type for leaf in jax.tree.leaves((model, state)) if isinstance(leaf, jax.Array))
    trace = page["online"].init(model, state, page["xs"][0], page["ys"][0])
    moments = page["optimiser"].init(eqx.filter(model, eqx.is_inexact_array))
    before = len(page["traces"])
    for x, y in zip(page["xs"][:4], page["ys"], strict=False):
        model, state, trace, moments, _ = page["learn"](model, state, trace, moments, x, y)
    assert len(page["traces"]) == before + 1


def test_there_are_two_commands():
    commands = [line for line in README.read_text().splitlines() if line.startswith("python3 -m venv")]
    assert len(commands) == 2
    assert "examples/quickstart.py" in commands[0]
    assert "pytest" in commands[1]


def test_every_link_leads_somewhere():
    for target in re.findall(r"\]\(([^)#]+)", README.read_text()):
        assert (README.parent / target).exists(), target

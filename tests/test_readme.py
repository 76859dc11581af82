"""The README is executed: what it shows is what happens."""

import pathlib
import re
import types

import jax
import jax.numpy as jnp
import pytest
import saiunit

import eqx_etrace as etr

README = pathlib.Path(__file__).parent.parent / "README.md"


def test_python_blocks_run_and_train(capsys):
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(blocks) == 8
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


def block(holds):
    """The Python block that holds these words."""
    (found,) = (b for b in re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL) if holds in b)
    return found


@pytest.fixture(scope="module")
def page():
    """The first block, with a list of the traces of `loss_step`, and the spiking network."""
    body = "    out, state = model(x, state)\n"
    first = block("def loss_step")
    assert first.count(body) == 1
    namespace: dict = {"__name__": "readme", "traces": []}
    sources = first.replace(body, body + "    traces.append(model)\n"), block("class SpikingNetwork"), block("donate=")
    with jax.numpy_dtype_promotion("standard"):
        for source in sources:
            exec(compile(source, str(README), "exec"), namespace)
    return namespace


def test_the_loop_compiles_once_also_for_the_spiking_network(page):
    model = page["SpikingNetwork"](jax.random.key(1))
    state = model.init_state()
    assert not any(leaf.weak_type for leaf in jax.tree.leaves((model, state)) if isinstance(leaf, jax.Array))
    trace = page["online"].init(model, state, page["xs"][0], page["ys"][0])
    moments = page["optimiser"].init(page["eqx"].filter(model, page["eqx"].is_inexact_array))
    before = len(page["traces"])
    for x, y in zip(page["xs"][:4], page["ys"], strict=False):
        model, state, trace, moments, _ = page["learn"](model, state, trace, moments, x, y)
    assert len(page["traces"]) == before + 1


def test_the_spiking_network_fires(page):
    model = page["SpikingNetwork"](jax.random.key(1))

    def tick(state, x):
        state = model(x, state)[1]
        return state, model.neuron.spike(state["neuron"])

    rate = jax.lax.scan(tick, model.init_state(), page["xs"])[1].mean()
    assert 0.02 < rate < 0.3


def test_what_is_donated(page):
    """State, trace and moments are; the data and the model are not."""
    fresh = page["Network"](page["model"].cell, page["model"].time_constant, page["model"].readout)
    x, y, state = page["xs"][0], page["ys"][0], jnp.zeros(64)
    trace = page["online"].init(fresh, state, x, y)
    moments = page["optimiser"].init(page["eqx"].filter(fresh, page["eqx"].is_inexact_array))
    page["learn_in_place"]((fresh, x, y), state, trace, moments)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves((state, trace, moments)))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves((fresh, x, y)))


def test_the_line_with_units():
    """As it is written, with the weights in mA; numbers as without units."""
    (line,) = re.findall(r"`(LIF\(.*?\))`,\nweights in mA", README.read_text())

    def loss_step(model, state, x):
        spikes, state = model["lif"](model["W"] @ x, state)
        return jnp.sum(spikes), state

    found = []
    for units in (saiunit, types.SimpleNamespace(ms=1.0, mV=1.0, mA=1.0, ohm=1.0)):
        lif = eval(line, {"LIF": etr.nn.LIF, "u": units})
        model, state, x = {"W": 80.0 * jnp.ones((2, 3)) * units.mA, "lif": lif}, lif.init_state(2), jnp.ones(3)
        online = etr.etrace_value_and_grad(loss_step, etr.DRTRL())
        trace = online.init(model, state, x)
        (loss, grads), state, _ = jax.jit(online)(model, state, trace, x)
        found.append([loss, *jax.tree.leaves(grads), *jax.tree.leaves(state)])
    assert found[0][0] == 2 and len(found[0]) == len(found[1]) == 3
    for a, b in zip(*found, strict=True):
        assert jnp.abs(b).max() > 0 and jnp.allclose(a, b, rtol=1e-6)


def test_there_are_two_commands():
    commands = [line for line in README.read_text().splitlines() if line.startswith("python3 -m venv")]
    assert len(commands) == 2
    assert "examples/quickstart.py" in commands[0]
    assert "pytest" in commands[1]

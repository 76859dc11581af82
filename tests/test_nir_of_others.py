"""Graphs that others wrote, read as models."""

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import nir
import numpy as np
import pytest
from nir_networks import INPUTS, LIF, network, read, STATE, W, written, XS

from eqx_etrace import nn
from eqx_etrace.nir import Network, to_nir

pytestmark = pytest.mark.outside_sample  # what is tested hardly depends on the version of JAX


def one(node: Any) -> Any:
    return nir.NIRGraph.from_list(nir.Affine(np.eye(2), np.zeros(2)), node)


def lif(tau: float, r: float, **fields: Any) -> Any:
    full = lambda value: np.full(2, value)  # noqa: E731
    return nir.LIF(full(tau), full(r), full(0.0), full(1.0), full(fields.get("v_reset", 0.0)))


def test_v_reset_is_read():
    model = read(one(lif(0.02, 1.0, v_reset=-0.5)), dt=1.0, reset="hard", integrator="euler")
    assert float(model.layers["lif"].V_reset) == -0.5


@pytest.mark.parametrize("integrator, kept", [("euler", 0.95), ("exponential", np.exp(-0.05))])
def test_how_a_step_is_made(integrator, kept):
    model = read(one(lif(0.02, 3.0)), dt=1.0, reset="hard", integrator=integrator)
    _, state = model(jnp.array([0.1, 0.2]), model.init_state())
    np.testing.assert_allclose(state["lif"].V, (1 - kept) * 3.0 * np.array([0.1, 0.2]), rtol=1e-12)
    _, state = model(jnp.zeros(2), state)
    np.testing.assert_allclose(state["lif"].V, kept * (1 - kept) * 3.0 * np.array([0.1, 0.2]), rtol=1e-12)


@pytest.mark.parametrize(
    "graph, options, text",
    [
        (one(lif(0.02, 1.0)), {}, "`dt` is needed for the node `lif`"),
        (one(lif(0.02, 1.0)), {"dt": 1.0}, "`integrator` is needed"),
        (one(lif(0.02, 1.0)), {"integrator": "euler", "dt": 1.0}, "`reset` is needed"),
        (one(lif(0.02, 1.0)), {"integrator": "euler", "dt": 30.0, "reset": "soft"}, "keeps -0.5 of its potential"),
        (one(lif(0.02, 1.0)), {"dt": -1.0}, "`dt` is -1.0"),
        (one(nir.Threshold(np.ones(2))), {"dt": 1.0}, "`threshold` is a `Threshold`, and no layer"),
    ],
)
def test_what_is_asked_for(graph, options, text):
    with pytest.raises(ValueError, match=text):
        read(graph, **options)


def test_what_contradicts_the_file():
    with pytest.raises(ValueError, match="written with reset='hard', and you ask for 'soft'"):
        read(written(network(nn.LIF(reset="hard"))), reset="soft")


def test_a_model_that_is_traced():
    with pytest.raises(TypeError, match=r"outside `jax\.jit`"):
        jax.jit(lambda w: to_nir(lambda w, s, x: LIF(w @ x, s), w, STATE, XS[0]))(W)


def test_a_model_with_units():
    saiunit = pytest.importorskip("saiunit")
    neuron = nn.LIF(reset="hard", tau=20.0 * saiunit.ms, dt=1.0 * saiunit.ms)
    with pytest.raises(TypeError, match=r"`tau` of `lif` is 20.* which has a unit"):
        to_nir(lambda w, s, x: neuron(w @ x, s), W, STATE, XS[0])


def test_lanes_that_differ_from_those_of_the_state():
    model = read(written(network(nn.LIF(reset="hard"))))
    with pytest.raises(ValueError, match=r"make that by `init_state\(\(4,\)\)`"):
        model(jnp.zeros((4, INPUTS)), model.init_state())


def test_no_graph():
    with pytest.raises(TypeError, match=r"`nir.read\(path\)` gives one"):
        read("network.nir")


@pytest.mark.parametrize(
    "node, writer",
    [
        (lif(0.02, 0.02 / 1e-4), "snnTorch"),
        (lif(1e-5, 1.0), "norse"),
        (lif(0.02, 0.02 * np.exp(-0.05) / 1e-3), "rockpool"),
        (lif(0.02, 0.95), "spyx"),
    ],
)
def test_marks_of_other_writers(node, writer):
    with pytest.warns(UserWarning, match=f"as written by {writer}"):
        read(one(node), dt=1.0, reset="soft", integrator="exponential")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read(one(lif(0.02, 1.0)), dt=1.0, reset="soft", integrator="exponential")


def test_a_graph_in_a_graph():
    inner = nir.NIRGraph(
        {"input": nir.Input({"input": np.array([2])}), "cell": lif(0.02, 1.0), "rec": nir.Linear(np.ones((2, 2))),
         "output": nir.Output({"output": np.array([2])})},
        [("input", "cell"), ("cell", "rec"), ("rec", "cell"), ("cell", "output")],
    )  # fmt: skip
    outer = nir.NIRGraph(
        {"input": nir.Input({"input": np.array([2])}), "layer": inner, "output": nir.Output({"output": np.array([2])})},
        [("input", "layer"), ("layer", "output")],
    )
    model = read(outer, dt=1.0, reset="hard", integrator="euler")
    assert isinstance(model, Network)
    (wire,) = [wire for wire in model.heard["layer.cell"].wires if wire.is_late]
    assert wire.source == "layer.cell"

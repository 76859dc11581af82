"""Steps that look like layers and linear maps, and are not; and such that are, in unusual clothes."""

import itertools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import nir
import numpy as np
import pytest
from nir_networks import run

from eqx_etrace import nn
from eqx_etrace.nir import from_nir, to_nir

INPUTS, UNITS = 4, 6
W, R = jr.normal(jr.key(0), (UNITS, INPUTS)), jr.normal(jr.key(2), (UNITS, UNITS)) / 2
LIF, EXPON = nn.LIF(reset="hard"), nn.Expon()
REST = LIF.init_state(UNITS)
XS = 2 * jr.uniform(jr.key(3), (80, INPUTS))
ONES = jnp.ones((2, UNITS))


def differ(step: Any, state: Any, model: Any = W) -> float:
    """By how much what was read differs from the step."""

    class Stepped(eqx.Module):
        model: Any

        def __call__(self, x: Any, state: Any) -> Any:
            return step(self.model, state, x)

    network = from_nir(to_nir(step, model, state, XS[0]))
    ours = run(Stepped(model), state, XS)
    assert abs(ours).sum() > 0
    return float(abs(run(network, network.init_state(), XS) - ours).max())


def behind(change: Any) -> Any:
    """A step whose output is what is made of spikes."""

    def step(m: Any, s: Any, x: Any) -> Any:
        z, s = LIF(m @ x, s)
        return change(z), s

    return step


REFUSED = {
    "integers": lambda m, s, x: LIF(m @ x.astype(int).astype(float), s),
    "booleans": lambda m, s, x: LIF(m @ x.astype(bool).astype(float), s),
    "did any spike": behind(lambda z: (ONES @ z).astype(bool).astype(float)),
    "bytes": behind(lambda z: (z.astype(jnp.uint8) - jnp.uint8(1)).astype(float)),
    "small integers": behind(lambda z: (jnp.full((2, UNITS), 60, jnp.int8) @ z.astype(jnp.int8)).astype(float)),
    "whole parts": behind(lambda z: jax.lax.div((ONES @ z).astype(int), jnp.full(2, 2)).astype(float)),
    "half precision": lambda m, s, x: LIF((m @ x).astype(jnp.float16).astype(float), s),
    "a function at an index": lambda m, s, x: LIF(m @ x.at[jnp.array([0])].apply(jnp.tanh), s),
    "a number where an index is outside": lambda m, s, x: LIF(
        m @ x.at[jnp.array([0, 1, 9, 2])].get(mode="fill", fill_value=1.0), s
    ),
    "a mask of data": lambda m, s, x: LIF(m @ jnp.where(x > 1, x, 0.0), s),
    "an output with axes": behind(lambda z: z.reshape(2, 3)),
    "a constant alone": lambda m, s, x: (lambda z, s: (z + x.sum() * jnp.ones(UNITS), s))(*LIF(m[:, 0], s)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_network_of_layers(name):
    with pytest.raises(ValueError, match=r"lif|output|what the step returns"):
        to_nir(REFUSED[name], W, REST, XS[0])


def two_of_one_and_one_that_is_called_so(m: Any, s: Any, x: Any) -> Any:
    z, one = m["lif"](m["w"] @ x, s[0])
    y, two = m["lif"](R @ z, s[1])
    u, three = m["lif_2"](R @ y, s[2])
    return u, (one, two, three)


def names_of_wires(m: Any, s: Any, x: Any) -> Any:
    z, one = m["a"](m["w"] @ x, s[0])
    y, two = m["a_to_b"](z, s[1])
    u, three = m["b"](R @ y + R.T @ z, s[2])
    return u, (one, two, three)


def delays_of_two_kinds(m: Any, s: Any, x: Any) -> Any:
    y, two = m["b"](R @ LIF.spike(s[0]), s[1])
    z, one = m["a"](m["w"] @ x, s[0])
    late, line = m["a_delayed"](z, s[2])
    return y + late, (one, two, line)


FAST = nn.LIF(reset="hard", tau=3.0, R=9.0)
NAMES = {
    "numbers": (
        two_of_one_and_one_that_is_called_so,
        {"w": W, "lif": LIF, "lif_2": FAST},
        (REST, REST, REST),
    ),
    "wires": (names_of_wires, {"w": W, "a": LIF, "a_to_b": EXPON, "b": FAST}, (REST, EXPON.init_state(UNITS), REST)),
    "delays": (
        delays_of_two_kinds,
        {"w": W, "a": LIF, "b": FAST, "a_delayed": nn.Delay(3)},
        (REST, REST, nn.Delay(3).init_state(UNITS)),
    ),
    "ends": (lambda m, s, x: m["output"](m["w"] @ x, s), {"w": W, "output": LIF}, REST),
}


@pytest.mark.parametrize("name", NAMES)
def test_names_that_are_taken(name):
    step, model, state = NAMES[name]
    assert differ(step, state, model) == 0


def test_a_function_that_jax_keeps():
    """It was staged for another step, as another layer of it."""
    block = eqx.filter_jit(lambda cell, x, s: cell(x, state=s))

    def small(m: Any, s: Any, x: Any) -> Any:
        return block(LIF, m @ x, s)

    def large(m: Any, s: Any, x: Any) -> Any:
        z, two = FAST(m @ x, s[1])
        y, one = block(LIF, R @ z, s[0])
        return y, (one, two)

    for step, state in ((small, REST), (large, (REST, REST)), (small, REST)):
        assert differ(step, state) == 0


HELD = jnp.zeros(UNITS)
TONIC = nn.LIF(reset="hard", V_rest=1.5)
BEGINNINGS = {
    "a potential": (lambda m, s, x: LIF(m @ x, s), nn.NeuronState(REST.V + 0.1), "is not that of rest"),
    "spikes": (
        lambda m, s, x: (lambda z, v: (z, (v, z)))(*LIF(m @ x + R @ s[1], s[0])),
        (REST, HELD + 1),
        "begins with other numbers",
    ),
    "a unit that spikes at rest": (
        lambda m, s, x: (lambda z, v: (z, (v, z)))(*TONIC(m @ x + R @ s[1], s[0])),
        (TONIC.init_state(UNITS), HELD),
        "begins with other numbers",
    ),
    "half precision": (
        lambda m, s, x: (LIF(m @ x, REST)[0], s),
        REST._replace(V=REST.V.astype(jnp.float16)),
        "state of",
    ),
}


@pytest.mark.parametrize("name", BEGINNINGS)
def test_a_graph_begins_at_rest(name):
    step, state, text = BEGINNINGS[name]
    with pytest.raises(ValueError, match=text):
        to_nir(step, W, state, XS[0])


def test_the_input_of_the_step_before():
    def step(m: Any, s: Any, x: Any) -> Any:
        z, lif = LIF(m @ x + m @ s[1], s[0])
        return z, (lif, x)

    assert differ(step, (REST, jnp.zeros(INPUTS))) == 0


def test_a_loop_that_closes_behind_a_delay():
    delay = nn.Delay(2)

    def step(m: Any, s: Any, x: Any) -> Any:
        z, lif = LIF(m @ x + R @ s[2], s[0])
        late, line = delay(z, s[1])
        return z, (lif, line, late)

    with pytest.raises(ValueError, match="let the loop close before the delay"):
        to_nir(step, W, (REST, delay.init_state(UNITS), HELD), XS[0])


# Graphs by hand


def graph(nodes: Any, edges: Any) -> Any:
    ends = {"input": nir.Input({"input": np.array([3])}), "output": nir.Output({"output": np.array([3])})}
    return nir.NIRGraph({**ends, **nodes}, edges, type_check=False)


def lif() -> Any:
    one = np.ones(3)
    return nir.LIF(0.02 * one, one, 0 * one, one, 0 * one)


def read(made: Any) -> Any:
    return from_nir(made, dt=1.0, reset="hard", integrator="euler")


def chain(*nodes: Any) -> Any:
    named = {f"n{i}": node for i, node in enumerate(nodes)}
    names = ["input", *named, "cell", "output"]
    return graph({**named, "cell": lif()}, list(itertools.pairwise(names)))


@pytest.mark.parametrize("dtype", [int, np.int8, bool, np.uint8, np.float16])
def test_weights_of_integers(dtype):
    whole = np.array([[1, 0, 1], [1, 1, 0], [0, 1, 1]]).astype(dtype)
    nodes = nir.Scale(np.full(3, 0.5)), nir.Affine(0.9 * np.eye(3), np.full(3, 9.7)), nir.Linear(whole)
    heard = read(chain(*nodes)).heard["cell"]
    np.testing.assert_allclose(heard.wires[0].weight, 0.45 * whole.astype(float), rtol=1e-12)
    np.testing.assert_allclose(heard.bias, 9.7 * whole.astype(float).sum(1), rtol=1e-12)


@pytest.mark.parametrize(
    "made, text",
    [
        (graph({"cell": lif()}, [("input", "cell"), ("input", "cell"), ("cell", "output")]), "twice"),
        (graph({"cell": lif()}, [("input", "cell"), ("cell", "elsewhere")]), "names the node `elsewhere`"),
        (
            graph(
                {"cell": lif(), "d": nir.Delay(np.full(3, 2e-3))},
                [("input", "cell"), ("cell", "d"), ("d", "cell"), ("cell", "output")],
            ),
            "let the loop close before the delay",
        ),
    ],
)  # fmt: skip
def test_graphs_that_are_none(made, text):
    with pytest.raises(ValueError, match=text):
        model = read(made)
        model(jnp.zeros(3), model.init_state())


def test_a_graph_inside_beside_a_node_of_its_name():
    ends = {"input": nir.Input({"input": np.array([3])}), "output": nir.Output({"output": np.array([3])})}
    inner = nir.NIRGraph({**ends, "cell": lif()}, [("input", "cell"), ("cell", "output")])
    made = graph({"l": inner, "l.cell": lif()}, [("input", "l"), ("l", "l.cell"), ("l.cell", "output")])
    assert len(read(made).layers) == 2


@pytest.mark.parametrize("what, value", [("integrator", "midpoint"), ("threshold", ">"), ("reset", "none")])
def test_metadata_that_are_not_known(what, value):
    made = chain()
    made.nodes["cell"].metadata = {what: value}
    with pytest.raises(ValueError, match=f"{what}='{value}'"):
        read(made)

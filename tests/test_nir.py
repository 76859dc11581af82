"""Steps as graphs of NIR, and graphs as models: the same spikes, here and as other packages run them."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import nir
import nir_readers as readers
import numpy as np
import pytest
from nir_networks import (
    BY_UNIT,
    drawn,
    INPUTS,
    KINDS,
    LIF,
    network,
    read,
    run,
    STATE,
    STEPS,
    UNITS,
    W,
    written,
    XS,
)
from oracle import bptt

import eqx_etrace as etr
from eqx_etrace import nn
from eqx_etrace.nir import NoRecipeError, to_nir


@pytest.fixture
def through_a_file(tmp_path):
    def through(graph):
        nir.write(tmp_path / "graph.nir", graph)
        return nir.read(tmp_path / "graph.nir")

    return through


# Other packages

NORSE, SNNTORCH = (
    ["IF hard", "IF soft", "LIF hard", "LIF soft", "CuBaLIF hard", "CuBaLIF soft"],
    ["IF hard", "LIF hard"],
)
KNOWN = {
    "norse": {*NORSE, "IF soft after", *(f"{case} loop" for case in NORSE), "IF soft after loop"},
    "snntorch": {*SNNTORCH, "CuBaLIF hard"},
    "sinabs": {"IF soft", "IF soft after", "LIF soft"},
    "rockpool": {"CuBaLIF soft"},
    "spyx": {"IF soft", "IF soft after", "LIF soft after", "CuBaLIF soft", "LIF soft after loop", "CuBaLIF soft loop"},
}
READERS = {
    "norse": lambda graph: readers.norse("reset_subtract" in graph.metadata["read"]),
    "snntorch": lambda graph: readers.SnnTorch,
    "sinabs": lambda graph: readers.Sinabs,
    "rockpool": lambda graph: readers.Rockpool,
    "spyx": lambda graph: readers.Spyx,
}


def differ(graph: Any, target: str, ours: np.ndarray) -> int:
    theirs, late = readers.run(READERS[target](graph), graph, np.asarray(XS)), int(graph.metadata.get("late", 0))
    return int((ours[: STEPS - late] != theirs[late:]).sum())


@pytest.mark.sweep(3)
@pytest.mark.parametrize("target", KNOWN)
@pytest.mark.parametrize("loop", [False, True], ids=["", "loop"])
@pytest.mark.parametrize("case", KINDS)
def test_the_same_spikes_elsewhere_or_a_refusal(case, loop, target, through_a_file):
    name = f"{case} loop" if loop else case
    for fields in ({}, BY_UNIT):
        net = network(KINDS[case](**fields), loop=loop)
        if name not in KNOWN[target]:
            with pytest.raises(NoRecipeError, match=f"`cell` is an? {case.split()[0]}.*{target}.*(reset|reader)"):
                written(net, for_target=target)
            return
        ours = run(net, net.init_state())
        assert 0.05 < ours.mean() < 0.5
        assert differ(through_a_file(written(net, for_target=target)), target, ours) == 0


@pytest.mark.sweep(3)
@pytest.mark.parametrize("target, case", [(t, c) for t in KNOWN for c in sorted(KNOWN[t]) if "loop" not in c])
def test_two_layers_elsewhere(target, case, through_a_file):
    make = KINDS[case]
    net = network(make(), last=make(**BY_UNIT))
    assert differ(through_a_file(written(net, for_target=target)), target, run(net, net.init_state())) == 0


@pytest.mark.parametrize("readout", [nn.Expon(tau=15.0), nn.LeakyIntegrator(tau=15.0, R=3.0)])
def test_a_leaky_readout_elsewhere(readout):
    net = network(nn.LIF(), last=readout)
    graph = written(net, for_target="sinabs")
    theirs = readers.run(readers.Sinabs, graph, np.asarray(XS))
    np.testing.assert_allclose(theirs, run(net, net.init_state()), rtol=1e-12, atol=1e-12)
    for target in ("norse", "spyx", "snntorch"):
        net = network(nn.IF() if target == "spyx" else nn.LIF(reset="hard"), last=readout)
        with pytest.raises(NoRecipeError, match=f"`last` is an? {type(readout).__name__}.*{target}.*leaky integrator"):
            written(net, for_target=target)


def test_potentials_are_shifted_where_rest_and_reset_agree():
    here: dict[str, Any] = {"V_rest": -65.0, "V_reset": -65.0, "V_th": -50.0, "R": 300.0}
    net = network(nn.LIF(reset="hard", **here))
    assert differ(written(net, for_target="norse"), "norse", run(net, net.init_state())) == 0
    net = network(nn.LIF(reset="hard", **{**here, "V_reset": -60.0}))
    with pytest.raises(NoRecipeError, match=r"`cell` resets to -60\.0 and rests at -65\.0"):
        written(net, for_target="norse")


# Files


@pytest.mark.sweep(3)
@pytest.mark.parametrize("case", KINDS)
@pytest.mark.parametrize("fields", [{}, BY_UNIT], ids=["numbers", "arrays"])
def test_a_file_gives_the_same_model_back(case, fields, through_a_file):
    net = network(KINDS[case](**fields), loop=True, last=nn.Expon(tau=jnp.array(13.0)))
    model = read(through_a_file(written(net, soft_reset=True)))
    # The sums of a product may be taken in another order; the numbers are the same.
    np.testing.assert_allclose(run(model, model.init_state()), run(net, net.init_state()), rtol=1e-12, atol=1e-12)
    assert eqx.tree_equal(model.layers["cell"], net.cell)
    assert eqx.tree_equal(model.layers["last"], net.last)
    weights = {f"{wire.source} {wire.is_late}": wire.weight for wire in model.heard["cell"].wires}
    assert eqx.tree_equal(weights, {"input False": net.fc, "cell True": net.rec})
    assert eqx.tree_equal(model.heard["cell"].bias, net.bias)
    again = read(through_a_file(written(model, soft_reset=True)))
    assert eqx.tree_equal(again, model)
    np.testing.assert_array_equal(run(again, again.init_state()), run(model, model.init_state()))


def test_what_was_written_is_read_by_its_equation_where_the_numbers_of_the_layer_are_gone():
    net = network(nn.CuBaLIF(reset="hard", **BY_UNIT), loop=True, last=nn.LeakyIntegrator(tau=13.0))
    graph = written(net)
    for node in graph.nodes.values():
        node.metadata = {key: value for key, value in node.metadata.items() if key == "late"}
    model = read(graph, dt=1.0, reset="hard", integrator="exponential")
    np.testing.assert_allclose(run(model, model.init_state()), run(net, net.init_state()), rtol=1e-9)


def test_what_was_changed_in_the_file_counts():
    net = network(nn.LIF(reset="hard"))
    graph = written(net)
    graph.nodes["cell"].tau = graph.nodes["cell"].tau * 2
    assert float(read(graph).layers["cell"].tau) == pytest.approx(40.0)


def test_other_steps_than_those_of_the_writer():
    graph = written(network(nn.LIF(reset="hard")))
    with pytest.raises(ValueError, match=r"written with dt=1\.0, and you ask for 0\.5"):
        read(graph, dt=0.5)
    graph.nodes["cell"].metadata = {}
    model = read(graph, dt=0.5, reset="hard", integrator="exponential")
    assert (float(model.layers["cell"].dt), float(model.layers["cell"].tau)) == (0.5, pytest.approx(20.0))


def test_a_graph_for_another_package_is_not_read_here():
    with pytest.raises(ValueError, match="was written for norse: its numbers"):
        read(written(network(nn.LIF(reset="hard")), for_target="norse"))


def test_names_stay(through_a_file):
    model = read(written(network(nn.LIF(reset="hard"))))
    for _ in range(2):
        model = read(through_a_file(written(model)))
        assert model.order == ("cell",)


@pytest.mark.parametrize("steps", [2, [1, 2, 2, 3] * 2, [2] * INPUTS, 0])
def test_delays(steps, through_a_file):
    class Delayed(eqx.Module):
        w: Any
        delay: nn.Delay
        cell: nn.LIF = nn.LIF(reset="hard")

        def init_state(self) -> Any:
            return self.delay.init_state(INPUTS), self.cell.init_state(UNITS)

        def __call__(self, x: Any, state: Any) -> Any:
            x, line = self.delay(x, state[0])
            z, cell = self.cell(self.w @ x, state[1])
            return z, (line, cell)

    net = Delayed(drawn(0, UNITS, INPUTS), nn.Delay(steps))
    model = read(through_a_file(written(net)))
    ours = run(net, net.init_state())
    assert ours.mean() > 0.05
    np.testing.assert_array_equal(run(model, model.init_state()), ours)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision(dtype, through_a_file):
    weight = jnp.ones((UNITS, INPUTS), dtype) / 3
    graph = through_a_file(to_nir(lambda w, s, x: LIF(w.astype(float) @ x, s), weight, STATE, XS[0]))
    np.testing.assert_array_equal(read(graph).heard["lif"].wires[0].weight, weight.astype(float))


def test_inputs_may_be_counts():
    graph = to_nir(lambda w, s, x: LIF(w @ x.astype(float), s), W, STATE, jnp.zeros(INPUTS, int))
    assert graph.edges == written_edges(lambda w, s, x: LIF(w @ x, s))


def written_edges(step: Any) -> Any:
    return to_nir(step, W, STATE, XS[0]).edges


def test_a_step_without_parameters():
    assert len(to_nir(lambda m, s, x: LIF(W @ x, s), None, STATE, XS[0]).nodes) == 4


# Any step


class Mixed(eqx.Module):
    """Weights behind masks, transposed, side by side; a neuron from elsewhere; spikes kept in the state."""

    both: Any
    sign: Any
    readout: nn.LeakyRateReadout
    spiking: nn.SpikingReadout
    out: nn.FeedbackLinear

    def __init__(self) -> None:
        keys = jr.split(jr.key(3), 3)
        self.both = drawn(4, INPUTS + UNITS, UNITS) / 3
        self.sign = drawn(5, UNITS)
        self.readout = nn.LeakyRateReadout(UNITS, 3, key=keys[0])
        self.spiking = nn.SpikingReadout(UNITS, 4, key=keys[1])
        self.out = nn.FeedbackLinear(drawn(6, 2, 7), drawn(7, 7, 2))

    def init_state(self) -> Any:
        cell = nn.CuBaLIF().init_state(UNITS)
        return cell, jnp.zeros(UNITS), self.readout.init_state(), self.spiking.init_state(), jnp.array(0)

    def __call__(self, x: Any, state: Any) -> Any:
        cell, z, readout, spiking, count = state
        heard = jnp.concatenate([2 * x, jax.lax.stop_gradient(z) * jnp.sign(self.sign)])
        z, cell = nn.CuBaLIF(tau=15.0)(heard @ jnp.abs(self.both) / 8 - 0.1, cell)
        y, readout = self.readout(z, readout)
        r, spiking = self.spiking(z[::-1], spiking)
        return self.out(jnp.concatenate([y, r])), (cell, z, readout, spiking, count + 1)


def test_a_step_of_any_kind_is_read(through_a_file):
    net = Mixed()
    graph = written(net, soft_reset=True)
    model = read(through_a_file(graph))
    assert list(model.order) == ["cubalif", "readout", "spiking_neuron", "spiking"]
    ours, theirs = run(net, net.init_state()), run(model, model.init_state())
    assert abs(ours).max() > 0.1
    np.testing.assert_allclose(theirs, ours, rtol=1e-12, atol=1e-12)


def test_a_late_wire_that_closes_no_loop_is_a_delay(through_a_file):
    class Late(eqx.Module):
        w: Any
        one: nn.LIF = nn.LIF(reset="hard")
        two: nn.LIF = nn.LIF(reset="hard")

        def init_state(self) -> Any:
            return self.one.init_state(UNITS), self.two.init_state(UNITS)

        def __call__(self, x: Any, state: Any) -> Any:
            one, two = state
            y, two = self.two(drawn(2, UNITS, UNITS) @ self.one.spike(one), two)
            _, one = self.one(self.w @ x, one)
            return y, (one, two)

    net = Late(drawn(0, UNITS, INPUTS))
    graph = through_a_file(written(net))
    assert isinstance(graph.nodes["one_delayed"], nir.Delay)
    model = read(graph)
    ours = run(net, net.init_state())
    assert ours.mean() > 0.1
    np.testing.assert_array_equal(run(model, model.init_state()), ours)


def test_a_loop_through_two_layers(through_a_file):
    class Ring(eqx.Module):
        w: Any
        one: nn.LIF = nn.LIF(reset="hard")
        two: nn.LIF = nn.LIF(reset="hard")

        def init_state(self) -> Any:
            return self.one.init_state(UNITS), self.two.init_state(UNITS)

        def __call__(self, x: Any, state: Any) -> Any:
            one, two = state
            z, one = self.one(self.w @ x + drawn(4, UNITS, UNITS) @ self.two.spike(two), one)
            y, two = self.two(drawn(2, UNITS, UNITS) @ z, two)
            return y, (one, two)

    net = Ring(drawn(0, UNITS, INPUTS))
    graph = through_a_file(written(net))
    for node in graph.nodes.values():
        node.metadata.pop("late", None)
    model = read(graph)
    np.testing.assert_array_equal(run(model, model.init_state()), run(net, net.init_state()))


def test_a_model_that_was_read_is_trained_online():
    net = network(nn.LIF(reset="hard", recurrent_gradient=False), loop=False, last=nn.Expon())
    model = read(written(net))

    def loss_step(model, state, x):
        y, state = model(x, state)
        return jnp.sum(y**2), state

    online = etr.etrace_grad(loss_step, etr.DRTRL())
    trace = online.init(model, model.init_state(), XS[0])
    assert all(row.exact for row in online.graph(model, model.init_state(), XS[0]).report(etr.DRTRL()).rows)
    grads, *_ = online.scan(model, model.init_state(), trace, XS[:40])
    np.testing.assert_allclose(
        grads.heard["cell"].wires[0].weight,
        bptt(loss_step, model, model.init_state(), XS[:40]).heard["cell"].wires[0].weight,
        rtol=1e-9,
    )


def test_lanes():
    net = network(nn.LIF(reset="hard"), loop=True)
    model = read(written(net))
    lanes = jnp.stack([XS, XS[:, ::-1]], 1)
    both = run(model, model.init_state(2), lanes)
    np.testing.assert_array_equal(both[:, 0], run(model, model.init_state()))
    np.testing.assert_array_equal(both[:, 1], run(model, model.init_state(), XS[:, ::-1]))

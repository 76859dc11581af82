"""A biophysical neuron of jaxley as the step: cable equation, channels, a stimulus; `RTRL` beside BPTT.

Jaxley comes with the extra `tests`. Its voltage solver has a rule of its own, with a loop over the tree.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracle import assert_close, bptt, relative

import eqx_etrace as etr

T, DT = 5, 0.025

pytestmark = [
    pytest.mark.xdist_group("jaxley"),  # it takes long to import: in one process
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(autouse=True)
def promotion():
    """Jaxley computes with JAX's default promotion."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def neuron(jx: Any, channel: str, parents: list[int]) -> Any:
    """Compartments in a line, or in a tree."""
    channels = pytest.importorskip("jaxley.channels")
    branch = jx.Branch(jx.Compartment(), 2 if len(parents) == 1 else 1)
    cell = jx.Cell([branch] * len(parents), parents=parents)
    cell.insert(getattr(channels, channel)())
    cell.branch(0).comp(0).stimulate(jnp.zeros(T), verbose=False)
    conductance = {"HH": "HH_gNa", "Leak": "Leak_gLeak"}[channel]
    cell.branch("all").comp("all").make_trainable(conductance, verbose=False)
    cell.to_jax()
    return cell


def setting(channel: str, parents: list[int], **solvers: str) -> tuple[Any, Any, Any, jax.Array]:
    """Loss step, model, state and inputs: a conductance in each compartment, and the weights of the stimulus."""
    cell = neuron(pytest.importorskip("jaxley"), channel, parents)
    integrate = pytest.importorskip("jaxley.integrate")
    initial, advance = integrate.build_init_and_step_fn(cell, **solvers)
    places = cell.external_inds.copy()

    def loss_step(model, state, x):
        constants = initial(model["conductance"], state)[1]
        state = advance(state, constants, {"i": (model["w"] @ x)[None]}, places, delta_t=DT)
        return jnp.sum(jnp.sin(state["v"] / 20)), state

    model = {"conductance": cell.get_parameters(), "w": jnp.array([0.5, 0.3])}
    xs = jnp.asarray(np.random.default_rng(0).normal(size=(T, 2)))
    return loss_step, model, initial(model["conductance"])[0], xs


def gradients(rule: Any, *args: Any, **solvers: str) -> tuple[Any, Any, bool]:
    """Online at window 1, by BPTT, and whether all are called exact."""
    loss_step, model, state, xs = setting(*args, **solvers)
    online = etr.etrace_grad(loss_step, rule)
    report = online.graph(model, state, xs[0]).report(rule)
    trace = online.init(model, state, xs[0])
    found, _, _ = jax.jit(online.scan, static_argnames="window")(model, state, trace, xs, window=1)
    return found, bptt(loss_step, model, state, xs), all(row.exact for row in report.rows)


LINE, TREE = [-1], [-1, 0, 0]
CASES = {
    "explicit": ("Leak", LINE, {"solver": "fwd_euler"}),
    "a tree": ("Leak", TREE, {}),
    "as it is": ("HH", LINE, {}),
    "for the gpu": ("Leak", TREE, {"voltage_solver": "jaxley.dhs.gpu"}),
    "sparse": ("Leak", LINE, {"voltage_solver": "jax.sparse"}),
}


@pytest.mark.sweep(5)
@pytest.mark.parametrize("name", CASES)
def test_one_step_of_a_neuron(name):
    channel, parents, solvers = CASES[name]
    found, wanted, is_exact = gradients(etr.RTRL(), channel, parents, **solvers)
    assert min(float(jnp.abs(g).max()) for g in jax.tree.leaves(wanted)) > 1e-3
    assert is_exact
    assert_close(found, wanted)


@pytest.mark.slow
def test_compartments_of_one_neuron_are_states_of_one_unit():
    found, wanted, is_exact = gradients(etr.DRTRL(), "Leak", TREE, solver="fwd_euler")
    assert is_exact
    assert_close(found, wanted)


@pytest.mark.slow
def test_compartments_act_on_one_another():
    """Otherwise the tests above would hold for a rule that drops what passes between compartments."""
    found, wanted, is_exact = gradients(etr.SnAp(1), "Leak", TREE, solver="fwd_euler")
    assert not is_exact
    assert relative(found["w"], wanted["w"]) > 1e-4

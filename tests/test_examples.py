"""The examples: the graphs of the three networks, to the letter, and a quickstart on a small budget."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest

import eqx_etrace as etr

EXAMPLES = Path(__file__).parent.parent / "examples"


def load(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


networks = load("networks")

READOUT = ("out", "weight")
CONVOLUTIONAL = [
    (("conv1", "conv", "weight"), 0),
    (("conv1", "norm", "weight"), 0),
    (("conv1", "norm", "bias"), 0),
    (("conv2", "conv", "weight"), 1),
    (("conv2", "norm", "weight"), 1),
    (("conv2", "norm", "bias"), 1),
    (("linear", "weight"), 2),
    (("linear", "bias"), 2),
    (READOUT, 3),
]
CASES = {
    "single_layer": (
        networks.single_layer,
        [{("neu", "V")}, {("out", "r")}],
        [(("syn", "comm", "weight"), 0), (READOUT, 1)],
    ),
    "gif_layers": (
        networks.gif_layers,
        [
            *({("layers", i, "ff2r", "syn", "g"), ("layers", i, "r", "V"), ("layers", i, "r", "I2")} for i in range(3)),
            {("out", "r")},
        ],
        [*((("layers", i, "ff2r", "comm", "weight"), i) for i in range(3)), (READOUT, 3)],
    ),
    "convolutional": (
        networks.convolutional,
        [{("conv1", "V")}, {("conv2", "V")}, {("dense", "V")}, {("out", "r")}],
        CONVOLUTIONAL,
    ),
}


@pytest.fixture(scope="module", params=CASES, ids=list(CASES))
def case(request):
    network, groups, weights = CASES[request.param]
    step, model, state, inputs = network()
    return etr.compile_graph(step, model, state, *inputs), groups, weights


def test_hidden_groups(case):
    graph, groups, _ = case
    assert [set(group.paths) for group in graph.hidden_groups] == groups


def test_each_weight_is_in_the_group_of_its_layer(case):
    graph, _, weights = case
    assert list(dict.fromkeys((r.path, r.group) for r in graph.relations)) == weights


def test_the_text_names_every_group_and_weight(case):
    graph, groups, weights = case
    text = str(graph)
    assert text.startswith("The hidden groups are:\n\n   Group 0: [(")
    assert all(str(path) in text for group in groups for path in group)
    for number, (path, group) in enumerate(weights):
        assert f"   Weight {number}: {path}  is associated with hidden group {group}\n" in text
    assert text.endswith("Every parameter has a trace.")


@pytest.mark.parametrize("rule", [etr.DRTRL(), etr.DRTRL(filters=False)], ids=["filters", "no filters"])
def test_the_readout_is_exact_and_what_is_dropped_elsewhere_is_said(case, rule):
    """With filters so is what only a leaky readout reads; where its rates differ, it has a trace in that group too."""
    graph, _, weights = case
    rows = graph.report(rule).rows
    read_at_one_rate = {("linear", "weight"), ("linear", "bias")} if rule.filters else set()
    read_at_two = {("layers", 2, "ff2r", "comm", "weight")} if rule.filters else set()
    by_filter = [(path, 3) for path, _ in weights if path in read_at_two]
    assert sorted((row.path, row.group) for row in rows) == sorted(weights + by_filter)
    assert [row.exact for row in rows] == [row.path in {READOUT, *read_at_one_rate} for row in rows]
    assert all(row.exact or row.dropped for row in rows)


@pytest.mark.parametrize("network", [networks.single_layer, networks.gif_layers])
def test_the_networks_are_alive(network):
    step, model, state, (x,) = network()

    def tick(state, x):
        out, state = step(model, state, x)
        return state, out

    out = jax.lax.scan(tick, state, jnp.broadcast_to(20 * x, (200, *x.shape)))[1]
    assert bool((jnp.abs(out[-1]) > 0).all()) and bool(jnp.isfinite(out).all())


def test_a_small_convolutional_network_trains_online():
    step, model, state, (x,) = networks.convolutional(channels=2, size=8, n_dense=6, n_out=3)

    def loss_step(model, state, x):
        out, state = step(model, state, x)
        return jnp.sum((out - 1) ** 2), state

    online = etr.etrace_value_and_grad(loss_step, etr.DRTRL())
    xs = 3 * jax.random.normal(jax.random.key(1), (12, *x.shape))
    (losses, grads), _, _ = eqx.filter_jit(online.scan)(model, state, online.init(model, state, x), xs)
    assert losses.shape == (12,)
    assert all(bool(jnp.isfinite(g).all() & (g != 0).any()) for g in jax.tree.leaves(grads))


def run(script, *arguments):
    """The output of an example, run as a user runs it, with warnings as errors."""
    command = [sys.executable, "-W", "error", str(EXAMPLES / script), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, env={**os.environ, "JAX_PLATFORMS": "cpu"}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_show_graph_prints_three_graphs():
    assert run("show_graph.py").count("The hidden groups are:") == 3


@pytest.mark.outside_sample
def test_quickstart_runs_on_a_small_budget(tmp_path):
    picture = tmp_path / "figure.png"
    text = run("quickstart.py", "--digits", "6400", "--lengths", "16", "64", "256", "--out", str(picture))
    for line in ["('syn', 'weight')", "  online: ", "    BPTT: ", "  chance: ", "stretch of 16, 64, 256 ms"]:
        assert line in text
    online, by_bptt = (re.findall(r"[\d.]+", line) for line in text.splitlines() if line.endswith(" MB"))
    online, by_bptt = list(map(float, online)), list(map(float, by_bptt))
    assert online[-1] < 1.02 * online[0]  # what this library is for
    assert by_bptt[-1] > 3 * by_bptt[0]
    accuracy = {name: float(found) for name, found in re.findall(r"(\w+): ([\d.]+)%", text)}
    assert min(accuracy["online"], accuracy["BPTT"]) > 3 * accuracy["chance"]
    assert picture.stat().st_size > 20_000


@pytest.mark.outside_sample
def test_the_figure_against_length(tmp_path):
    picture = tmp_path / "figure.svg"
    text = run("against_length.py", "--lengths", "16", "64", "--rounds", "1", "--out", str(picture))
    assert "online: MB" in text and "BPTT: MB" in text
    assert "<svg" in picture.read_text()


def test_the_ladder_on_a_small_budget():
    """The losses are finite, those of the first step are one number, and a rule that keeps more goes another way."""
    ladder = load("sparsity_ladder")
    with jax.enable_x64(False):
        found = {name: ladder.train(ladder.RULES[name], 0, 200) for name in ("NoTrace", "SnAp-2", "RTRL")}
    for losses in found.values():
        assert losses.shape == (200,) and bool(jnp.isfinite(losses).all())
        assert abs(losses[0] - found["RTRL"][0]) < 1e-5
    assert abs(found["RTRL"] - found["NoTrace"]).max() > 1e-3
    assert abs(found["RTRL"] - found["SnAp-2"]).max() > 1e-5

"""What `compile_graph` finds and says."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest
from cases import CASES
from online import compiled, graph_of, NAMES, table

import eqx_etrace as etr

RULE = etr.DRTRL()


W, R, TAU = ("W",), ("R",), ("tau",)
GRAPHS = {
    # name: groups as (paths, shape), relations as {(path, group, kind)}
    "leaky_integrator": ([([()], (4,))], {(W, 0, "dense")}),
    "adaptive_lif_with_synapse": (
        [([("V",), ("a",), ("g",)], (4,))],
        {(W, 0, "dense"), (TAU, 0, "elementwise")},
    ),
    "only_half_adapts": ([([("V",), ("a",)], (4,))], {(W, 0, "dense"), (("b",), 0, "elementwise")}),
    "scalar_in_several_groups": (
        [([("h",)], (4,)), ([("g",)], (2,))],
        {(W, 0, "dense"), (TAU, 0, "elementwise"), (("U",), 1, "dense"), (TAU, 1, "elementwise")},
    ),
    "tied_weight_in_two_groups": ([([(0,)], (4,)), ([(1,)], (4,))], {(W, 0, "dense"), (W, 1, "dense")}),
    "delayed_states": ([([(0,), (1,), (2,)], (4,))], {(("w",), 0, "elementwise"), (W, 0, "dense")}),
    "named_tuple_state": ([([("u",), ("v",)], (4,))], {(("w",), 0, "elementwise"), (W, 0, "dense")}),
    "conv1d_stride_padding_groups": (
        [([()], (4, 3))],
        {(("conv", "weight"), 0, "convolution"), (("conv", "bias"), 0, "elementwise")},
    ),
    "two_stacked_layers": (
        [([(0,)], (4,)), ([(1,)], (4,))],
        {
            (("w1",), 0, "elementwise"),
            (("W1",), 0, "dense"),
            (("w2",), 1, "elementwise"),
            (("W2",), 1, "dense"),
        },
    ),
    "gru": (
        [([()], (4,))],
        {(("cell", n), 0, "dense") for n in ("weight_ih", "weight_hh")}
        | {(("cell", n), 0, "elementwise") for n in ("bias", "bias_n")},
    ),
    "lstm": (
        [([(0,), (1,)], (4,))],
        {(("cell", n), 0, "dense") for n in ("weight_ih", "weight_hh")} | {(("cell", "bias"), 0, "elementwise")},
    ),
    "spectral_state": ([([()], (4,))], {(W, 0, "dense")}),
    "low_rank_weight": ([([()], (4,))], {(("U",), 0, "dense"), (("V",), 0, "dense")}),
    "counter_key_and_flag_in_the_state": (
        [([("h",)], (4,))],
        {(W, 0, "dense"), (("w",), 0, "elementwise"), (("b",), 0, "elementwise")},
    ),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_groups_and_relations(name):
    groups, relations = GRAPHS[name]
    graph = compiled(name)
    assert [(list(g.paths), g.shape) for g in graph.hidden_groups] == groups
    assert [g.index for g in graph.hidden_groups] == list(range(len(groups)))
    assert [g.num_states for g in graph.hidden_groups] == [len(paths) for paths, _ in groups]
    assert {(r.path, r.group, r.kind) for r in graph.relations} == relations


@pytest.mark.parametrize("name", table(NAMES[::3], NAMES[::12]))
def test_deterministic(name):
    first, second = graph_of(name), compiled(name)
    assert str(first) == str(second)
    assert str(first.report(RULE)) == str(second.report(RULE))
    assert [r.path for r in first.relations] == [r.path for r in second.relations]


@pytest.mark.parametrize("name", table())
def test_every_relation_has_a_source(name):
    module = CASES[name].builder.__module__.split(".")[-1]
    for relation in graph_of(name).relations:
        assert relation.source.startswith((f"{module}.py:", "table.py:")), relation


def named(keys):
    return tuple(getattr(k, "name", getattr(k, "key", getattr(k, "idx", None))) for k in keys)


@pytest.mark.parametrize("name", table())
def test_the_report_has_a_row_for_every_parameter(name):
    _, model, _, _ = CASES[name].build()
    rows = graph_of(name).report(RULE).rows
    leaves, _ = jax.tree_util.tree_flatten_with_path(model)
    assert {row.path for row in rows} == {named(keys) for keys, leaf in leaves if eqx.is_inexact_array(leaf)}
    for row in rows:
        assert (row.group is None) == (row.rule == "") == (row.trace_shape == ())


def small_step(model, state, x):
    v = jax.nn.sigmoid(model["tau"]) * state["V"] + model["W"] @ jnp.tanh(model["encoder"] @ x)
    return model["readout"] @ v, {"V": v}


SMALL = {
    "W": jnp.ones((3, 2)),
    "encoder": jnp.ones((2, 5)),
    "readout": jnp.ones((1, 3)),
    "tau": jnp.ones(3),
}
TEXT = """\
The hidden groups are:

   Group 0: [('V',)]

The weight parameters which are associated with the hidden states are:

   Weight 0: ('tau',)  is associated with hidden group 0
   Weight 1: ('W',)  is associated with hidden group 0
"""


def test_text(capsys):
    graph = etr.compile_graph(small_step, SMALL, {"V": jnp.zeros(3)}, jnp.ones(5))
    graph.show_graph()
    printed = capsys.readouterr().out
    assert printed == str(graph) + "\n"
    assert printed.startswith(TEXT)
    rest = printed.removeprefix(TEXT)
    assert "without a trace" in rest
    line = small_step.__code__.co_firstlineno + 1
    encoder, readout = (
        next(filter(lambda li, path=path: str(path) in li, rest.splitlines())) for path in (("encoder",), ("readout",))
    )
    assert f"test_graph.py:{line} (small_step)" in encoder
    assert "hidden group 0" in encoder
    assert f"{3 * 10 * 8} B" in encoder  # states times parameters
    assert "exact" in readout
    assert "1 hidden groups" in repr(graph) or "1 hidden group" in repr(graph)


def test_report_text():
    graph = etr.compile_graph(small_step, SMALL, {"V": jnp.zeros(3)}, jnp.ones(5))
    report = graph.report(RULE)
    text = str(report)
    rows = {row.path: row for row in report.rows}
    assert [rows[p,].exact for p in ("W", "encoder", "readout", "tau")] == [True, False, True, True]
    assert [rows[p,].group for p in ("W", "encoder", "readout", "tau")] == [0, None, None, 0]
    line = small_step.__code__.co_firstlineno + 1
    assert rows["encoder",].dropped[0].source == f"test_graph.py:{line} (small_step)"
    assert "window only" in text and "exact" in text and f"test_graph.py:{line}" in text
    assert math.prod(rows["W",].trace_shape[0]) == 3 * 2


def test_shapes_are_enough():
    """`ShapeDtypeStruct`s in place of arrays give the same graph, and run nothing."""
    arrays = (SMALL, {"V": jnp.zeros(3)}, jnp.ones(5))
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), arrays)
    found, wanted = etr.compile_graph(small_step, *shapes), etr.compile_graph(small_step, *arrays)
    assert str(found) == str(wanted)
    assert str(found.report(RULE)) == str(wanted.report(RULE))
    large = jax.ShapeDtypeStruct((2_000, 3_000), jnp.float32)

    def step(W, h, x):
        return x, 0.5 * h + W @ x

    state, x = (jax.ShapeDtypeStruct((n,), jnp.float32) for n in (2_000, 3_000))
    report = etr.compile_graph(step, large, state, x).report(RULE)
    assert math.prod(report.rows[0].trace_shape[0]) == 2_000 * 3_000


def test_batch_lanes_are_positions():
    graph = compiled("batch_by_matmul")
    assert graph.hidden_groups[0].shape == (2, 4)
    rows = {row.path: row for row in graph.report(RULE).rows}
    assert math.prod(rows["W",].trace_shape[0]) == 2 * 4 * 3


def test_attention_encoder_before_a_cell():
    """Attention mixes whatever it is given: it is window-only. A norm after it, and the cell's drive, are exact."""
    keys = jax.random.split(jax.random.key(0), 3)
    model = {
        "attention": eqx.nn.MultiheadAttention(2, 4, key=keys[0]),
        "norm": eqx.nn.LayerNorm(4),
        "drive": eqx.nn.Linear(4, 3, key=keys[1]),
    }

    def step(model, h, x):
        tokens = jax.vmap(model["norm"])(model["attention"](x, x, x) + x)
        h = 0.9 * h + model["drive"](tokens.mean(0))
        return h, h

    graph = etr.compile_graph(step, model, jnp.zeros(3), jnp.ones((5, 4)))
    exact = {row.path[0]: row.exact for row in graph.report(RULE).rows}
    assert exact == {"attention": False, "norm": True, "drive": True}
    assert {r.path for r in graph.relations} == {("drive", "weight"), ("drive", "bias")}


def test_the_analysis_grows_with_depth_and_not_with_its_square():
    """Operations looked at, not seconds: every layer has the same number of equations, tails and cuts."""

    def step(cells, state, x):
        new = []
        for cell, h in zip(cells, state, strict=True):
            x = cell(x, h)
            new.append(x)
        return jnp.sum(x), new

    def visited(depth):
        cells = [eqx.nn.GRUCell(3, 3, key=jax.random.key(i)) for i in range(depth)]
        graph = etr.compile_graph(step, cells, [jnp.zeros(3)] * depth, jnp.ones(3))
        assert len(graph.hidden_groups) == depth
        assert [r.group for r in graph.relations] == sorted(r.group for r in graph.relations)
        return sum(len(tail.equations) + len(tail.cuts) for tail in graph._analysis.tails)

    per_layer = visited(3) - visited(2)
    assert visited(20) == visited(2) + 18 * per_layer

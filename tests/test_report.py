"""What a report says beside its numbers, what it costs to make, and that its counts are those of the arrays."""

import copy
import pickle

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp
from cases import CASES
from online import graph_of, NAMES, table
from oracle import bptt, by_path

import eqx_etrace as etr
from eqx_etrace._carry import BlockLayout, Layouts
from eqx_etrace._read.on_blocks import _reach, _sparse
from eqx_etrace._read.on_blocks._colours import find_colours
from eqx_etrace._spend import assign, places

RULE = etr.DRTRL()


def layers(depth, n, batch):
    """Feed-forward spiking layers in a batch."""
    keys = jax.random.split(jax.random.key(0), depth)
    model = [(eqx.nn.Linear(n, n, key=key), etr.nn.LIF()) for key in keys]

    def one(model, state, x):
        new = []
        for (linear, cell), h in zip(model, state, strict=True):
            x, h = cell(linear(x), h)
            new.append(h)
        return x, new

    def step(model, state, x):
        out, state = jax.vmap(one, (None, 0, 0))(model, state, x)
        return jnp.mean(out), state

    state = [cell.init_state((batch, n)) for _, cell in model]
    return etr.compile_graph(step, model, state, jnp.zeros((batch, n)))


def dense(n, batch, leak=0.0):
    def step(m, h, x):
        h = jax.vmap(lambda h, x: leak * h + jnp.tanh(m["w"] @ h + m["u"] @ x + m["b"]))(h, x)
        return jnp.mean(h), h

    shape = [jax.ShapeDtypeStruct(s, jnp.float32) for s in ((n, n), (n, 20), (n,), (batch, n), (batch, 20))]
    return etr.compile_graph(step, dict(zip("wub", shape, strict=False)), *shape[3:])


@pytest.mark.parametrize("graph", [lambda: dense(256, 4, 0.5), lambda: layers(5, 8, 3)], ids=["dense", "layers"])
def test_counting_writes_no_pattern_out(graph, monkeypatch):
    """The size of the network is what it takes, not that of its Jacobian."""
    graph = graph()
    with monkeypatch.context() as patched:
        for kind in (_sparse.Pattern, _reach.Reach):
            patched.setattr(kind, "written_out", property(lambda self: pytest.fail("a pattern was written out")))
        report = graph.report(etr.DRTRL())
        assert len(report.alternatives) == 7
    pattern = graph._analysis.structure.pattern
    kept = sum(term.sets.nnz + term.of.size for term in pattern.terms)
    assert kept < pattern.nnz / 4


def test_counts_of_a_dense_network():
    """By hand: a block per lane; of one step, a scalar per unit and lane, but for the bias, which all lanes share."""
    n, batch, k = 64, 3, 20
    costs = {cost.rule: cost for cost in dense(n, batch).report(etr.DRTRL()).alternatives}
    weights, with_features = batch * n * (n + k + 1), 2
    assert costs["SnAp(n=1)"].trace_bytes == 4 * (weights + with_features * batch * n)  # a status for each scalar
    whole = 4 * (n * weights + with_features * batch * n)
    assert costs["RTRL()"].trace_bytes == costs["SnAp(n=2)"].trace_bytes == whole
    assert costs["RTRL()"].passes == n and costs["RTRL()"].exact == 3


@pytest.mark.parametrize("name", table(NAMES[::4], NAMES[::16]))
@pytest.mark.parametrize("rule", [etr.SnAp(1), etr.SnAp(2), etr.RTRL()], ids=str)
def test_counts_are_those_of_the_layout(name, rule):
    """What is reported is counted without the scalars that traces are laid out by."""
    _, sources = places(assign(Layouts(graph_of(name)._analysis), rule).keepers)
    for i in sources:
        assert isinstance(i, BlockLayout)
        features = [i.head.shape[-1] if i.columns is None else i.columns.shape[-1]] if i.head.has_features else []
        assert i.shape == (*i.slots.shape, i.rows.shape[1], *features)
        assert {int(i.structure.leaf[s]) for s in i.slots.ravel() if s >= 0} == i.own


def random_sets(rng, shape, density):
    return sp.csr_array(rng.random(shape) < density)


@pytest.mark.parametrize("seed", range(20))
def test_sets_that_overlap_are_counted_right(seed):
    """Against the same written out: sizes, which rows are alike, what is reached."""
    rng = np.random.default_rng(seed)
    members, rows = random_sets(rng, (7, 12), 0.3), random_sets(rng, (30, 7), 0.25)
    family = _reach.Family(members)
    onward = random_sets(rng, (7, 7), 0.1)
    depends = onward.toarray()  # an edge is a fact of elements: it depends on what a set has
    for inner, outer in zip(*family.within.toarray().nonzero(), strict=True):
        depends[outer] |= depends[inner]
        depends[outer, inner] = True
    onward = sp.csr_array(depends)
    for times, reach in ((1, _reach.within_steps(rows, onward, 2, family)), (None, None)):
        found = _reach.closure(rows, onward, family) if reach is None else _reach.Reach(reach, family)
        held = rows.toarray()
        for _ in range(times or 7):
            held = held | (held.astype(int) @ depends > 0)
        wanted = held.astype(int) @ members.toarray() > 0
        np.testing.assert_array_equal(found.sizes, wanted.sum(1))
        alike = (wanted[:, None] == wanted[None]).all(-1)
        np.testing.assert_array_equal(found.kinds[:, None] == found.kinds[None], alike)
        for row, elements in enumerate(found.written_out(np.arange(30))):
            np.testing.assert_array_equal(elements, wanted[row].nonzero()[0])


@pytest.mark.parametrize("seed", range(20))
def test_rows_of_one_colour_share_no_column(seed):
    rng = np.random.default_rng(seed)
    reads, rows = random_sets(rng, (7, 12), 0.2), random_sets(rng, (30, 7), 0.2)
    colours = find_colours(reads, _reach.Family(rows.T.tocsr()))
    pattern = rows.toarray().astype(int) @ reads.toarray() > 0
    shared = pattern.astype(int) @ pattern.T > 0
    for i, j in zip(*shared.nonzero(), strict=True):
        assert i == j or colours[i] != colours[j]
    assert colours.max() < 30


def test_constants_are_walked_once():
    """Every line uses the last three times: a walk that forgets would take 3^60 steps."""

    def step(m, h, x):
        u = jnp.asarray(np.linspace(0.0, 1.0, 4))
        for _ in range(60):
            u = u * u + 0.1 * u
        return jnp.sum(h), jnp.tanh(h + u * (m * x))

    one = jnp.ones(4)
    rows = etr.compile_graph(step, one, one, one).report(etr.SnAp(1)).rows
    assert rows[0].exact and rows[0].trace_shape == ((3, 1, 1),)


def test_chains_deeper_than_the_stack():
    def step(m, h, x):
        u = jnp.asarray(np.linspace(0.0, 1.0, 4))
        for _ in range(1500):
            u = -u
        return jnp.sum(h), jnp.tanh(h + u * (m * x))

    one = jnp.ones(4)
    assert etr.compile_graph(step, one, one, one).report(etr.SnAp(1)).rows[0].trace_shape == ((3, 1, 1),)


def small(m, h, x):
    h = jnp.tanh(m["a"] * h + m["w"] @ x)
    return jnp.sum(h**2), h


MODEL = {"a": jnp.full(4, 0.5), "w": jnp.ones((4, 3))}
STATE, INPUT = jnp.zeros(4), jnp.ones(3)


def test_a_step_that_ignores_its_model():
    report = etr.compile_graph(lambda m, h, x: small(MODEL, h, x), MODEL, STATE, INPUT).report(etr.DRTRL())
    assert {row.zero for row in report.rows} == {"is used by no step"}
    lines = str(report).splitlines()
    assert lines[0].startswith("Nothing is learned")
    assert "Does the step close over its model?" in lines[1]
    assert [line.split()[2] for line in lines[5:7]] == ["zero", "zero"]
    assert "   ('a',), ('w',): is used by no step" in lines


def test_a_parameter_whose_gradient_is_zero():
    """One behind `stop_gradient`, and one that enters a state which nothing reads; BPTT has zeros, too."""

    def step(m, state, x):
        h, record = state
        h = jnp.tanh(h + jax.lax.stop_gradient(m["a"]) + m["w"] @ x)
        return jnp.sum(h), (h, 0.5 * record + m["c"] * h)

    model, state = {**MODEL, "c": jnp.ones(4)}, (STATE, STATE)
    graph = etr.compile_graph(step, model, state, INPUT)
    report = graph.report(etr.DRTRL())
    zero = {row.path[0]: row.zero for row in report.rows}
    why = "reaches the output of no step by a path that has a derivative"
    assert zero == {"a": why, "c": why, "w": None}
    assert f"   ('a',), ('c',): {why}" in str(report).splitlines()
    assert "Nothing is learned" not in str(report)

    gradients = bptt(step, model, state, jnp.ones((3, 3)))
    assert {name: bool((g == 0).all()) for name, g in gradients.items()} == {"a": True, "c": True, "w": False}
    assert "gradient is zero" in graph.draw().dot


def test_a_spike_without_a_surrogate_is_named():
    def step(m, v, x):
        v = 0.9 * v + m["w"] @ x
        return jnp.sum((v > 1.0).astype(float)), v

    report = etr.compile_graph(step, {"w": jnp.ones((4, 3))}, STATE, INPUT).report(etr.DRTRL())
    (row,) = report.rows
    assert row.zero is not None and "`gt` at test_report.py" in row.zero and row.zero.endswith("has none")


@pytest.mark.parametrize("name", table(NAMES[::8], NAMES[::32]))
def test_zero_is_said_of_no_parameter_that_has_a_gradient(name):
    step, model, state, inputs = CASES[name].build()
    gradients = by_path(bptt(step, model, state, *inputs))
    for row in graph_of(name).report(RULE).rows:
        assert row.zero is None or (gradients[row.path] == 0).all()


def recurrent(w, h, x):
    h = jnp.tanh(w @ h + x)
    return h.sum(), h


def test_a_model_and_a_state_that_are_one_array_have_names():
    one = jnp.ones(3)
    graph = etr.compile_graph(recurrent, jnp.ones((3, 3)), one, one)
    report = graph.report(etr.SnAp(1))
    assert "Group 0: [<the state>]" in str(graph) and "Weight 0: <the model>" in str(graph)
    assert str(report).splitlines()[2].startswith("<the model>  0")
    assert "(for <the model>)" in str(report)
    assert "the model" in graph.draw().dot and "the state" in graph.draw().dot
    assert str(etr.choose_rule(graph, memory=50)).startswith("<the model> in group 0")
    with pytest.raises(ValueError, match="The largest is that of <the model>"):
        etr.etrace_grad(recurrent, etr.RTRL(limit=10)).init(jnp.ones((3, 3)), one, one)


def test_states_and_parameters_that_only_have_numbers():
    def step(m, state, x):
        state = m[0](x, state)
        return state[0].sum(), state

    cell = eqx.nn.LSTMCell(3, 4, key=jax.random.key(0))
    dot = etr.compile_graph(step, (cell,), (jnp.zeros(4),) * 2, jnp.ones(3)).draw().dot
    assert all(name in dot for name in ("state[0]", "state[1]", "model[0].weight_ih"))


def test_copies_and_pickles():
    graph = etr.compile_graph(small, MODEL, STATE, INPUT)
    assert copy.copy(graph) is graph and copy.deepcopy([graph])[0] is graph
    with pytest.raises(TypeError, match=r"cannot be pickled.*graph\.report"):
        pickle.dumps(graph)
    report = graph.report(etr.DRTRL())
    again = pickle.loads(pickle.dumps(report))
    assert again == report and str(again) == str(report) and again.alternatives == report.alternatives
    assert copy.deepcopy(report) == report == pickle.loads(pickle.dumps(again))
    drawing = graph.draw()
    assert pickle.loads(pickle.dumps(drawing)).dot == copy.deepcopy(drawing).dot == drawing.dot
    for value in (graph.hidden_groups, graph.relations, etr.choose_rule(graph, memory=20)):
        assert pickle.loads(pickle.dumps(value)) == copy.deepcopy(value) == value

"""Connectomes of files, of columns and at random; and the synapses of a table."""

import gzip

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eqx_etrace as etr
from eqx_etrace import connectome, nn

pytestmark = pytest.mark.outside_sample  # what is tested hardly depends on the version of JAX

BASE = 720_575_940_600_000_000  # neurons of FlyWire have numbers like this, which no float holds
ROWS = [  # source, target, neuropil, synapses, transmitter: the first two are one connection
    (BASE + 7, BASE + 1, "AL_L", 3, "GABA"),
    (BASE + 7, BASE + 1, "AL_R", 2, "GABA"),
    (BASE + 1, BASE + 7, "AL_R", 4, "ACH"),
    (BASE + 3, BASE + 1, "LH_R", 9, "ACH"),
    (BASE + 3, BASE + 7, "LH_R", 1, "GLUT"),
]
SOURCE, TARGET, _, COUNT, TRANSMITTER = map(np.asarray, zip(*ROWS, strict=True))
HEAD = "pre_root_id,post_root_id,neuropil,syn_count,nt_type"


def text(rows=ROWS, head=HEAD):
    return "\n".join([head, *(",".join(map(str, row)) for row in rows)]) + "\n"


def check_fly(fly):
    """The four connections of the rows, by hand."""
    assert fly.ids.tolist() == [BASE + 1, BASE + 3, BASE + 7]
    assert fly.target.tolist() == [0, 0, 2, 2] and fly.source.tolist() == [1, 2, 0, 1]
    assert fly.synapses.tolist() == [9, 5, 4, 1]
    assert fly.sign.tolist() == [1, 1, -1]  # of the second, most synapses say
    np.testing.assert_allclose(fly.weights(2.0), [2 * 9 / 14, -2 * 5 / 14, 2 * 4 / 5, 2 * 1 / 5], rtol=1e-6)


def test_rows_of_a_pair_are_one_connection():
    check_fly(connectome.from_pairs(SOURCE, TARGET, COUNT, transmitter=TRANSMITTER))
    order = np.random.default_rng(0).permutation(len(ROWS))
    check_fly(
        connectome.from_pairs(SOURCE[order], TARGET[order], COUNT[order], transmitter=TRANSMITTER[order], least=1)
    )


def test_the_least_is_asked_of_the_sum():
    fly = connectome.from_pairs(SOURCE, TARGET, COUNT, least=5)
    assert fly.synapses.tolist() == [9, 5] and fly.units == 3 and fly.sign.tolist() == [1, 1, 1]
    assert connectome.from_pairs(SOURCE, TARGET).synapses.tolist() == [1, 2, 1, 1]


def test_all_neurons_and_their_order_may_be_given():
    ids = BASE + np.asarray([7, 5, 3, 1])
    fly = connectome.from_pairs(SOURCE, TARGET, COUNT, ids=ids)
    assert fly.units == 4 and fly.ids.tolist() == ids.tolist()
    assert list(zip(fly.source.tolist(), fly.target.tolist(), strict=True)) == [(2, 0), (3, 0), (0, 3), (2, 3)]


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "quoted", "feather", "parquet"])
def test_files(kind, tmp_path):
    path = tmp_path / f"connections.{'csv' if kind == 'quoted' else kind}"
    if kind == "csv.gz":
        path.write_bytes(gzip.compress(text().encode()))
    elif kind == "csv":
        path.write_text(text())
    elif kind == "quoted":
        quoted = [(a, b, f'"{c}, both"', d, f'"{e}"') for a, b, c, d, e in ROWS]
        path.write_text(text(quoted, ",".join(f'"{name}"' for name in HEAD.split(","))))
    else:
        arrow = pytest.importorskip("pyarrow")
        table = arrow.table(dict(zip(HEAD.split(","), map(list, zip(*ROWS, strict=True)), strict=True)))
        write = pytest.importorskip(f"pyarrow.{kind}")
        (write.write_feather if kind == "feather" else write.write_table)(table, path)
    check_fly(connectome.read(path))


@pytest.mark.parametrize(
    "head",
    ["pre_pt_root_id,post_pt_root_id,neuropil,syn_count,nt_type", "bodyId_pre,bodyId_post,roi,weight,nt_type"],
)
def test_names_of_archives_are_known(head, tmp_path):
    path = tmp_path / "connections.csv"
    path.write_text(text(head=head))
    check_fly(connectome.read(path))


def test_names_may_be_said(tmp_path):
    path = tmp_path / "connections.csv"
    path.write_text(text(head="from,to,where,n,what"))
    check_fly(connectome.read(path, source="from", target="to", count="n", transmitter="what"))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: connectome.from_pairs(SOURCE.astype(float), TARGET), "A float holds 15 digits"),
        (lambda: connectome.from_pairs(SOURCE, TARGET, ids=SOURCE), "more than once"),
        (lambda: connectome.from_pairs(SOURCE, TARGET, ids=SOURCE[:1]), "which is not in `ids`"),
        (lambda: connectome.from_pairs(SOURCE, TARGET, ids=SOURCE[:0]), "which is not in `ids`"),
        (lambda: connectome.from_pairs(SOURCE, TARGET, np.negative(COUNT)), "no synapse or more"),
        (
            lambda: connectome.from_pairs(SOURCE, TARGET, transmitter=SOURCE.astype(str)),
            "known names are acetylcholine",
        ),
        (lambda: connectome.from_pairs(SOURCE, TARGET, COUNT, least=10), "with `least=10`; the most .* are 9"),
        (lambda: connectome.from_pairs(SOURCE[:0], TARGET[:0]), "No connection is left of 0 rows"),
        (lambda: connectome.from_pairs(SOURCE[[0, 0]], TARGET[[0, 0]], np.asarray([2**31, 1])), "31 bits"),
        (lambda: connectome.from_pairs(SOURCE.astype(np.uint64) + np.uint64(2**63), TARGET), "more than 63 bits"),
        (lambda: connectome.random(0, 4, 7), "over a half"),
        (lambda: connectome.random(0, 40, 70).weights(float("nan")), "`gain` is nan"),
        (lambda: connectome.random(0, 0, 7), "there must be at least 1"),
        (lambda: connectome.read("brain.h5"), "`connectome.from_pairs`"),
    ],
)
def test_what_is_wrong_is_said(wrong, says):
    with pytest.raises((ValueError, TypeError), match=says):
        wrong()


def test_files_that_are_wrong_are_said(tmp_path):
    path = tmp_path / "connections.csv"
    path.write_text(text(head="from,to,where,n,what"))
    with pytest.raises(ValueError, match="known to be the source; it has from, to, where, n, what"):
        connectome.read(path)
    with pytest.raises(ValueError, match="has no column 'who'"):
        connectome.read(path, source="who")
    path.write_text(text([*ROWS, (BASE, "1.5e3", "AL", 1, "ACH")]))
    with pytest.raises(
        ValueError,
        match=r"`connections\.csv` has a row that cannot be read: could not convert string '1.5e3' .* must be integers",
    ):
        connectome.read(path)


def test_at_random_with_the_statistics_of_the_fly():
    units, connections = 10_000, 1_000_000
    fly = connectome.random(0, units, connections)
    assert len(fly.source) == connections and fly.units == units
    assert len({*zip(fly.source.tolist(), fly.target.tolist(), strict=True)}) == connections
    assert (fly.source != fly.target).all()
    number = fly.target.astype(np.int64) * units + fly.source
    assert (np.diff(number) > 0).all()
    # FlyWire: 54.5 million synapses, and 2,701,601 connections of five or more, in 15,091,983.
    assert abs(fly.synapses.mean() - 54.5 / 15.09) < 0.05
    assert abs((fly.synapses >= 5).mean() - 2_701_601 / 15_091_983) < 0.005
    given, got = (np.log(np.bincount(of, minlength=units) + 0.5) for of in (fly.source, fly.target))
    assert abs(np.std(given) - 1) < 0.05 and abs(np.std(got) - 1) < 0.05
    assert abs(np.corrcoef(given, got)[0, 1] - 0.5) < 0.05
    assert abs((fly.sign < 0).mean() - 0.4) < 0.02
    again, other = connectome.random(0, units, connections), connectome.random(1, units, connections)
    assert (again.source == fly.source).all() and not (other.source == fly.source).all()


def small(key, into=12, out=9, synapses=40):
    rng = np.random.default_rng(0)
    pairs = np.sort(rng.choice(into * out, synapses, replace=False))
    weight = jax.random.normal(key, (synapses,))
    projection = nn.SparseProjection(pairs % into, pairs // into, weight, into, out)
    dense = jnp.zeros((out, into)).at[pairs // into, pairs % into].set(weight)
    return projection, dense


@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
def test_a_sparse_projection_is_a_matrix(batch, key):
    projection, dense = small(key)
    x = jax.random.normal(key, (*batch, 12))
    np.testing.assert_allclose(projection(x), x @ dense.T, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("batch", [(), (3,)])
@pytest.mark.parametrize("rule", [etr.DRTRL(), etr.PPProp(0.7)], ids=["DRTRL", "PPProp"])
def test_one_number_of_trace_for_each_synapse(batch, rule, key):
    """And the gradient of BPTT, where the trace is exact."""
    projection, _ = small(key)
    xs, h = jax.random.normal(key, (5, *batch, 12)), jnp.zeros((*batch, 9))

    def step(projection, h, x):
        h = 0.7 * h + jnp.tanh(projection(x))
        return jnp.sum(jnp.cos(h)), h

    def bptt(weight):
        model = eqx.tree_at(lambda p: p.weight, projection, weight)

        def body(h, x):
            loss, h = step(model, h, x)
            return h, loss

        return jax.lax.scan(body, h, xs)[1].sum()

    online = etr.etrace_grad(step, rule)
    report = online.graph(projection, h, xs[0]).report(rule)
    assert report.rows[0].trace_shape == ((*batch, 40),)
    found = online.scan(projection, h, online.init(projection, h, xs[0]), xs)[0].weight
    wanted = jax.grad(bptt)(projection.weight)
    if isinstance(rule, etr.DRTRL):
        assert report.rows[0].exact
        np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-12)
    assert jnp.vdot(found, wanted) > 0


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (([0, 12], [0, 1]), "`source` has 12, and there are 12 inputs"),
        (([0, -1], [0, 1]), "`source` has -1"),
        (([2**32 + 1, 0], [0, 1]), "`source` has 4294967297, .* `connectome.from_pairs`"),  # 1 in 32 bits
        (([0, 1], [0, 9]), "`target` has 9, and there are 9 outputs"),
        (([0.0, 1.0], [0, 1]), "must be integers"),
    ],
)
def test_a_table_that_is_wrong_is_said(given, says):
    with pytest.raises((ValueError, TypeError), match=says):
        source, target = map(np.asarray, given)
        nn.SparseProjection(source, target, jnp.ones(2), 12, 9)


def test_an_input_that_does_not_fit_is_said(key):
    with pytest.raises(ValueError, match=r"takes 12 inputs, \[\*batch, 12\]; found float64\[9\]"):
        small(key)[0](jnp.ones(9))


def test_what_a_call_takes_is_about_what_the_report_says():
    """Of the size that is read from the compiled program."""
    fly = connectome.random(0, 2_000, 200_000)
    projection = nn.SparseProjection(fly.source, fly.target, jnp.asarray(fly.weights()), fly.units)

    def step(projection, h, x):
        h = 0.7 * h + jnp.tanh(projection(jnp.tanh(h)) + x)
        return jnp.mean(h**2), h

    h = x = jnp.ones(fly.units, jnp.float32)
    rule = etr.DRTRL()
    online = etr.etrace_grad(step, rule)
    report, trace = online.graph(projection, h, x).report(rule), online.init(projection, h, x)
    sizes = jax.jit(online, donate_argnums=(1, 2)).lower(projection, h, trace, x).compile().memory_analysis()
    assert sizes is not None
    held = sizes.argument_size_in_bytes + sizes.output_size_in_bytes + sizes.temp_size_in_bytes
    assert 0.7 < (held - sizes.alias_size_in_bytes) / report.held_bytes < 1.3
    assert report.held_bytes > 5 * report.trace_bytes

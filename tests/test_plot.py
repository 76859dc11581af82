"""What is drawn is what was given; what is recorded is what the gradient is made of."""

import pathlib
import re
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest
from oracle import relative

import eqx_etrace as etr
from eqx_etrace import nn, plot

matplotlib.use("Agg")
import matplotlib.pyplot as plt

pytestmark = pytest.mark.outside_sample  # what is tested hardly depends on the version of JAX
RNG = np.random.default_rng(2)


@pytest.fixture(autouse=True)
def closed():
    """Figures are closed, and settings are as they were."""
    before = dict(plt.rcParams)
    yield
    plt.close("all")
    assert dict(plt.rcParams) == before


def marks(ax):
    """Time and unit of every mark, in order."""
    found = [(x[0, 0], x[:, 1].mean()) for lines in ax.collections for x in lines.get_segments()]
    return np.asarray(sorted(found)).reshape(-1, 2)


def test_a_raster_has_a_mark_for_each_spike():
    spikes = RNG.random((50, 8)) < 0.2
    ax = plot.raster(spikes, dt=2.0)
    wanted = sorted((2.0 * t, float(unit)) for t in range(50) for unit in range(8) if spikes[t, unit])
    np.testing.assert_allclose(marks(ax), wanted)
    assert ax.get_xlabel() == "time (ms)" and ax.get_ylabel() == "unit" and ax.get_legend() is None
    np.testing.assert_allclose(marks(plot.raster(jnp.asarray(spikes, jnp.float32), dt=2.0)), wanted)


def test_several_spikes_of_a_step_are_side_by_side():
    ax = plot.raster(np.asarray([[1, 0], [0, 3], [2, 0]]), dt=3.0)
    np.testing.assert_allclose(marks(ax), [(0, 0), (3, 1), (4, 1), (5, 1), (6, 0), (7.5, 0)])


def test_groups_have_a_colour_and_a_name():
    _, given = plt.subplots()
    ax = plot.raster(np.eye(4), groups=["b", "a", "b", "b"], ax=given)
    assert ax is given
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["b", "a"]
    assert [len(lines.get_segments()) for lines in ax.collections] == [3, 1]
    assert len({tuple(lines.get_colors()[0]) for lines in ax.collections}) == 2


def test_many_spikes_are_pixels_and_none_are_no_error(tmp_path):
    ax = plot.raster(np.ones((200, 150), int))
    assert ax.collections[0].get_rasterized()
    ax.figure.savefig(tmp_path / "raster.svg")
    assert (tmp_path / "raster.svg").stat().st_size < 300_000
    for nothing in (np.zeros((5, 3)), np.zeros((5, 0)), np.zeros((0, 3))):
        assert marks(plot.raster(nothing)).size == 0


UNITS, T = 4, 14
NEURON = nn.LIF(tau=8.0, R=8.0)


def loss_step(model, state, x, y):
    units, r = state
    z, units = NEURON(model["w"] @ x + model["back"] @ NEURON.spike(units), units)
    r = 0.9 * r + model["out"] @ z
    return jnp.sum((r - y) ** 2), (units, r)


@pytest.fixture(scope="module")
def setting():
    rng = np.random.default_rng(7)

    def normal(*shape):
        return jnp.asarray(rng.normal(size=shape))

    model = {"w": normal(UNITS, 3), "back": 0.4 * normal(UNITS, UNITS), "out": normal(2, UNITS)}
    state = NEURON.init_state(UNITS), jnp.zeros(2)
    return model, state, 2 * normal(T, 3), normal(T, 2)


@pytest.fixture(scope="module")
def recorder(setting):
    """`plot.record` of the network, with arguments replaced by name."""
    model, state, xs, ys = setting
    online = etr.etrace_grad(loss_step, etr.EProp())
    usual = {"online": online, "trace": online.init(model, state, xs[0], ys[0]), "ys": ys}

    def recorded(parameter=("w",), entries=(ENTRIES[0],), **given):
        call = usual | given
        return plot.record(
            call["online"], model, state, call["trace"], xs, call["ys"], parameter=parameter, entries=entries
        )

    return recorded


RULES = [etr.EProp(), etr.UORO(jax.random.key(1)), etr.PPProp(0.9), etr.SnAp(1)]
ENTRIES = [(2, 1), (0, 0)]


@pytest.mark.sweep(2)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
def test_a_recording_is_what_the_gradient_is_made_of(setting, rule):
    """At every step: the gradient of the transform, as a direct part and signal times trace."""
    model, state, xs, ys = setting
    online = etr.etrace_value_and_grad(loss_step, rule)
    trace = online.init(model, state, xs[0], ys[0])
    recording, last, after = plot.record(online, model, state, trace, xs, ys, parameter=("w",), entries=ENTRIES)

    def one(carry, now):
        state, trace = carry
        (loss, grads), new, trace = online(model, state, trace, *now)
        direct = jax.grad(lambda model: loss_step(model, state, *now)[0])(model)["w"]
        return (new, trace), (loss, grads["w"], direct, state)

    (new, carried), (loss, grads, direct, states) = jax.lax.scan(one, (state, trace), (xs, ys))
    assert eqx.tree_equal(last, new, rtol=1e-12) and eqx.tree_equal(after, carried, rtol=1e-9, atol=1e-12)
    assert relative(recording.loss, loss) < 1e-12
    signal = jax.vmap(jax.grad(lambda state, *now: loss_step(model, state, *now)[0]))(states, xs, ys)
    for e, (i, j) in enumerate(ENTRIES):
        np.testing.assert_allclose(recording.gradient[:, e], grads[:, i, j], rtol=1e-9, atol=1e-12)
        product = np.zeros(T)
        for t in range(T):
            for row, on in zip(jax.tree.leaves(recording.trace), jax.tree.leaves(signal), strict=True):
                product[t] += float((row[t, e] * on[t]).sum())
        np.testing.assert_allclose(recording.carried[:, e], product, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(product + direct[:, i, j], grads[:, i, j], rtol=1e-9, atol=1e-12)


def test_the_trace_of_a_recording_is_the_jacobian(setting):
    """Under `RTRL`: that of the state before each step, with respect to the weights."""
    model, state, xs, ys = setting
    online = etr.etrace_grad(loss_step, etr.RTRL(), window=8)
    trace = online.init(model, state, xs[0], ys[0])
    record = eqx.filter_jit(plot.record)
    recording, _, _ = record(online, model, state, trace, xs, ys, parameter=["back"], entries=[(1, 3)])

    def states(w):
        def body(state, now):
            return loss_step({**model, "back": w}, state, *now)[1], state

        return jax.lax.scan(body, state, (xs, ys))[1]

    wanted = jax.jacfwd(states)(model["back"])
    for found, jacobian in zip(jax.tree.leaves(recording.trace), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(found[:, 0], jacobian[..., 1, 3], rtol=1e-9, atol=1e-12)
    assert recording.parameter == ("back",) and recording.entries == ((1, 3),)


def test_traces_draw_a_recording(recorder):
    recording, _, _ = recorder(entries=ENTRIES)
    top, middle, bottom = plot.traces(recording, dt=0.5, most=2)
    for e in range(2):
        x, y = bottom.lines[e].get_data()
        np.testing.assert_allclose(x, 0.5 * np.arange(T))
        np.testing.assert_array_equal(y, recording.gradient[:, e])
    rows = {"0.V": recording.trace[0].V, "1": recording.trace[1]}
    signals = {"0.V": recording.signal[0].V, "1": recording.signal[1]}
    labels = [text.get_text() for text in top.get_legend().get_texts()]
    found = [re.fullmatch(r"\[(\d), (\d)\] at ([\d.V]+)\[(\d)\]", label) for label in labels]
    assert len(found) > 2 and len({line.get_linestyle() for line in top.lines[: len(found)]}) == 2
    for line, match in zip(top.lines, found, strict=False):
        assert match
        i, j, leaf, unit = match.groups()
        np.testing.assert_array_equal(line.get_ydata(), rows[leaf][:, ENTRIES.index((int(i), int(j))), int(unit)])
    states = [re.fullmatch(r"([\d.V]+)\[(\d)\]", text.get_text()) for text in middle.get_legend().get_texts()]
    assert len(states) == len({match.groups()[2:] for match in found if match})
    for line, match in zip(middle.lines, states, strict=False):
        assert match
        np.testing.assert_array_equal(line.get_ydata(), signals[match[1]][:, int(match[2])])
    assert [ax.get_ylabel() for ax in (top, middle)] == ["trace", "learning signal"]
    assert bottom.get_xlabel() == "time (ms)"


def test_states_that_bring_most_credit_come_first():
    """By the largest product of trace and signal: a large trace that meets no signal comes last."""
    trace = jnp.asarray([[[9.0, 1.0, 0.0, 2.0]], [[9.0, 3.0, 0.0, 0.0]]])
    signal = jnp.asarray([[0.0, 1.0, 5.0, 1.0], [0.0, -1.0, 5.0, 7.0]])
    nothing = jnp.zeros((2, 1))
    recording = plot.Recording(
        trace={"h": trace},
        signal={"h": signal},
        carried=nothing,
        gradient=nothing,
        loss=jnp.zeros(2),
        parameter=("w",),
        entries=((0,),),
    )
    for most in (1, 2, 4):
        top, _, _ = plot.traces(recording, most=most)
        shown = [text.get_text() for text in top.get_legend().get_texts()]
        assert shown == ["[0] at h[1]", "[0] at h[3]", "[0] at h[0]"][:most]  # h[2] has no trace
    with pytest.raises(ValueError, match="1 to 4 states"):
        plot.traces(recording, most=5)


def measured(steps, cosines):
    """As a scan gives it."""

    def one(step, cosine):
        by_name = {"w": jnp.asarray(cosine), "b": jnp.asarray(float("nan")), "none": None}
        return etr.Fidelity(by_name, jax.tree.map(lambda c: 2 * c, by_name), jnp.asarray(step))

    return jax.tree.map(lambda *all: jnp.stack(all), *map(one, steps, cosines))


def test_fidelity_by_parameter():
    """Of a scan; before the first measurement there is nothing, and one that is returned again is drawn once."""
    nan = float("nan")
    cosine, ratio = plot.fidelity(measured([-1, 9, 9, 19, 29], [nan, 0.5, 0.5, nan, 0.7]))
    curves = {line.get_label(): line.get_data() for line in cosine.lines}
    np.testing.assert_array_equal(curves["w"][0], [9, 19, 29])
    np.testing.assert_array_equal(curves["w"][1], [0.5, nan, 0.7])
    assert [text.get_text() for text in cosine.get_legend().get_texts()] == ["b", "w"]
    np.testing.assert_array_equal(ratio.lines[1].get_ydata(), [1.0, nan, 1.4])
    assert list(cosine.lines[2].get_ydata()) == [1, 1] and ratio.get_xlabel() == "call"


def test_fidelity_of_a_list_and_of_one_array():
    alone = [etr.Fidelity(jnp.asarray(c), jnp.asarray(1.0), jnp.asarray(n)) for n, c in ((4, 0.2), (9, 0.4))]
    _, given = plt.subplots(2)
    cosine, _ = axes = plot.fidelity(alone, axes=given)
    assert axes == tuple(given)
    np.testing.assert_array_equal(cosine.lines[0].get_data(), [[4, 9], [0.2, 0.4]])
    assert cosine.lines[0].get_label() == "model"


def test_rules_show_what_their_reports_say(setting):
    model, state, xs, ys = setting
    graph = etr.compile_graph(loss_step, model, state, xs[0], ys[0])
    reports = {str(rule): graph.report(rule) for rule in (etr.NoTrace(), etr.EProp(), etr.RTRL())}
    memory, work = plot.rules(reports)
    for ax, name in ((memory, "trace_bytes"), (work, "work")):
        dots = [line for line in ax.lines if line.get_marker() == "o"]
        assert ax.get_xscale() == "log"
        found = [(line.get_xdata()[0], line.get_ydata()[0]) for line in dots]
        numbers = [getattr(report, name) for report in reports.values()]
        assert found == [(number, row) for row, number in enumerate(numbers) if number]
        assert [line.get_markerfacecolor() == "white" for line in dots] == [True, False]
        assert ax.texts[0].get_text().startswith("0")
    labels = [label.get_text() for label in memory.get_yticklabels()]
    assert labels[0] == "NoTrace()\n0 of 3 exact, 0 passes" and labels[2].startswith("RTRL()\n3 of 3 exact")
    memory.figure.draw_without_rendering()
    boxes = [text.get_window_extent() for ax in (memory, work) for text in ax.texts]
    boxes += [label.get_window_extent() for label in memory.get_yticklabels()]
    assert not any(one.overlaps(other) for n, one in enumerate(boxes) for other in boxes[:n])


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"pip install 'eqx_etrace\[plot\]'"):
        plot.raster(np.ones((3, 2)))


def test_matplotlib_is_imported_when_something_is_drawn():
    for path in pathlib.Path(plot.__file__).parent.glob("*.py"):
        assert not re.search(r"^\s*(import|from) matplotlib", path.read_text(), re.MULTILINE), path


WRONG = {
    "time is missing": (lambda _: plot.raster(np.ones(3)), r"must be \[time, units\]|type"),
    "potentials": (lambda _: plot.raster(np.full((3, 2), 0.5)), "6 values that are no number of spikes, such as 0.5"),
    "a step of no length": (lambda _: plot.raster(np.ones((3, 2)), dt=0), "`dt` is 0; a step must be longer"),
    "groups of others": (lambda _: plot.raster(np.ones((3, 2)), groups=["a"]), "1 entries, and there are 2 units"),
    "no axes": (lambda _: plot.raster(np.ones((3, 2)), ax="here"), "drawn into 1 axes; found str"),
    "an axis too few": (lambda _: plot.fidelity(measured([1], [0.5]), axes=plt.gca()), "drawn into 2 axes; found Axes"),
    "nothing measured": (lambda _: plot.fidelity(measured([-1], [0.5])), "Nothing was measured yet"),
    "no measurement": (lambda _: plot.fidelity([0.5]), "made of `Fidelity`|type"),  # type: ignore[list-item]
    "no reports": (lambda _: plot.rules({}), "`reports` is empty"),
    "rules": (lambda _: plot.rules([etr.EProp()]), "from names to reports|type"),  # type: ignore[arg-type]
    "a path of nothing": (
        lambda r: r(parameter=("v",)),
        r"path of no array of the model. They are \('back',",
    ),
    "a path as a word": (lambda r: r(parameter="w"), "`parameter` is 'w', which is the path of no array"),
    "an index outside": (
        lambda r: r(entries=[(4, 0)]),
        r"\[4, 0\] is no index of \('w',\), an array \[4, 3\]",
    ),
    "a row": (lambda r: r(entries=[1]), r"\[1\] is no index"),
    "no weights": (lambda r: r(entries=[]), "at least one index"),
    "a step": (lambda r: r(online=loss_step), "must be what `etrace_grad`|type"),
    "no trace": (lambda r: r(trace=jnp.ones(2)), "must be an `ETrace`|type|truth value"),
    "other lengths": (lambda r: r(ys=jnp.ones((T - 1, 2))), "time axis|length"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_drawn_is_said(recorder, what):
    make, said = WRONG[what]
    with pytest.raises((TypeError, ValueError), match=said):
        make(recorder)

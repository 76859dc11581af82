"""The drawing says all that the graph and the report say, and nothing else."""

import functools
import html
import importlib
import re

import jax
import jax.numpy as jnp
import pytest
from test_examples import networks

import eqx_etrace as etr

pytestmark = pytest.mark.outside_sample  # what is tested hardly depends on the version of JAX

NETWORKS = {
    "single_layer": networks.single_layer,
    "gif_layers": networks.gif_layers,
    "convolutional": functools.partial(networks.convolutional, 4, 8, 10, 5),
}


def compiled(name):
    step, model, state, inputs = NETWORKS[name]()
    return etr.compile_graph(step, model, state, *inputs)


def words(drawing):
    """The text of the picture, line by line."""
    return [html.unescape(t).strip() for t in re.findall(r"<text[^>]*>([^<]*)</text>", drawing.svg)]


def shown(path):
    return "".join(f"[{k}]" if isinstance(k, int) else f".{k}" for k in path).lstrip(".")


@pytest.mark.parametrize("rule", [etr.DRTRL(), etr.RTRL(), etr.NoTrace()], ids=str)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_group_state_and_parameter_is_named(name, rule):
    graph = compiled(name)
    text = words(graph.draw(rule))
    for group in graph.hidden_groups:
        assert f"hidden group {group.index}" in text
        assert all(shown(path) in text for path in group.paths)
    for row in graph.report(rule).rows:
        assert shown(row.path) in text


def colours(drawing):
    """The colour of every parameter's row."""
    found = {}
    for colour, name in re.findall(r'<polygon fill="(#\w+)"[^>]*/>\s*<text[^>]*>([^<]*)</text>', drawing.svg):
        found[html.unescape(name).strip()] = colour
    return found


def test_colours_are_those_of_the_report():
    graph = compiled("single_layer")
    drtrl, rtrl = colours(graph.draw(etr.DRTRL())), colours(graph.draw(etr.RTRL()))
    recurrent, readout = "syn.comm.weight", "out.weight"
    assert drtrl[recurrent] == drtrl["approximate"] != drtrl["exact"] == drtrl[readout]
    assert rtrl[recurrent] == rtrl["exact"] == rtrl[readout]
    window = colours(graph.draw(etr.NoTrace()))
    assert window[recurrent] == window["window only"] not in (drtrl["exact"], drtrl["approximate"])


def test_what_is_dropped_is_red_and_has_its_line():
    """Under D-RTRL the recurrence and the way into the readout; under RTRL nothing."""
    graph = compiled("single_layer")
    assert [w for w in words(graph.draw(etr.DRTRL())) if w.startswith("dot_general, networks.py:")]
    assert not [w for w in words(graph.draw(etr.RTRL())) if w.startswith("dot_general")]
    red = "#c0392b"
    assert red in graph.draw(etr.DRTRL()).dot and red not in graph.draw(etr.RTRL()).dot


def test_twenty_layers_are_drawn_as_four():
    """The last one has filters, which the readout reads."""
    step, model, state, inputs = networks.gif_layers(n_layer=20)
    text = words(etr.compile_graph(step, model, state, *inputs).draw())
    assert "hidden groups 1 to 18: 18 alike" in text and "layers[1...18].r.V" in text
    assert "to the next" in text and "hidden group 20" in text
    assert sum(w.startswith("hidden group") for w in text) == 4


def test_arrows_are_what_a_group_reads():
    """A delayed connection from the second group to the first, a detached one, a readout, an unused parameter."""

    def step(m, state, x):
        a, b = state
        a = 0.9 * a + m["w"] @ x + m["back"] @ b
        b = 0.5 * b + m["v"] @ jax.lax.stop_gradient(a)
        return m["r"] @ b, (a, b)

    model = {"w": jnp.ones((3, 2)), "back": jnp.ones((3, 4)), "v": jnp.ones((4, 3)), "r": jnp.ones((1, 4))}
    model["unused"] = jnp.ones(2)
    graph = etr.compile_graph(step, model, (jnp.ones(3), jnp.ones(4)), jnp.ones(2))
    dot = graph.draw().dot
    arrows = set(re.findall(r"(n\d) -> (n\d)", dot))
    assert arrows == {("n0", "n1"), ("n1", "n2"), ("n2", "n1"), ("n2", "n3")}
    assert re.search(r"n1 -> n2 .*dotted", dot) and "no derivative" in dot
    assert re.search(r"n2 -> n1 .*dashed", dot)
    assert all(name in words(graph.draw()) for name in model)


def test_files_and_notebooks(tmp_path):
    graph = compiled("single_layer")
    drawing = graph.draw()
    for ending in ("svg", "png", "dot"):
        drawing.save(tmp_path / f"graph.{ending}")
    assert (tmp_path / "graph.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "graph.svg").read_text() == drawing.svg == drawing._repr_svg_() == graph._repr_svg_()
    with pytest.raises(ValueError, match=r"\.svg, \.png or \.dot"):
        drawing.save(tmp_path / "graph.jpg")


def test_without_the_extra(monkeypatch):
    real = importlib.import_module

    def fails(name, *rest):
        if name == "pygraphviz":
            raise ModuleNotFoundError(name)
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", fails)
    graph = compiled("single_layer")
    with pytest.raises(ImportError, match=r"pip install 'eqx_etrace\[draw\]'"):
        graph.draw()
    assert graph._repr_svg_() is None


def test_what_a_later_group_drops_is_red():
    """Neurons before a spiking readout: the report says why nothing follows, and the arrow between them is red."""
    neuron, readout = etr.nn.LIF(), etr.nn.SpikingReadout(4, 2, key=jax.random.key(0))

    def step(m, state, x):
        first, last = state
        spikes, first = neuron(m["first"] @ x, first)
        out, last = m["last"](spikes, last)
        return out.sum(), (first, last)

    m = {"first": jnp.ones((4, 3)), "last": readout}
    graph = etr.compile_graph(step, m, (neuron.init_state(4), readout.init_state()), jnp.ones(3))
    (row,) = (row for row in graph.report(etr.DRTRL()).rows if row.path == ("first",))
    assert row.dropped and all(cut.why for cut in row.dropped)
    arrows = [line for line in graph.draw(etr.DRTRL()).dot.splitlines() if "->" in line and "#c0392b" in line]
    assert len(arrows) == 1 == len(row.dropped)

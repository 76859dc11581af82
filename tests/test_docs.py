"""The documentation is executed, and says what there is."""

import ast
import functools
import inspect
import json
import re
import sys

import jax
import matplotlib
import matplotlib.figure
import numpy as np
import pytest
from test_examples import EXAMPLES, load

import eqx_etrace as etr
import eqx_etrace.nir

ROOT = EXAMPLES.parent
DOCS = ROOT / "docs"


def run(cell, namespace):
    """What a notebook would show: the value of the last line, if that is an expression."""
    body = ast.parse(cell).body
    last = ast.Expression(body.pop().value) if isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), "cell", "exec"), namespace)
    return None if last is None else eval(compile(last, "cell", "eval"), namespace)


@pytest.mark.outside_sample  # the documentation is built on the second interpreter, and that runs the page
def test_the_page_of_the_three_networks(monkeypatch, capsys):
    """Every cell runs; each network has its text, report and picture, and learns both ways, here in 30 updates."""
    matplotlib.use("Agg")
    monkeypatch.syspath_prepend(str(EXAMPLES))
    training = load("training")
    monkeypatch.setattr(training, "train", functools.partial(training.train, updates=30))
    monkeypatch.setitem(sys.modules, "training", training)
    cells = json.loads((EXAMPLES / "three_networks.ipynb").read_text())["cells"]
    assert not any(cell.get("outputs") for cell in cells), "what is shown is computed, not stored"
    namespace = {"__name__": "page"}
    shown = [run("".join(c["source"]), namespace) for c in cells if c["cell_type"] == "code"]
    drawings = [s for s in shown if isinstance(s, etr.Drawing)]
    assert len(drawings) == 5 and all("<svg" in drawing.svg for drawing in drawings)
    figures = [s for s in shown if isinstance(s, matplotlib.figure.Figure)]
    assert len(figures) == 3
    for line in (line for figure in figures for line in figure.axes[0].lines):
        losses = np.asarray(line.get_ydata())
        assert losses[-1] < 0.97 * losses[0], line.get_label()
    text = capsys.readouterr().out
    assert text.count("The hidden groups are:") == 4
    assert text.count("rule for all") == 3
    assert "UnitMismatchError" in text


def test_coming_from_braintrace():
    """Our half of the page, and what it says of windows 0 and 1."""
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "from_braintrace.md").read_text(), re.DOTALL)
    assert len(blocks) == 2
    namespace: dict = {"__name__": "page"}
    with jax.enable_x64(False):  # the numbers of the page are in single precision
        for block in blocks:
            exec(compile(block, "from_braintrace.md", "exec"), namespace)
    one, zero = namespace["grads"], namespace["grads_0"]
    for name, said in (("weight", 0.08), ("bias", 0.04)):
        a, b = getattr(one.cell, name), getattr(zero.cell, name)
        assert abs(float(abs(a - b).max() / abs(a).max()) - said) < 0.005
    assert float(abs(one.readout.weight).max()) > 0


def is_public(module, name, value):
    """Made in this module, or handed out by this folder; what another package made is not."""
    is_ours = getattr(value, "__module__", "").startswith("eqx_etrace")
    hands_out = hasattr(module, "__path__") or module is etr.extend
    return not name.startswith("_") and is_ours and (hands_out or value.__module__ == module.__name__)


def test_the_reference_is_complete():
    """Every public name is on the page, and every name on the page exists."""
    named = re.findall(r"^::: eqx_etrace\.([\w.]+)$", (DOCS / "api.md").read_text(), re.MULTILINE)
    for name in named:
        assert functools.reduce(getattr, name.split("."), etr).__doc__, name
    public = {n for n in vars(etr) if not n.startswith("_")} - {"__version__"}
    for module in (etr.encode, etr.events, etr.extend, etr.losses, eqx_etrace.nir, etr.nn, etr.plot):
        name = module.__name__.removeprefix("eqx_etrace.")
        public |= {f"{name}.{n}" for n, value in vars(module).items() if is_public(module, n, value)}
    public = {n for n in public if not inspect.ismodule(functools.reduce(getattr, n.split("."), etr))}
    assert public - set(named) == set(), public - set(named)


def test_each_name_of_the_reference_has_an_example(tmp_path, monkeypatch, capsys):
    """Right below it; all run one after the other, and print what they say they do."""
    monkeypatch.chdir(tmp_path)
    page = (DOCS / "api.md").read_text()
    beginning, *entries = re.split(r"^::: ", page, flags=re.MULTILINE)
    namespace: dict = {"__name__": "page"}
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"):
        for entry in (beginning, *entries):
            (example,) = re.findall(r"```python\n(.*?)```", entry, re.DOTALL)
            exec(compile(example, "api.md", "exec"), namespace)
            said = re.findall(r"print\(.*\)  # (.*)$", example, re.MULTILINE)
            printed = capsys.readouterr().out.splitlines()
            assert not said or printed == said, entry.splitlines()[0]


@pytest.fixture
def executed(tmp_path, monkeypatch):
    """The namespace of a page after all of its Python, in single precision as a user has it."""
    monkeypatch.chdir(tmp_path)
    matplotlib.use("Agg")

    def execute(page):
        namespace: dict = {"__name__": "page"}
        with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"):
            for block in re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL):
                exec(compile(block, page, "exec"), namespace)
        return namespace

    return execute


def test_the_first_page(executed):
    assert float(executed("index.md")["loss"]) > 0


def test_the_tutorial_trains_a_network_that_spikes(executed, tmp_path, capsys):
    found = executed("tutorial.md")
    assert found["history"][-1] < 0.3 * found["history"][0]
    assert found["by_time"][-1] > 0.95
    assert 0.01 < float(capsys.readouterr().out.split("%")[0].split()[-1]) / 100 < 0.1
    assert (tmp_path / "spiking.png").stat().st_size > 10_000


def test_what_is_said_of_reports(executed, capsys):
    executed("reports.md")
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("('encoder', 'weight')") and "window only" in line for line in lines)
    assert "True 10624" in lines
    alike, apart = (line for line in lines if line.startswith("leaks"))
    assert alike.count("False") == 0 and apart.count("False") == 2
    assert "one rate for all" in lines[-1]


@pytest.mark.outside_sample
def test_the_recipes(executed, capsys):
    found = executed("recipes.md")
    printed = capsys.readouterr().out
    assert printed.count("approximate") == 0
    assert "True" in printed.splitlines()  # delays are exact
    assert abs(float(found["slope"])) > 0
    assert str(found["voltage"].V.unit) == "mV"
    kept, state, trace = (found["model"], found["xs"][0], found["ys"][0]), jax.numpy.zeros(16), found["trace"]
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"):
        found["learn_in_place"](kept, state := jax.numpy.zeros(16), trace)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves((state, trace)))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(kept) if isinstance(leaf, jax.Array))


@pytest.mark.outside_sample
def test_the_page_of_e_prop(executed, capsys):
    """Beside e-prop as the paper has it, in NumPy: eligibility vectors, filtered, times the error sent back."""
    page = executed("eprop.md")
    assert " approximate " not in capsys.readouterr().out
    w = {name: np.asarray(page["model"][name], float) for name in ("in", "rec")}
    out, feedback = (np.asarray(a, float) for a in (page["model"]["out"].weight, page["model"]["out"].feedback))
    xs, ys, units = np.asarray(page["xs"], float), np.asarray(page["ys"], float), len(w["rec"])
    keep, rho, beta = np.exp(-1 / 20), np.exp(-1 / 200), 0.03

    def fired(v, a):
        distance = v - 1 - beta * a
        return (distance >= 0).astype(float), 0.3 * np.maximum(0, 1 - np.abs(distance))

    v, a, r = np.zeros(units), np.zeros(units), np.zeros(2)
    by_v = {"in": np.zeros((units, 10)), "rec": np.zeros((units, units))}
    by_a, filtered = {name: np.zeros_like(e) for name, e in by_v.items()}, dict.fromkeys(by_v, 0.0)
    gradient, spikes = {name: np.zeros_like(value) for name, value in w.items()}, 0
    for x, y in zip(xs, ys, strict=True):
        z, slope = fired(v, a)
        for name, met in (("in", x), ("rec", z)):
            by_a[name] = rho * by_a[name] + slope[:, None] * (by_v[name] - beta * by_a[name])
            by_v[name] = keep * by_v[name] + 20 * (1 - keep) * met[None]
        v, a = keep * (v - z) + 20 * (1 - keep) * (w["in"] @ x + w["rec"] @ z), rho * a + z
        z, slope = fired(v, a)
        r, spikes = 0.95 * r + out @ z, spikes + z.sum()
        for name in by_v:
            filtered[name] = 0.95 * filtered[name] + slope[:, None] * (by_v[name] - beta * by_a[name])
            gradient[name] += (feedback @ (r - y))[:, None] * filtered[name]

    assert 0.02 < spikes / xs.shape[0] / units < 0.6
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"):
        start = page["neuron"].init_state(30), jax.numpy.zeros(2)
        trace = page["online"].init(page["model"], start, page["xs"][0], page["ys"][0])
        found, _, _ = page["online"].scan(page["model"], start, trace, page["xs"], page["ys"])
    for name, wanted in gradient.items():
        assert np.abs(wanted).max() > 0.1, name
        assert np.linalg.norm(found[name] - wanted) < 1e-4 * np.linalg.norm(wanted), name
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"):
        short = page["xs"][:20], page["ys"][:20]
        inside, _, _ = page["online"].scan(page["model"], start, trace, *short)
    for name in gradient:  # the readout outside the step gives what the one inside gives
        outside = page["total"][name]
        assert np.linalg.norm(inside[name] - outside) < 1e-4 * np.linalg.norm(outside), name


def test_the_pages_are_there():
    """Every page is in the menu, and every link of a page leads to one."""
    menu = (DOCS.parent / "mkdocs.yml").read_text()
    for page in DOCS.rglob("*.md"):
        name = page.relative_to(DOCS).as_posix()
        assert f": {name}" in menu, name
        assert not dead_links(page), (name, dead_links(page))


def test_the_links_of_how_to_contribute_lead_somewhere():
    assert not dead_links(ROOT / "CONTRIBUTING.md")


def test_dead_links_are_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# Here\n## `A` head, or two\n[1](#a-head-or-two) [2](page.md#here) [3](no.md) [4](#no) [5](https://no.org/#no)"
    )
    assert dead_links(page) == ["no.md", "#no"]


def dead_links(page):
    """The relative links of a page to no file, or to no heading of one."""
    links = re.findall(r"\]\(([^)#: ]*)(?:#([^) ]+))?\)", page.read_text())
    found = []
    for name, heading in links:
        target = page.parent / name if name else page
        known = target.exists() and (not heading or target.suffix != ".md" or heading in headings(target))
        found += [] if known else [f"{name}#{heading}" if heading else name]
    return found


def headings(page):
    """The names by which headings are linked to."""
    lines = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", line).strip().lower()) for line in lines}


def test_code_is_not_wider_than_the_page_on_a_laptop():
    for page in DOCS.rglob("*.md"):
        for block in re.findall(r"```(?:py|python|sh)?\n(.*?)```", page.read_text(), re.DOTALL):
            assert page.name == "design.md" or max(map(len, block.splitlines())) <= 104, page.name


def test_the_words_of_this_library_are_in_the_glossary():
    words = re.findall(r"^## (.+)$", (DOCS / "glossary.md").read_text(), re.MULTILINE)
    assert {"Position", "Relation", "Mixing", "Effective weight", "Eligibility trace", "Window"} <= set(words)


def test_the_zoo_is_alive(executed, capsys):
    executed("zoo.md")
    lines = capsys.readouterr().out.splitlines()
    rates = [float(line.split()[1]) for line in lines if line.endswith("% of the steps")]
    assert len(rates) == 5 and all(1 <= rate <= 10 for rate in rates)
    assert lines[-3:] == ["0", "(8, 32)", "True"]


def test_the_page_of_nir(executed, capsys):
    executed("nir.md")
    assert capsys.readouterr().out.splitlines() == [
        "['input', 'cells', 'readout', 'input_to_cells', 'cells_to_cells', 'cells_to_readout', 'output']",
        "0.0",
        "norse.torch.from_nir(graph, dt=0.0001)",
    ]


@pytest.mark.outside_sample
def test_the_pages_of_streams_and_of_transforms(executed, capsys):
    executed("streams.md")
    assert capsys.readouterr().out.splitlines() == ["1 True"]
    assert float(executed("transforms.md")["loss"]) > 0


@pytest.mark.outside_sample
def test_the_page_of_pictures(executed, tmp_path, capsys):
    executed("plots.md")
    assert "True" in capsys.readouterr().out.splitlines()  # signal times trace
    assert all((tmp_path / f"{n}.svg").stat().st_size > 10_000 for n in ("raster", "traces", "fidelity", "rules"))


@pytest.mark.outside_sample
def test_the_pages_of_many_devices_and_of_a_brain(executed, capsys):
    """On as many as there are; on eight these are tests of their own."""
    executed("devices.md")
    assert capsys.readouterr().out.splitlines() == ["True", "True"]
    executed("fly.md")
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["700 20000 3.7", "((20000,),) 80000 574000", "True"]

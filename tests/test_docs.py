"""The documentation is executed, and says what there is."""

import ast
import functools
import inspect
import json
import pathlib
import re
import sys

import jax
import matplotlib
import matplotlib.figure
import numpy as np
import pytest
from test_examples import EXAMPLES, load

import eqx_etrace as etr

DOCS = EXAMPLES.parent / "docs"


def run(cell, namespace):
    """What a notebook would show: the value of the last line, if that is an expression."""
    body = ast.parse(cell).body
    last = ast.Expression(body.pop().value) if isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), "cell", "exec"), namespace)
    return None if last is None else eval(compile(last, "cell", "eval"), namespace)


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


def test_the_reference_is_complete():
    """Every public name is on the page, and every name on the page exists."""
    named = re.findall(r"^::: eqx_etrace\.([\w.]+)$", (DOCS / "api.md").read_text(), re.MULTILINE)
    for name in named:
        assert functools.reduce(getattr, name.split("."), etr).__doc__, name
    public = {n for n in vars(etr) if not n.startswith("_") and n != "nn"} - {"__version__"}
    public |= {f"nn.{n}" for n in vars(etr.nn) if not n.startswith("_")}
    public = {n for n in public if not inspect.ismodule(functools.reduce(getattr, n.split("."), etr))}
    assert public - set(named) == set(), public - set(named)


@pytest.mark.parametrize("page", ["index.md", "three_networks.ipynb", "from_braintrace.md", "api.md", "design.md"])
def test_the_pages_are_there(page):
    assert page in (DOCS.parent / "mkdocs.yml").read_text()
    assert pathlib.Path(DOCS / page).exists()

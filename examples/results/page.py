"""The page of results: a table and a figure for each task, between markers in `docs/results.md`."""

import re
import statistics
import textwrap
from pathlib import Path

import matplotlib
import numpy as np
from harness import load, mean_and_spread, Record, Task

matplotlib.use("Agg")
import matplotlib.pyplot as plt

DOCS = Path(__file__).parent.parent.parent / "docs"


def write(task: Task) -> None:
    """What was kept of a task, into the page."""
    found = load(task)
    draw(task, found, DOCS / "results" / f"{task.name}.svg")
    path = DOCS / "results.md"
    before, _, after = re.split(
        rf"(<!-- {task.name} -->\n.*?<!-- end -->)", path.read_text(), maxsplit=1, flags=re.DOTALL
    )
    path.write_text(f"{before}<!-- {task.name} -->\n{section(task, found)}<!-- end -->{after}")


def section(task: Task, found: dict[str, dict[int, Record]]) -> str:
    """The table, the figure, and what was done."""
    rows = [f"| {name} | {_cell(task, found.get(name, {}))} |" for name in task.methods]
    table = [
        f"| | {task.measure} | seconds |",
        "|---|---|---|",
        *rows,
        f"| chance | {task.chance:.{task.decimals}f} | |",
    ]
    lines = "\n".join(table)
    note = f'??? note "What is done, and with which numbers"\n\n{textwrap.indent((task.about or "").strip(), "    ")}'
    return f"{lines}\n\n![{task.title}: {task.measure} against {task.seen}](results/{task.name}.svg)\n\n{note}\n\n"


def _cell(task: Task, by_seed: dict[int, Record]) -> str:
    scores = [record.score for record in by_seed.values()]
    seconds = [record.seconds for record in by_seed.values()]
    return f"{mean_and_spread(scores, task.decimals)} | {statistics.median(seconds):.0f}" if scores else "- | -"


def draw(task: Task, found: dict[str, dict[int, Record]], out: Path) -> None:
    """Every seed as a thin line, their mean as a thick one."""
    fig, ax = plt.subplots(figsize=(7.5, 3.2), layout="constrained")
    for number, name in enumerate(n for n in task.methods if n in found):
        curves = [np.array(record.curve) for record in found[name].values()]
        length = min(map(len, curves))
        for curve in curves:
            ax.plot(*curve.T, color=f"C{number}", alpha=0.25, linewidth=0.8)
        ax.plot(*np.nanmean([c[:length] for c in curves], 0).T, color=f"C{number}", linewidth=2, label=name)
    ax.axhline(task.chance, color="grey", linestyle="--", linewidth=1, label="chance")
    ax.set(xlabel=task.seen, ylabel=task.measure, yscale="log" if task.is_logarithmic else "linear")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
    out.parent.mkdir(exist_ok=True)
    with plt.rc_context({"svg.hashsalt": "eqx_etrace"}):
        fig.savefig(out, metadata={"Date": None})
    plt.close(fig)

"""The tracked table of what was measured, `history.csv`: `--record` appends a line per measured row.

Compare ratios rather than times: what stands in one row was measured in turn, in one run. `load` is how many programs
wanted a core in the minute before the run: below 1 on a quiet machine.
"""

import argparse
import csv
import datetime
import importlib.metadata
import os
import pathlib
import platform
import statistics
import subprocess
from collections.abc import Sequence

TABLE = pathlib.Path(__file__).with_name("history.csv")
MEASURED = "benchmark", "setting", "method", "median", "unit", "beside", "its median", "ratio"
COLUMNS = ("date", "commit", "jax", "machine", "load", *MEASURED)


def add_option(parser: argparse.ArgumentParser) -> None:
    said = f"append every measured row to a table (to {TABLE.name} beside the benchmarks, if no FILE is named)"
    parser.add_argument("--record", nargs="?", type=pathlib.Path, const=TABLE, metavar="FILE", help=said)


class History:
    """Where the rows of one run go: into a table, or nowhere."""

    def __init__(self, benchmark: str, unit: str, table: pathlib.Path | None, device: str = "cpu"):
        self.benchmark, self.unit, self.table = benchmark, unit, table
        cores = f"{os.cpu_count()} cores, {platform.machine()}"
        self.load = f"{os.getloadavg()[0]:.1f}"
        self.machine = cores if device == "cpu" else f"{device}, {cores}"

    def append(
        self,
        setting: str,
        method: str,
        times: Sequence[float],
        beside: str | None = None,
        its_times: Sequence[float] = (),
    ) -> None:
        """One row: the median of a method, and of what it is measured beside."""
        if self.table is None:
            return
        median = statistics.median(times)
        other = statistics.median(its_times) if beside else None
        compared = (beside, f"{other:.4g}", f"{median / other:.3f}") if other else ("", "", "")
        run = datetime.date.today().isoformat(), commit(), importlib.metadata.version("jax"), self.machine, self.load
        is_new = not self.table.exists()
        with self.table.open("a", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            if is_new:
                writer.writerow(COLUMNS)
            writer.writerow([*run, self.benchmark, setting, method, f"{median:.4g}", self.unit, *compared])


def commit() -> str:
    """The last commit that changed the package's Python; with a plus if it was changed since."""
    package = "--", "eqx_etrace/**.py"

    def git(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", *arguments], cwd=TABLE.parents[2], capture_output=True, text=True)

    changed = git("diff", "--quiet", "HEAD", *package).returncode != 0
    return git("log", "-1", "--format=%h", *package).stdout.strip() + ("+" if changed else "")

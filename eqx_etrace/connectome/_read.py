"""Connectomes of files."""

import gzip
import os
import pathlib
from typing import Any

import numpy as np

from .._given import in_words
from ._connectome import Connectome, from_pairs

# The columns of FlyWire's Codex, of its archive at Zenodo, of neuPrint, and of flat exports of the latter.
_NAMES = {
    "source": ("pre_root_id", "pre_pt_root_id", "bodyId_pre", "body_pre", "source"),
    "target": ("post_root_id", "post_pt_root_id", "bodyId_post", "body_post", "target"),
    "count": ("syn_count", "weight", "count"),
    "transmitter": ("nt_type", "transmitter"),
}


def read(
    path: str | os.PathLike[str],
    *,
    source: str | None = None,
    target: str | None = None,
    count: str | None = None,
    transmitter: str | None = None,
    least: int = 1,
) -> Connectome:
    """The connections of a file that you have: a table with one row per pair of neurons, or per pair and neuropil.

    **Arguments**

    - `path`: a `.csv` or `.csv.gz` with a line of names, a `.feather` or a `.parquet`; the latter two need `pyarrow`.
    - `source`, `target`, `count`, `transmitter`: what these columns are called. Names of FlyWire's and neuPrint's
      files are known: `pre_root_id`, `pre_pt_root_id`, `bodyId_pre`, `body_pre`; the same with `post`; `syn_count`,
      `weight`; `nt_type`.
    - `least`: see `from_pairs`, which this hands the columns to.

    **Returns** a `Connectome`. Without a column of counts a row is one synapse; without one of transmitters all units
    are excitatory: FlyWire's archive and neuPrint have them in another file, for `from_pairs` or
    `fly._replace(sign=...)`.

    **Raises** `ValueError` for a file of another kind, or one without such columns.
    """
    path = pathlib.Path(path)
    named = {"source": source, "target": target, "count": count, "transmitter": transmitter}
    table = _CsvTable(path) if path.name.endswith((".csv", ".csv.gz")) else _ArrowTable(path)
    columns = {part: _column(part, name, table.names, path) for part, name in named.items()}
    found = table.read({part: name for part, name in columns.items() if name is not None})
    return from_pairs(found.pop("source"), found.pop("target"), **found, least=least)


def _column(part: str, name: str | None, names: list[str], path: pathlib.Path) -> str | None:
    """Which column this is, by its own name or by those that are known."""
    if name is not None and name not in names:
        raise ValueError(f"`{path.name}` has no column {name!r}; it has {', '.join(names)}.")
    known = [name] if name is not None else [one for one in _NAMES[part] if one in names]
    if not known and part in ("source", "target"):
        raise ValueError(
            f"None of the columns of `{path.name}` is known to be the {part}; it has {', '.join(names)}. Say which: "
            f'`read(path, {part}="...")`.'
        )
    return known[0] if known else None


class _CsvTable:
    """Text. Numbers are read as integers: a float does not hold the 18 digits of FlyWire's."""

    def __init__(self, path: pathlib.Path):
        self.path = path
        with gzip.open(path, "rt") if path.suffix == ".gz" else open(path) as file:
            self.names = [name.strip().strip('"') for name in file.readline().split(",")]

    def read(self, columns: dict[str, str]) -> dict[str, Any]:
        kinds = [(part, "U16" if part == "transmitter" else np.int64) for part in columns]
        at = [self.names.index(name) for name in columns.values()]
        options = {"delimiter": ",", "skiprows": 1, "comments": None, "quotechar": '"', "ndmin": 1}
        try:
            rows = np.loadtxt(self.path, usecols=at, dtype=kinds, **options)
        except ValueError as error:
            wanted = ", ".join(f"`{name}`" for part, name in columns.items() if part != "transmitter")
            raise ValueError(
                f"`{self.path.name}` has a row that cannot be read: {str(error).rstrip('.')}. (Rows and columns count "
                f"from 0, without the line of names.) {wanted} must be integers: as floats they have lost digits."
            ) from error
        return {part: rows[part] for part in columns}


class _ArrowTable:
    """Columns of Arrow."""

    def __init__(self, path: pathlib.Path):
        if path.suffix not in (".feather", ".parquet"):
            raise ValueError(
                f"{in_words(path.name)} is no `.csv`, `.csv.gz`, `.feather` or `.parquet`. Read it yourself, and pass "
                "its columns to `connectome.from_pairs`."
            )
        try:
            from pyarrow import dataset
        except ImportError as error:
            raise ImportError(f"To read `{path.name}` install pyarrow: `pip install pyarrow`.") from error
        self._table = dataset.dataset(path, format=path.suffix[1:])
        self.names = self._table.schema.names

    def read(self, columns: dict[str, str]) -> dict[str, Any]:
        table = self._table.to_table(columns=list(columns.values()))
        return {part: table[name].to_numpy() for part, name in columns.items()}

"""The table of what was measured can be read, and a run appends to it."""

import csv
import importlib
import pathlib

import pytest

BENCHMARKS = pathlib.Path(__file__).parent / "benchmarks"


@pytest.fixture
def history(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("history")


def rows(path):
    with path.open() as file:
        return list(csv.reader(file))


def test_a_run_appends_a_line_per_row(history, tmp_path):
    table = tmp_path / "table.csv"
    for _ in range(2):
        history.History("structure", "ms", table).append("n = 4, batch 1", "RTRL", [3.0, 1.0, 2.0], "by hand", [4.0])
    history.History("first_call", "s", table).append("gru", "DRTRL", [1.0])
    history.History("first_call", "s", None).append("gru", "DRTRL", [1.0])
    header, first, second, alone = rows(table)
    assert header == list(history.COLUMNS) and first == second
    assert dict(zip(header, first, strict=True)).items() >= {"median": "2", "its median": "4", "ratio": "0.500"}.items()
    assert dict(zip(header, alone, strict=True)).items() >= {"median": "1", "beside": "", "ratio": ""}.items()


def test_the_tracked_table_has_these_columns(history):
    header, *measured = rows(history.TABLE)
    assert header == list(history.COLUMNS) and measured
    assert {len(row) for row in measured} == {len(header)}
    assert {row[header.index("benchmark")] for row in measured} == {"throughput", "structure", "dense", "first_call"}

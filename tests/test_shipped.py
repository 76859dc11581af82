"""What an installation brings along beside the code."""

import pathlib
import zipfile

import pytest

import eqx_etrace

ROOT = pathlib.Path(eqx_etrace.__file__).parent.parent


def test_a_wheel_says_that_it_is_typed(tmp_path):
    """Without `py.typed` a type checker takes everything that is imported from an installed package for `Any`."""
    wheel = pytest.importorskip("hatchling.builders.wheel", reason="what builds the wheel is not installed")
    (built,) = wheel.WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    names = zipfile.ZipFile(built).namelist()
    assert "eqx_etrace/py.typed" in names
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "eqx_etrace").rglob("*.py")}
    assert modules <= set(names), modules - set(names)

"""Every case of the table: what the report calls exact equals BPTT, what it does not differs, and it says so."""

import equinox as eqx
import numpy as np
import pytest
from cases import CASES, reference, trajectory
from cases.table import T
from online import graph_of, NAMES, runs, SAMPLE, table
from oracle import by_path, relative

import eqx_etrace as etr

RULE = etr.DRTRL()
FILES = tuple(
    f"{name}.py:" for name in ("approximate", "attributes", "exact", "layers", "recurrent", "rules", "spiking")
)


@pytest.mark.parametrize("name", table())
def test_report_equals_the_table(name):
    case = CASES[name]
    rows = graph_of(name).report(RULE).rows
    assert {row.path: row.exact for row in rows} == {path: case.is_exact(path) for path in reference(name)}
    for row in rows:
        assert row.exact == (not row.dropped)
        assert all(cut.source.startswith(FILES) for cut in row.dropped), row.dropped
    for row in rows:
        assert row.exact or any(case.dropped in str(cut) for cut in row.dropped), row


def exact_by_path(name):
    return {row.path: row.exact for row in graph_of(name).report(RULE).rows}


@pytest.mark.sweep(2)
@pytest.mark.parametrize("name", table())
def test_gradient(name):
    """One window of all T steps is BPTT for every parameter; shorter ones for those that the report calls exact."""
    exact = exact_by_path(name).values()
    between = [3] if any(exact) and name in SAMPLE else []
    check_gradient(name, (1, *between, *([] if all(exact) else [T])))


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in NAMES if n not in SAMPLE])
def test_gradient_at_a_window_between(name):
    if not any(exact_by_path(name).values()):
        pytest.skip("no parameter is exact")
    check_gradient(name, (3,))


def check_gradient(name, windows):
    wanted_losses, states = trajectory(name)
    exact = exact_by_path(name)
    for window, losses, gradients, last in runs(name, RULE, windows):
        np.testing.assert_allclose(losses, wanted_losses, rtol=1e-12)
        for path, leaf in by_path(eqx.filter(last, eqx.is_inexact_array)).items():
            np.testing.assert_allclose(leaf, by_path(states)[path][-1], rtol=1e-12, atol=1e-14)
        assert gradients.keys() == reference(name).keys()
        for path, wanted in reference(name).items():
            assert np.abs(wanted).max() > 1e-8, f"the case gives {path} no gradient to test"
            assert np.abs(gradients[path]).max() > 0, (path, window)
            error = relative(gradients[path], wanted)
            if exact[path] or window == T:
                assert error < 1e-9, (path, window, error)
            elif window == 1:
                assert error > 1e-6, (path, window, error)


@pytest.mark.parametrize("name", table([n for n in NAMES if CASES[n].fires is not None]))
def test_spiking_models_are_alive(name):
    _, states = trajectory(name)
    fires = CASES[name].fires
    assert fires is not None
    rate = float(np.mean(fires(states)))
    assert 0.05 < rate < 0.95

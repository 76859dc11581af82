"""Every case of the table: what the report calls exact equals BPTT, what it does not differs, and it says so."""

import functools

import equinox as eqx
import numpy as np
import pytest
from cases import CASES, reference, trajectory
from cases.table import T
from oracle import by_path, relative

import eqx_etrace as etr

NAMES = sorted(CASES)
RULE = etr.DRTRL()
FILES = tuple(
    f"{name}.py:" for name in ("approximate", "attributes", "exact", "layers", "recurrent", "rules", "spiking")
)


@functools.cache
def report(name):
    loss_step, model, state, inputs = CASES[name].build()
    return etr.compile_graph(loss_step, model, state, *(x[0] for x in inputs)).report(RULE)


def online(name, window):
    loss_step, model, state, inputs = CASES[name].build()
    transform = etr.etrace_value_and_grad(loss_step, RULE)
    trace = transform.init(model, state, *(x[0] for x in inputs))
    (losses, gradients), last, _ = eqx.filter_jit(transform.scan)(model, state, trace, *inputs, window=window)
    return losses, by_path(gradients), last


@pytest.mark.parametrize("name", NAMES)
def test_report_equals_the_table(name):
    case = CASES[name]
    rows = report(name).rows
    assert {row.path: row.exact for row in rows} == {path: case.is_exact(path) for path in reference(name)}
    for row in rows:
        assert row.exact == (not row.dropped)
        assert all(cut.source.startswith(FILES) for cut in row.dropped), row.dropped
    inexact = [row for row in rows if not row.exact]
    assert all(any(case.dropped in str(cut) for cut in row.dropped) for row in inexact), inexact


@pytest.mark.parametrize("window", [1, 3, T])
@pytest.mark.parametrize("name", NAMES)
def test_gradient(name, window):
    losses, gradients, last = online(name, window)
    wanted_losses, states = trajectory(name)
    np.testing.assert_allclose(losses, wanted_losses, rtol=1e-12)
    for path, leaf in by_path(eqx.filter(last, eqx.is_inexact_array)).items():
        np.testing.assert_allclose(leaf, by_path(states)[path][-1], rtol=1e-12, atol=1e-14)
    exact = {row.path: row.exact for row in report(name).rows}
    assert gradients.keys() == reference(name).keys()
    for path, wanted in reference(name).items():
        assert np.abs(wanted).max() > 1e-8, f"the case gives {path} no gradient to test"
        assert np.abs(gradients[path]).max() > 0, path
        error = relative(gradients[path], wanted)
        if exact[path] or window == T:
            assert error < 1e-9, (path, error)
        elif window == 1:
            assert error > 1e-6, (path, error)


@pytest.mark.parametrize("name", [n for n in NAMES if CASES[n].fires is not None])
def test_spiking_models_are_alive(name):
    _, states = trajectory(name)
    fires = CASES[name].fires
    assert fires is not None
    rate = float(np.mean(fires(states)))
    assert 0.05 < rate < 0.95

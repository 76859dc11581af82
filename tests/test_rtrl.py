"""RTRL equals BPTT on every case, SnAp is RTRL once it reaches far enough, NoTrace is truncated BPTT."""

import functools

import equinox as eqx
import jax
import pytest
from cases import CASES
from oracle import bptt, by_path, relative

import eqx_etrace as etr

NAMES = sorted(CASES)
NONLINEAR = {name for name in NAMES if name.startswith("rule_")} | {"custom_vjp_that_clips"}
"""Cases with a backward rule that is not linear in the cotangent, which no Jacobian follows."""
FALSE_ALARMS = {"scatter_add"}
"""Equal to BPTT, though the structure does not prove it."""


@functools.cache
def reference(name):
    loss_step, model, state, inputs = CASES[name].build()
    return by_path(bptt(loss_step, model, state, *inputs))


def gradients_of(name, rule, window):
    loss_step, model, state, inputs = CASES[name].build()
    transform = etr.etrace_grad(loss_step, rule)
    trace = transform.init(model, state, *(x[0] for x in inputs))
    gradients, _, last = eqx.filter_jit(transform.scan)(model, state, trace, *inputs, window=window)
    report = transform.graph(model, state, *(x[0] for x in inputs)).report(rule)
    assert report.trace_bytes == sum(x.nbytes for x in jax.tree.leaves(last))
    return by_path(gradients), {row.path: row.exact for row in report.rows}


@pytest.mark.parametrize("window", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_rtrl_is_bptt(name, window):
    found, exact = gradients_of(name, etr.RTRL(), window)
    for path, wanted in reference(name).items():
        error = relative(found[path], wanted)
        if exact[path]:
            assert error < 1e-9, (path, error)
        else:
            assert name in NONLINEAR and error > 1e-6, (path, error)


@pytest.mark.parametrize("n", [1, 2, 8])
@pytest.mark.parametrize("name", NAMES)
def test_snap(name, n):
    found, exact = gradients_of(name, etr.SnAp(n), 1)
    for path, wanted in reference(name).items():
        error = relative(found[path], wanted)
        if exact[path]:
            assert error < 1e-9, (path, error)
        else:
            assert error > 1e-7 or name in FALSE_ALARMS, (path, error)
            assert n < 8 or name in NONLINEAR, path

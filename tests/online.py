"""A case under the library: its graph once per process, and its gradients under one rule at several windows."""

import functools
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import equinox as eqx
import jax
import pytest
from cases import CASES
from oracle import by_path

import eqx_etrace as etr

NAMES = sorted(CASES)
SAMPLE = frozenset([*NAMES[::4], "gru", "lstm", "vanilla_rnn", "two_recurrent_layers", "linear_recurrent_unit"])
"""A quarter of the cases, run also at a window between 1 and T and under `SnAp`. So are the others, by slow tests."""


def table(names: Sequence[str] = NAMES, sample: Collection[str] = SAMPLE) -> list[Any]:
    """The cases of a test; those that a shorter run leaves out are marked."""
    return [pytest.param(n, marks=() if n in sample else pytest.mark.outside_sample) for n in names]


def compiled(name: str) -> etr.ETraceGraph:
    loss_step, model, state, inputs = CASES[name].build()
    return etr.compile_graph(loss_step, model, state, *(x[0] for x in inputs))


@functools.cache
def graph_of(name: str) -> etr.ETraceGraph:
    return compiled(name)


def runs(name: str, rule: Any, windows: Sequence[int]) -> Iterator[tuple[int, Any, dict[Any, Any], Any]]:
    """`(window, losses, gradients, last state)`; the trace has the bytes and the shapes that the report names."""
    loss_step, model, state, inputs = CASES[name].build()
    transform = etr.etrace_value_and_grad(loss_step, rule)
    trace = transform.init(model, state, *(x[0] for x in inputs))
    report, arrays = graph_of(name).report(rule), jax.tree.leaves(trace.values)
    assert report.trace_bytes == sum(row.trace_bytes for row in report.rows) == sum(a.nbytes for a in arrays)
    assert {shape for row in report.rows for shape in row.trace_shape} <= {a.shape for a in arrays}
    for window in windows:
        (losses, gradients), last, advanced = eqx.filter_jit(transform.scan)(
            model, state, trace, *inputs, window=window
        )
        assert jax.tree.map(jax.typeof, advanced) == jax.tree.map(jax.typeof, trace)
        yield window, losses, by_path(gradients), last

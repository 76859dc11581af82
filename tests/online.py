"""A case under the library: its graph once per process, and its gradients under one rule at several windows."""

import functools
import os
from collections.abc import Iterator, Sequence
from typing import Any

import equinox as eqx
import jax
from cases import CASES
from oracle import by_path

import eqx_etrace as etr

TABLE = os.environ.get("ETRACE_TABLE", "")
"""How much of the table is run: `whole`, every case under every rule and window, takes some minutes more; `sample`, a
quarter of the cases, some minutes less."""
SAMPLE = frozenset([*sorted(CASES)[::4], "gru", "lstm", "vanilla_rnn", "two_recurrent_layers", "linear_recurrent_unit"])
NAMES = sorted(SAMPLE if TABLE == "sample" else CASES)
"""The cases that are run."""
MORE = frozenset(CASES) if TABLE == "whole" else SAMPLE
"""Those that are run at a window between 1 and T, too, and under `SnAp`."""


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

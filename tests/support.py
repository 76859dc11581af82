"""The table of `docs/support.md`, made of the steps that the tests check: `python tests/support.py` writes it."""

import pathlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

import eqx_etrace as etr

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "support.md"
RULES = {
    "`DRTRL`": etr.DRTRL(),
    "`RTRL`": etr.RTRL(),
    "`SnAp(1)`": etr.SnAp(1),
    "`PPProp`": etr.PPProp(0.9),
}
TEXT = """# Which step has which gradient

Each row is a step that the tests run. Where a cell says exact, the gradient equals that of backpropagation through
time to 1e-9, under `DRTRL` and `RTRL` at several windows. The number beside it is the memory of the traces. One means
one number for each weight and each state of a unit that it enters. *Approximate* means that credit is dropped beyond
the [window](glossary.md#window). The report of the step says where. *Window only* means that there is no trace.

`PPProp` keeps two factors of each trace, which is never exact. For elementwise weights and lookups it keeps the whole
trace.

This page is written by `python tests/support.py`. A test compares it with what the reports say.
"""


def sections() -> Iterator[tuple[str, dict[Callable[..., Any], tuple[Any, ...]]]]:
    """Title, and steps with model, state, inputs, and the numbers that a trace needs if that was counted."""
    import test_control_flow
    import test_delays
    import test_everyday_steps
    import test_packed_states
    import test_rows_of_the_state

    everyday = test_everyday_steps
    steps = {step: (m, everyday.normal(*shape), xs, n) for step, (m, shape, xs, n) in everyday.CASES.items()}
    hidden = everyday.normal(everyday.N)
    inputs = everyday.normal(everyday.T, everyday.F)
    steps |= dict.fromkeys(everyday.APPROXIMATE, (everyday.SPARSE, hidden, inputs, None))
    yield "Sparse connections, lookups, pools", steps
    units = {step: (m, s, x[None], None) for step, (m, s, x) in test_packed_states.UNITS.items()}
    yield "States of a unit in one array", {**test_packed_states.CASES, **units}
    yield "Time in the state", dict(test_delays.CASES)
    yield "Units of a head that enter rows of the state", dict(test_rows_of_the_state.CASES)
    mixing = {step: (*args, None) for step, args in test_control_flow.APPROXIMATE.items()}
    yield "Loops and conditionals inside a step", {**test_control_flow.CASES, **mixing}


def cell(graph: Any, rule: Any, need: float | None) -> str:
    """What a rule gives for one step."""
    report = graph.report(rule)
    if report.refusal:
        return "refused"
    held = [row for row in report.rows if row.zero is None]
    times = f" {report.trace_bytes / need:.2f}" if need else ""
    if all(row.exact for row in held):
        return f"exact{times}"
    return f"approximate{times}" if any(row.trace_shape for row in held) else "window only"


def row(step: Callable[..., Any], args: tuple[Any, ...]) -> str:
    model, state, inputs, numbers = args
    graph = etr.compile_graph(step, model, state, jax.tree.map(lambda x: x[0], inputs))
    dtype = jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array))[0].dtype
    cells = [cell(graph, rule, numbers and numbers * jnp.dtype(dtype).itemsize) for rule in RULES.values()]
    return f"| {step.__name__.replace('_', ' ')} | {' | '.join(cells)} |"


def page() -> str:
    """All of it."""
    parts = [TEXT]
    for title, steps in sections():
        head = f"## {title}\n\n| step | {' | '.join(RULES)} |\n|---|{'---|' * len(RULES)}"
        parts.append("\n".join([head, *(row(step, args) for step, args in steps.items())]) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    jax.config.update("jax_enable_x64", True)
    PAGE.write_text(page())

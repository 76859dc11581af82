"""One row of the table: what the reports say of a step, and how far its gradients are from those of BPTT."""

import importlib.metadata
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

import eqx_etrace as etr

jax.config.update("jax_enable_x64", True)
STEPS, LANES, UNITS, INPUTS = 12, 3, 6, 4


def double(tree: Any) -> Any:
    """Arrays of single precision in double precision."""
    wider = {jnp.dtype("float32"): jnp.float64, jnp.dtype("complex64"): jnp.complex128}
    return jax.tree.map(lambda a: a.astype(wider.get(a.dtype, a.dtype)), tree)


def said(rows: Any) -> str:
    """Of the parameters: one has a row for each group of states that it acts on."""
    every, cut = {row.path for row in rows}, {row.path for row in rows if not row.exact}
    return "exact" if not cut else "approximate" if cut == every else f"exact for {len(every - cut)} of {len(every)}"


def row(package: str, name: str, cell: Callable[..., Any], model: Any, state: Any, within: float = 1e-9) -> None:
    """`cell(model, state, x) -> (out, state)`, for lanes together; `within` is more where a cell rounds to single."""

    def step(model: Any, state: Any, x: jax.Array) -> Any:
        out, state = cell(model, state, x)
        return jnp.sum((out - 0.3) ** 2 * jnp.arange(1.0, UNITS + 1)), state

    model, state = double(model), double(state)
    xs = jax.random.normal(jax.random.key(1), (STEPS, LANES, INPUTS))

    def total(model: Any) -> jax.Array:
        return jax.lax.scan(lambda s, x: step(model, s, x)[::-1], state, xs)[1].sum()

    wanted = jax.grad(total)(model)
    cells = []
    for rule in (etr.DRTRL(), etr.RTRL()):
        online = etr.etrace_grad(step, rule)
        rows = online.graph(model, state, xs[0]).report(rule).rows
        errors = []
        for window in (1, 3, STEPS):
            found, *_ = online.scan(model, state, online.init(model, state, xs[0]), xs, window=window)
            one, other = ravel_pytree(found)[0], ravel_pytree(wanted)[0]
            errors.append(float(jnp.linalg.norm(one - other) / jnp.linalg.norm(other)))
        assert max(errors) < within or not all(r.exact for r in rows), (name, str(rule), errors)
        cells += [said(rows), f"{max(errors):.0e}"]
    print(f"| {package} {importlib.metadata.version(package)} | {name} | {' | '.join(cells)} |", flush=True)

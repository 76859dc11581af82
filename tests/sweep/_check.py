"""What must hold of an operation f, in a step that meets it in three ways.

    h' = sin(a h + x)
    y' = b y + e f(d h)          the pattern of the step from h to y' is that of f
    z' = sin(c f(z) + x)         where f keeps the shape

The pattern that the analysis finds misses no element of the Jacobian of f, and what a report calls exact is BPTT.
"""

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from oracle import by_path, relative, rollout

import eqx_etrace as etr

from ._table import Operation

POINTS, T = 4, 4
LINE = re.compile(r"_\w+\.py:\d+ \(")
"""A line of the table, as the library names it."""
RULES = {"DRTRL": etr.DRTRL(), "RTRL": etr.RTRL()}


@dataclasses.dataclass(frozen=True)
class Found:
    """What the library makes of an operation."""

    needless: int
    """Elements that its pattern has and that were zero at every point."""
    elements: int
    """Those of its Jacobian."""
    approximate: dict[str, list[Any]]
    """By rule, the parameters that the report does not call exact."""


def build(operation: Operation) -> tuple[Any, ...]:
    """The step, its model, its state, and inputs over time."""
    out = jax.eval_shape(operation, jax.ShapeDtypeStruct(operation.shape, np.float64))
    assert jnp.issubdtype(out.dtype, jnp.floating), f"{operation.name} makes {out.dtype}"
    rng, shape = np.random.default_rng(0), operation.shape
    keeps = out.shape == shape

    def numbers(*shape: int) -> jax.Array:
        return jnp.asarray(0.3 + 0.6 * rng.random(shape))

    def step(m, state, x):
        h, y, *z = state
        new = [jnp.sin(m["a"] * h + x), m["b"] * y + m["e"] * operation(m["d"] * h).astype(y.dtype)]
        new += [jnp.sin(m["c"] * operation(v).astype(v.dtype) + x) for v in z]
        return sum(jnp.sum(jnp.sin(s + 0.3)) for s in new), tuple(new)

    model = {"a": numbers(*shape), "b": numbers(*out.shape), "d": numbers(*shape), "e": numbers(*out.shape)}
    model |= {"c": numbers(*shape)} if keeps else {}
    state = (numbers(*shape), numbers(*out.shape), *([numbers(*shape)] if keeps else []))
    return step, model, state, jnp.asarray(rng.uniform(-1, 1, (T, *shape)))


def check(operation: Operation) -> Found | None:
    """None where JAX has no reverse mode, nor BPTT, nor the library a gradient."""
    with jax.numpy_dtype_promotion("standard"):
        return _check(operation) if is_differentiable(operation) else _check_refused(operation)


def is_differentiable(operation: Operation) -> bool:
    if not operation.refused:
        return True
    return _refusal(jax.grad(lambda x: operation(x).sum()), jax.ShapeDtypeStruct(operation.shape, np.float64)) is None


def _check(operation: Operation) -> Found:
    step, model, state, xs = build(operation)
    graph = etr.compile_graph(step, model, state, xs[0])
    exact = {name: {row.path: row.exact for row in graph.report(rule).rows} for name, rule in RULES.items()}
    if all(exact["DRTRL"].values()):
        del exact["RTRL"]  # it is D-RTRL, then
    jacobian, wanted, found = _numbers(operation, step, model, state, xs, [n for n in exact if any(exact[n].values())])
    pattern = pattern_of(graph, operation.shape, jacobian.shape)
    missed = np.argwhere(jacobian & ~pattern)
    unfollowed = {str(cut) for cuts in graph._analysis.unfollowed for cut in cuts}
    assert bool(unfollowed) == operation.unfollowed, f"not followed: {operation.name}, {unfollowed}"
    assert unfollowed or not missed.size, f"wrong pattern: {operation.name} has derivatives at {missed.tolist()}"
    for name, gradient in found.items():
        errors = {path: relative(gradient[path], wanted[path]) for path, said in exact[name].items() if said}
        wrong = {path: error for path, error in errors.items() if not error < operation.tolerance}
        assert not wrong, f"not BPTT under {name}: {operation.name}, {wrong}"
    approximate = {name: [path for path, said in paths.items() if not said] for name, paths in exact.items()}
    return Found(int((pattern & ~jacobian).sum()), jacobian.size, approximate)


def _check_refused(operation: Operation) -> None:
    step, model, state, xs = build(operation)
    by_jax = _refusal(jax.grad(lambda model: rollout(step, model, state, xs)[0].sum()), model)
    assert by_jax is not None
    for name, rule in RULES.items():
        found = _refusal(lambda model, rule=rule: _online(step, rule, model, state, xs), model)
        assert found is not None, f"JAX refuses what is no error under {name}: {operation.name}"
        assert str(found) == str(by_jax) or LINE.search(str(found)), f"what is wrong, and where? {found}"


def _refusal(function: Callable[..., Any], *arguments: Any) -> Exception | None:
    """What is raised when it is traced."""
    try:
        jax.eval_shape(function, *arguments)
    except (NotImplementedError, ValueError, TypeError) as error:
        return error
    return None


def _jacobian(operation: Operation, x: jax.Array) -> jax.Array:
    """[elements of the output, operand], row by row: not every operation can be batched."""
    out, pull = jax.vjp(operation, x)
    units = jnp.eye(out.size, dtype=out.dtype).reshape(out.size, *out.shape)
    return jax.lax.map(lambda unit: pull(unit)[0], units)


def _online(step: Any, rule: Any, model: Any, state: Any, xs: jax.Array) -> Any:
    transform = etr.etrace_grad(step, rule)
    return transform.scan(model, state, transform.init(model, state, xs[0]), xs)[0]


def pattern_of(graph: etr.ETraceGraph, shape: tuple[int, ...], jacobian: tuple[int, int]) -> np.ndarray:
    rows, columns = jacobian
    whole = graph._analysis.structure.jacobian.toarray()
    return whole[columns : columns + rows, :columns]


def _numbers(
    operation: Operation, step: Any, model: Any, state: Any, xs: jax.Array, rules: list[str]
) -> tuple[Any, Any, Any]:
    """Where the Jacobian is not zero at one of some points; the gradient, by path, and what these rules find."""
    points = jnp.asarray(np.random.default_rng(1).uniform(-1, 1, (POINTS, *operation.shape)))

    @jax.jit
    def run(points, model, state, xs):
        def loss(model):
            return rollout(step, model, state, xs)[0].sum()

        gradients = {name: _online(step, RULES[name], model, state, xs) for name in rules}
        return jax.lax.map(lambda v: _jacobian(operation, v), points), jax.grad(loss)(model), gradients

    jacobians, wanted, found = run(points, model, state, xs)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((jacobians, wanted))), "not finite"
    flat = np.asarray(jacobians).reshape(POINTS, -1, points[0].size)
    return (flat != 0).any(0), by_path(wanted), {name: by_path(gradient) for name, gradient in found.items()}

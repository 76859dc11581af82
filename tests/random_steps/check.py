"""What must hold of every step, whatever it does, under a rule and a window."""

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from oracle import bptt, by_path, trajectory

import eqx_etrace as etr

from .program import Program, T

RULES: dict[str, Any] = {
    "NoTrace": etr.NoTrace(),
    "PPProp": etr.PPProp(0.9),
    "DRTRL": etr.DRTRL(),
    "SnAp-1": etr.SnAp(1),
    "SnAp-2": etr.SnAp(2),
    "SnAp-9": etr.SnAp(9),
    "RTRL": etr.RTRL(),
    "chosen": None,
    "mixed": None,
}
"""Made for the step: `chosen`, what fits into a part of the memory of RTRL; `mixed`, another for every parameter."""
WINDOWS = (0, 1, 2, T)
ROUNDING = 2.0**-52
"""A difference below it is none: states are of the size of one, and a gradient may be zero but for rounding."""


def tolerance(program: Program) -> float:
    """Of gradients, relative to the largest element."""
    return 3e-4 if program.narrow else 1e-8


def scale_of(program: Program, gradient: np.ndarray, all_gradients: Any) -> float:
    """What an error is measured by: the largest element, and a little of those of other gradients, which make it."""
    return float(np.abs(gradient).max(initial=0) + (1e-3 if program.narrow else 1e-6) * _largest(all_gradients) + 1e-12)


@functools.lru_cache(2)
def built(program: Program) -> Any:
    return program.build()


@functools.lru_cache(4)
def reference(program: Program, window: int) -> dict[Any, np.ndarray]:
    """Truncated BPTT: nothing is handed over from one window to the next. Of window T it is BPTT.

    Of window 0 it is that of window 1: what the step itself does with a parameter is never missed.
    """
    loss_step, model, state, inputs = built(program)
    gradient, size = None, max(window, 1)
    for start in range(0, T, size):
        here = tuple(x[start : start + size] for x in inputs)
        part = bptt(loss_step, model, state, *here)
        gradient = part if gradient is None else jax.tree.map(jnp.add, gradient, part)
        if start + size < T:
            state = jax.tree.map(lambda s: s[-1], trajectory(loss_step, model, state, *here)[1])
    return {path: np.asarray(g) for path, g in by_path(gradient).items()}


def transform(make: Any, program: Program, rule: str) -> Any:
    """Of `etrace_grad` or `etrace_vjp`."""
    loss_step, model, state, inputs = built(program)
    if RULES[rule] is not None:
        return make(loss_step, RULES[rule])
    graph = make(loss_step, etr.DRTRL()).graph(model, state, *(x[0] for x in inputs))
    return make(loss_step, {"chosen": chosen, "mixed": mixed}[rule](graph, program.seed))


def chosen(graph: etr.ETraceGraph, seed: int) -> Any:
    memory = (1 + seed) * graph.report(etr.RTRL()).trace_bytes // 4
    rule = etr.choose_rule(graph, memory=memory)
    assert graph.report(rule).trace_bytes <= memory
    return rule


def mixed(graph: etr.ETraceGraph, seed: int) -> Any:
    rules = [rule for rule in RULES.values() if rule is not None]
    paths = sorted({r.path for r in graph.relations}, key=str)

    def rule(relation: etr.ParamRelation) -> Any:
        return rules[(seed + 3 * paths.index(relation.path)) % len(rules)]

    try:
        graph.report(rule)
    except ValueError as error:  # parameters that share a weight must have one rule
        assert "shares its effective weight" in str(error) or "relations of one weight" in str(error)
        return rules[seed]
    return rule


def check(program: Program, rule: str, window: int) -> None:
    """Assert what the report promises, and what holds under every rule.

    Compiled without optimisations, as in the tests, XLA gives a NaN for BPTT of one step of some thousands, where it
    has a number otherwise. Such a step is run without compilation.
    """
    if all(np.isfinite(g).all() for g in reference(program, T).values()):
        return _check(program, rule, window)
    reference.cache_clear()
    with jax.disable_jit():
        assert all(np.isfinite(g).all() for g in reference(program, T).values()), "BPTT is not finite"
        _check(program, rule, window)
    reference.cache_clear()


def _check(program: Program, rule: str, window: int) -> None:
    _, model, state, inputs = built(program)
    wanted = reference(program, T)
    scale = {path: scale_of(program, g, wanted) for path, g in wanted.items()}
    bound = tolerance(program)
    online = transform(etr.etrace_grad, program, rule)
    trace = online.init(model, state, *(x[0] for x in inputs))
    gradients, last, trace = eqx.filter_jit(online.scan)(model, state, trace, *inputs, window=window)
    report = online.graph(model, state, *(x[0] for x in inputs)).report(online.rule)
    found = {path: np.asarray(g) for path, g in by_path(gradients).items()}
    exact = {row.path: row.exact if window > 0 else row.exact_at_window_0 for row in report.rows}

    def error(path: Any, reference: dict[Any, np.ndarray]) -> float:
        assert found[path].shape == reference[path].shape and found[path].dtype == reference[path].dtype
        difference = float(np.abs(found[path] - reference[path]).max(initial=0))
        return 0.0 if difference < ROUNDING else difference / scale[path]

    assert found.keys() == wanted.keys() == exact.keys()
    for path in found:
        assert np.isfinite(found[path]).all(), path
        if exact[path] or window == T:
            assert error(path, wanted) < bound, (path, "is not BPTT", error(path, wanted))
        if rule == "NoTrace":
            assert error(path, reference(program, window)) < bound, (path, "is not truncated BPTT")
        if not found[path].any():
            within = np.abs(reference(program, window)[path]).max(initial=0)
            assert within <= 1e-6 * scale[path], (path, "is silently zero")
    if rule == "RTRL" and program.is_linear:
        assert all(row.exact for row in report.rows), report
    for row in report.rows:
        assert row.exact == (not row.dropped)
    assert report.trace_bytes == sum(x.nbytes for x in jax.tree.leaves(trace.values))
    assert jax.tree.structure(last) == jax.tree.structure(state)


def check_steps(program: Program, rule: str) -> None:
    """One call per step gives what a scan over windows of one step gives."""
    _, model, state, inputs = built(program)
    online = transform(etr.etrace_grad, program, rule)
    start = online.init(model, state, *(x[0] for x in inputs))
    wanted, wanted_state, wanted_trace = eqx.filter_jit(online.scan)(model, state, start, *inputs)
    step, trace, total = eqx.filter_jit(online), start, jax.tree.map(jnp.zeros_like, model)
    for t in range(T):
        gradients, state, trace = step(model, state, trace, *(x[t] for x in inputs))
        total = jax.tree.map(jnp.add, total, gradients)
    largest = _largest(wanted) + 1e-12
    close, rtol, atol = (1e-4, 1e-4, 1e-4) if program.narrow else (1e-10, 1e-9, 1e-10)
    for a, b in zip(*map(jax.tree.leaves, (total, wanted)), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=close * largest)
    for a, b in zip(*map(jax.tree.leaves, ((state, trace), (wanted_state, wanted_trace))), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


def check_pullback(program: Program, rule: str, window: int) -> None:
    """With cotangents of the new state beside that of the loss, what is called exact is BPTT of the two together."""
    loss_step, model, state, inputs = built(program)
    leaves = jax.tree.leaves(state)
    cotangents = [
        jnp.cos(jnp.arange(s.size)).reshape(s.shape).astype(s.dtype) * (i + 0.5) for i, s in enumerate(leaves)
    ]
    cotangent = jax.tree.unflatten(jax.tree.structure(state), cotangents)

    def both(model: Any, state: Any, *inputs: Any) -> Any:
        loss, new = loss_step(model, state, *inputs)
        pairs = zip(cotangents, jax.tree.leaves(new), strict=True)
        return loss + sum(jnp.sum((c * s).real).astype(loss.dtype) for c, s in pairs), new

    wanted = {path: np.asarray(g) for path, g in by_path(bptt(both, model, state, *inputs)).items()}
    online = transform(functools.partial(etr.etrace_vjp, window=window), program, rule)

    @eqx.filter_jit
    def run(model: Any, state: Any, trace: Any, *now: Any) -> Any:
        loss, state, trace, pullback = online(model, state, trace, *now)
        return pullback(jnp.ones_like(loss), cotangent)[0], state, trace

    first = [x[0] for x in inputs]
    rows = online.graph(model, state, *first).report(online.rule).rows
    trace, total = online.init(model, state, *first), jax.tree.map(jnp.zeros_like, model)
    for t in range(T):
        gradients, state, trace = run(model, state, trace, *(x[t] for x in inputs))
        total = jax.tree.map(jnp.add, total, gradients)
    for row in rows:
        if row.exact if window else row.exact_at_window_0:
            error = np.abs(np.asarray(by_path(total)[row.path]) - wanted[row.path]).max(initial=0)
            error /= scale_of(program, wanted[row.path], wanted)
            assert error < tolerance(program), (row.path, "is not BPTT with cotangents of the state", error)
        assert row.exact or rule != "RTRL" or not program.is_linear


def _largest(tree: Any) -> float:
    return max((float(np.abs(np.asarray(g)).max(initial=0)) for g in jax.tree.leaves(tree)), default=0.0)

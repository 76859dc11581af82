"""RTRL equals BPTT on every case, SnAp is RTRL once it reaches far enough, NoTrace is truncated BPTT."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest
from cases import CASES, reference
from online import graph_of, NAMES, runs, SAMPLE, table
from oracle import assert_close, bptt, by_path, estimate_from_new_state, influence, relative, trajectory

import eqx_etrace as etr

NONLINEAR = {name for name in NAMES if name.startswith("rule_")} | {"custom_vjp_that_clips"}
"""Cases with a backward rule that is not linear in the cotangent, which no Jacobian follows."""
FALSE_ALARMS = {"scatter_add"}
"""Equal to BPTT, though the structure does not prove it."""


def exact_by_path(name, rule):
    return {row.path: row.exact for row in graph_of(name).report(rule).rows}


def traces(name, rule):
    """What the report says of every parameter's trace, but for the name of its rule."""
    return [dataclasses.replace(row, rule="") for row in graph_of(name).report(rule).rows]


@pytest.mark.sweep(2)
@pytest.mark.parametrize("name", table())
def test_rtrl_is_bptt(name):
    check_rtrl(name, (1, 3) if name in SAMPLE - NONLINEAR else (1,))


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in NAMES if n not in SAMPLE | NONLINEAR])
def test_rtrl_is_bptt_at_a_window_between(name):
    check_rtrl(name, (3,))


def check_rtrl(name, windows):
    report, rule = graph_of(name).report, etr.RTRL()
    exact = exact_by_path(name, rule)
    if all(exact.values()) and report(rule).rows == report(etr.DRTRL()).rows:
        return  # the same trace, and `test_exact.test_gradient` compares it with BPTT
    for window, _, found, _ in runs(name, rule, windows):
        for path, wanted in reference(name).items():
            error = relative(found[path], wanted)
            if exact[path]:
                assert error < 1e-9, (path, window, error)
            else:
                assert name in NONLINEAR and error > 1e-6, (path, window, error)


@pytest.mark.sweep(2)
@pytest.mark.parametrize(
    "name", table([n for n in NAMES if n in SAMPLE or CASES[n].builder.__module__ == "cases.recurrent"])
)
def test_snap(name):
    """Short of RTRL where the report says so, and RTRL from some n on."""
    check_snap(name, repeat=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_snap_in_every_case(name):
    check_snap(name, repeat=True)


def check_snap(name, repeat):
    """`repeat` runs also those whose traces are the ones of `RTRL`."""
    for n in (1,) if all(exact_by_path(name, etr.SnAp(1)).values()) else (1, 8):  # exact: it reaches no further
        exact = exact_by_path(name, etr.SnAp(n))
        if not repeat and traces(name, etr.SnAp(n)) == traces(name, etr.RTRL()):
            continue  # which `test_rtrl_is_bptt` compares with BPTT
        ((_, _, found, _),) = runs(name, etr.SnAp(n), (1,))
        for path, wanted in reference(name).items():
            error = relative(found[path], wanted)
            if exact[path]:
                assert error < 1e-9, (path, n, error)
            else:
                assert error > 1e-7 or name in FALSE_ALARMS, (path, n, error)
    assert all(exact_by_path(name, etr.SnAp(8)).values()) or name in NONLINEAR


def truncated(loss_step, window, model, state, inputs):
    """BPTT window by window: nothing is handed over."""
    total = None
    for start in range(0, inputs[0].shape[0], window):
        here = tuple(x[start : start + window] for x in inputs)
        found = bptt(loss_step, model, state, *here)
        states = trajectory(loss_step, model, state, *here)[1]
        state = jax.tree.map(lambda s: s[-1], states)
        total = found if total is None else jax.tree.map(jnp.add, total, found)
    return total


@pytest.mark.parametrize("window", [1, 3])
@pytest.mark.parametrize("name", ["gru", "adaptive_lif_with_synapse", "conv2d_batched", "linear_recurrent_unit"])
def test_no_trace_is_truncated_bptt(name, window):
    loss_step, model, state, inputs = CASES[name].build()
    online = etr.etrace_grad(loss_step, etr.NoTrace())
    trace = online.init(model, state, *(x[0] for x in inputs))
    assert not jax.tree.leaves(trace.values)
    found, _, _ = eqx.filter_jit(online.scan)(model, state, trace, *inputs, window=window)
    assert_close(found, truncated(loss_step, window, model, state, inputs), 1e-11)
    assert any(relative(g, reference(name)[path]) > 1e-3 for path, g in by_path(found).items())


def two_layers():
    """Recurrent layers, the second of which reads the new state of the first; the loss reads both new states."""
    keys = jax.random.split(jax.random.key(11), 6)
    model = {
        "a": 0.5 * jax.random.normal(keys[0], (3, 3)),
        "b": 0.5 * jax.random.normal(keys[1], (2, 2)),
        "c": jax.random.normal(keys[2], (2, 3)),
        "e": jax.random.normal(keys[3], (3, 2)),
        "r": jax.random.normal(keys[4], (2, 5)),
    }

    def loss_of(m, state, x):
        del x
        return jnp.sum((m["r"] @ jnp.concatenate(state)) ** 3)

    def loss_step(m, state, x):
        first = jnp.tanh(m["a"] @ state[0] + m["e"] @ x)
        second = jnp.tanh(m["b"] @ state[1] + m["c"] @ first)
        return loss_of(m, (first, second), x), (first, second)

    return loss_of, loss_step, model, (0.1 * jnp.ones(3), jnp.zeros(2)), jax.random.normal(keys[5], (6, 2))


def test_window_0_is_the_new_state_with_the_full_influence():
    """sum_t dl/dh_t . J_t, every new state for itself: with the exact influence that is BPTT."""
    loss_of, loss_step, model, state, xs = two_layers()
    wanted = estimate_from_new_state(loss_of, loss_step, influence(loss_step), model, state, xs)
    online = etr.etrace_grad(loss_step, etr.RTRL(), window=0)
    trace = online.init(model, state, xs[0])
    found, _, _ = eqx.filter_jit(online.scan)(model, state, trace, xs)
    assert_close(found, wanted, 1e-11)
    assert_close(found, bptt(loss_step, model, state, xs), 1e-11)
    step, total, here = eqx.filter_jit(online), jax.tree.map(jnp.zeros_like, model), state
    for x in xs:
        gradients, here, trace = step(model, here, trace, x)
        total = jax.tree.map(jnp.add, total, gradients)
    assert_close(total, wanted, 1e-11)


def test_rules_mixed_by_relation():
    """RTRL for one weight, another rule for the others: each is what it would be alone."""
    _, loss_step, model, state, xs = two_layers()

    def gradients(rule):
        online = etr.etrace_grad(loss_step, rule)
        return eqx.filter_jit(online.scan)(model, state, online.init(model, state, xs[0]), xs)[0]

    exact, diagonal = gradients(etr.RTRL()), gradients(etr.DRTRL())
    found = gradients(lambda r: etr.RTRL() if r.path == ("a",) else etr.DRTRL())
    assert_close(found, {**diagonal, "a": exact["a"]}, 1e-12)
    assert relative(diagonal["a"], exact["a"]) > 1e-3


def test_a_rule_by_relation_does_not_vouch_for_uses_without_a_relation():
    """e enters the state at a head, which is a relation, and through a sum of its transpose's product, which is not."""

    def loss_step(m, h, x):
        h = jnp.tanh(m["w"] @ h + m["e"] @ x + 0.1 * jnp.sum(jnp.sin(m["e"].T @ h)))
        return jnp.sum(h**2), h

    keys = jax.random.split(jax.random.key(12), 3)
    model = {"w": 0.6 * jax.random.normal(keys[0], (4, 4)), "e": jax.random.normal(keys[1], (4, 3))}
    xs, state = jax.random.normal(keys[2], (6, 3)), jnp.ones(4)
    wanted = by_path(bptt(loss_step, model, state, xs))
    for rule, is_exact in ((etr.RTRL(), True), (lambda r: etr.RTRL(), False)):
        online = etr.etrace_grad(loss_step, rule)
        found = by_path(eqx.filter_jit(online.scan)(model, state, online.init(model, state, xs[0]), xs)[0])
        exact = {row.path: row.exact for row in online.graph(model, state, xs[0]).report(rule).rows}
        assert exact["w",] and exact["e",] == is_exact
        assert relative(found["w",], wanted["w",]) < 1e-11
        assert (relative(found["e",], wanted["e",]) < 1e-11) == is_exact


def test_a_state_cotangent_and_second_derivatives():
    """`etrace_vjp` by RTRL, and a derivative of its gradient."""
    _, loss_step, model, state, xs = two_layers()
    xs = xs[:3]  # which are three copies of the step in one program
    online = etr.etrace_vjp(loss_step, etr.RTRL())
    cotangent = (jnp.arange(3.0), jnp.array([1.0, -2.0]))

    def last(model):
        here = state
        for x in xs:
            _, here = loss_step(model, here, x)
        return sum(jnp.vdot(a, b) for a, b in zip(cotangent, here, strict=True))

    def ours(model):
        here, trace = state, online.init(model, state, xs[0])
        for x in xs[:-1]:
            _, here, trace, _ = online(model, here, trace, x)
        return online(model, here, trace, xs[-1])[3](0.0, cotangent)[0]

    assert_close(jax.jit(ours)(model), jax.grad(last)(model), 1e-11)

    def norm(gradient):
        return sum(jnp.vdot(g, jnp.cos(jnp.arange(g.size)).reshape(g.shape)) for g in jax.tree.leaves(gradient))

    found = jax.jit(jax.grad(lambda m: norm(ours(m))))(model)
    assert_close(found, jax.jit(jax.grad(lambda m: norm(jax.grad(last)(m))))(model), 1e-10)


def test_stored_in_the_size_of_the_structure():
    """Lanes, heads and zeros of a mask are seen: bytes are those of a trace written by hand for them.

    Beside it, one number says the status of every scalar that is influenced.
    """
    heads, width, lanes, features = 3, 2, 4, 5
    model = {"w": jnp.ones((heads, width, width)), "v": jnp.ones((heads, width, features))}

    def one(m, h, x):
        return jnp.tanh(jnp.einsum("hij,hj->hi", m["w"], h) + jnp.einsum("hij,j->hi", m["v"], x))

    def step(m, h, x):
        h = jax.vmap(one, (None, 0, 0))(m, h, x)
        return jnp.sum(h), h

    report = etr.compile_graph(step, model, jnp.ones((lanes, heads, width)), jnp.ones((lanes, features))).report(
        etr.RTRL()
    )
    sizes = {row.path: row.trace_bytes for row in report.rows}
    assert sizes["w",] == 8 * lanes * heads * width * (width * width + 1)
    assert sizes["v",] == 8 * lanes * heads * width * (width * features + 1)
    mask = jnp.eye(6)

    def masked(m, h, x):
        h = jnp.tanh((m["w"] * mask) @ h + m["v"] @ x)
        return jnp.sum(h), h

    graph = etr.compile_graph(masked, {"w": jnp.ones((6, 6)), "v": jnp.ones((6, 3))}, jnp.ones(6), jnp.ones(3))
    assert {row.path: row.trace_bytes for row in graph.report(etr.RTRL()).rows} == {
        ("w",): 8 * 6 * (1 + 1),
        ("v",): 8 * 6 * (3 + 1),
    }


def test_a_trace_above_the_limit():
    _, loss_step, model, state, xs = two_layers()
    with pytest.raises(ValueError, match=r"needs [0-9,]+ bytes.*limit of 100.*limit=[0-9]+\).*SnAp\(1\).*DRTRL"):
        etr.etrace_grad(loss_step, etr.RTRL(limit=100)).init(model, state, xs[0])
    report = etr.compile_graph(loss_step, model, state, xs[0]).report(etr.RTRL(limit=100))
    assert report.trace_bytes > 100 and report.refusal is not None and report.refusal in str(report)


@pytest.mark.parametrize("limit", ["1GB", 1e9, -1, True])
def test_a_limit_is_a_number_of_bytes(limit):
    for make in (etr.RTRL, lambda limit: etr.SnAp(2, limit)):
        with pytest.raises(ValueError if limit == -1 else TypeError, match="number of bytes"):
            make(limit)


@pytest.mark.parametrize("n", [0, -1])
def test_snap_counts_steps_from_one(n):
    with pytest.raises(ValueError, match="at least 1"):
        etr.SnAp(n)

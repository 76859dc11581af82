"""The transforms: what they return, what they compose with, what they leave alone."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
import pytest
from cases import CASES
from cases.table import T
from oracle import assert_close, bptt, by_path, relative

import eqx_etrace as etr

RULE = etr.DRTRL()


def setup(name, **options):
    loss_step, model, state, inputs = CASES[name].build()
    online = etr.etrace_value_and_grad(loss_step, RULE, **options)
    now = tuple(x[0] for x in inputs)
    return loss_step, online, model, state, online.init(model, state, *now), inputs, now


def with_aux(loss_step):
    def step(model, state, *inputs):
        loss, new = loss_step(model, state, *inputs)
        return (loss, {"loss": 2 * loss, "n": jnp.int32(3), "name": "tag"}), new

    return step


def copy_of(tree):
    return jax.tree.map(lambda x: np.array(x) if eqx.is_inexact_array(x) else x, tree)


@pytest.mark.parametrize("name", ["gru", "lstm", "counter_key_and_flag_in_the_state", "conv2d_batched"])
def test_structures(name):
    loss_step, online, model, state, trace, inputs, now = setup(name)
    (loss, gradients), new, new_trace = eqx.filter_jit(online)(model, state, trace, *now)
    wanted = eqx.filter_grad(lambda m: loss_step(m, state, *now)[0])(model)
    assert jtu.tree_structure(gradients) == jtu.tree_structure(wanted)
    assert_close(gradients, wanted)  # the trace is zero at the first step
    value, next_state = loss_step(model, state, *now)
    np.testing.assert_allclose(loss, value)
    assert jtu.tree_structure(new) == jtu.tree_structure(next_state)
    assert [x.dtype for x in jax.tree.leaves(new)] == [x.dtype for x in jax.tree.leaves(next_state)]
    assert jtu.tree_structure(new_trace) == jtu.tree_structure(trace)
    assert all(not np.any(x) for x in jax.tree.leaves(trace))
    (losses, gradients), _, _ = eqx.filter_jit(online.scan)(model, state, trace, *inputs)
    assert losses.shape == (T,) and jtu.tree_structure(gradients) == jtu.tree_structure(wanted)


def test_grad_is_value_and_grad_without_the_value():
    loss_step, online, model, state, trace, inputs, now = setup("gru")
    without = etr.etrace_grad(loss_step, RULE)
    (_, wanted), state_1, trace_1 = eqx.filter_jit(online)(model, state, trace, *now)
    gradients, state_2, trace_2 = eqx.filter_jit(without)(model, state, trace, *now)
    assert_close((gradients, state_2, trace_2), (wanted, state_1, trace_1), 1e-12)
    (_, wanted), _, _ = eqx.filter_jit(online.scan)(model, state, trace, *inputs, window=2)
    assert_close(eqx.filter_jit(without.scan)(model, state, trace, *inputs, window=2)[0], wanted, 1e-12)


@pytest.mark.parametrize("window", [0, 1, 3])
def test_aux(window):
    loss_step, plain, model, state, trace, inputs, now = setup("vanilla_rnn", window=min(window, 1))
    online = etr.etrace_value_and_grad(with_aux(loss_step), RULE, window=min(window, 1), has_aux=True)
    ((loss, aux), gradients), _, _ = online(model, state, trace, *now)
    (value, wanted), _, _ = plain(model, state, trace, *now)
    np.testing.assert_allclose(aux["loss"], 2 * value)
    np.testing.assert_allclose(loss, value)
    assert aux["name"] == "tag" and aux["n"] == 3 and aux["n"].dtype == jnp.int32
    assert_close(gradients, wanted, 1e-12)
    ((losses, aux), gradients), _, _ = eqx.filter_jit(online.scan)(model, state, trace, *inputs, window=window)
    (values, wanted), _, _ = eqx.filter_jit(plain.scan)(model, state, trace, *inputs, window=window)
    np.testing.assert_allclose(losses, values)
    np.testing.assert_allclose(aux["loss"], 2 * values)
    assert aux["n"].shape == (T,)
    assert_close(gradients, wanted, 1e-12)
    only = etr.etrace_grad(with_aux(loss_step), RULE, window=window, has_aux=True)
    (gradients, aux), _, _ = eqx.filter_jit(only.scan)(model, state, trace, *inputs)
    assert aux["loss"].shape == (T,)
    assert_close(gradients, wanted, 1e-12)


def cell_step(model, h, x):
    h = jnp.tanh(model["w"] * h + model["W"] @ x)
    return {"y": jnp.sin(h), "n": jnp.int32(1)}, h


def cell_setup():
    _, model, state, (x, _) = CASES["indrnn"].build()
    model = {"w": model["w"], "W": model["W"]}
    vjp = etr.etrace_vjp(cell_step, RULE)
    return vjp, model, state, vjp.init(model, state, x[0]), x


def test_pullback_at_the_first_step_is_that_of_jax():
    vjp, model, state, trace, x = cell_setup()
    out, new, _, pullback = vjp(model, state, trace, x[0])
    y, pull = jax.vjp(lambda m, x: (cell_step(m, state, x)[0]["y"], cell_step(m, state, x)[1]), model, x[0])
    np.testing.assert_allclose(out["y"], y[0])
    on_out, on_state = jnp.arange(4.0), jnp.ones(4)
    for given in (on_state, None):
        gradients, (on_x,) = pullback({"y": on_out, "n": None}, given)
        wanted = pull((on_out, jnp.zeros(4) if given is None else given))
        assert_close((gradients, on_x), wanted, 1e-12)
    assert_close(pullback({"y": on_out, "n": None}, jnp.zeros(4)), pullback({"y": on_out, "n": None}), 1e-15)
    assert_close(new, y[1], 1e-15)


def test_pullback_reaches_the_past():
    """A state cotangent at step 2 is exact through step 1 too: the cell is elementwise."""
    vjp, model, state, trace, x = cell_setup()
    _, state_1, trace, _ = vjp(model, state, trace, x[0])
    _, _, _, pullback = vjp(model, state_1, trace, x[1])

    def two(model):
        return cell_step(model, cell_step(model, state, x[0])[1], x[1])

    on_out, on_state = jnp.arange(4.0), jnp.ones(4)
    wanted = jax.grad(lambda m: jnp.vdot(two(m)[0]["y"], on_out) + jnp.vdot(two(m)[1], on_state))(model)
    assert_close(pullback({"y": on_out, "n": None}, on_state)[0], wanted, 1e-12)
    first = pullback({"y": on_out, "n": None})[0]
    assert_close(jax.tree.map(lambda g: 3 * g, first), pullback({"y": 3 * on_out, "n": None})[0], 1e-12)


def test_inputs_without_gradient_have_none():
    def step(model, h, x, n, key, tag):
        h = jnp.tanh(model * h + x * n + jax.random.normal(key, (3,)))
        return h if tag == "a" else 2 * h, h

    vjp = etr.etrace_vjp(step, RULE)
    inputs = (jnp.ones(3), jnp.arange(3.0).astype(jnp.int32), jax.random.key(0), "a")
    step_inputs = (inputs[0], jnp.float64(2), inputs[2], "a")
    trace = vjp.init(jnp.ones(3), jnp.ones(3), *step_inputs)
    _, _, _, pullback = vjp(jnp.ones(3), jnp.ones(3), trace, *step_inputs)
    _, (on_x, on_n, on_key, on_tag) = pullback(jnp.ones(3))
    assert on_x.shape == (3,) and on_n.shape == () and on_key is None and on_tag is None


def test_nothing_is_mutated():
    _, online, model, state, trace, inputs, now = setup("adaptive_lif_with_synapse")
    before = copy_of((model, state, trace, inputs))
    results = [online(model, state, trace, *now), online(model, state, trace, *now)]
    assert_close(results[0], results[1], 1e-15)
    assert_close(copy_of((model, state, trace, inputs)), before, 1e-300)


def test_composes_with_jit_scan_checkpoint_and_method():
    _, online, model, state, trace, inputs, _ = setup("two_stacked_layers")

    def body(carry, now):
        (loss, gradients), state, trace = jax.checkpoint(online)(model, *carry, *now)
        return (state, trace), (loss, gradients)

    (last, last_trace), (losses, gradients) = jax.jit(lambda: jax.lax.scan(body, (state, trace), inputs))()
    (values, wanted), scanned, scanned_trace = jax.jit(lambda: online.scan(model, state, trace, *inputs))()
    np.testing.assert_allclose(losses, values)
    assert_close(jax.tree.map(lambda g: g.sum(0), gradients), wanted, 1e-12)
    assert_close((last, last_trace), (scanned, scanned_trace), 1e-12)


@pytest.mark.parametrize("name", ["vanilla_rnn", "adaptive_lif_with_synapse", "conv1d_stride_padding_groups"])
@pytest.mark.parametrize("window", [1, 3])
def test_vmap_over_a_batch(name, window):
    _, online, model, state, trace, inputs, _ = setup(name)

    def lanes(x):
        return jax.tree.map(lambda a: jnp.asarray(np.stack([a, 0.5 * a])), x)

    params, static = eqx.partition(model, eqx.is_inexact_array)

    def one(state, trace, *inputs):
        return online.scan(eqx.combine(params, static), state, trace, *inputs, window=window)[0]

    run = jax.jit(one)
    found = jax.jit(jax.vmap(one))(lanes(state), lanes(trace), *lanes(inputs))
    for lane, scale in enumerate((1.0, 0.5)):
        alone = run(*jax.tree.map(lambda a, c=scale: c * a, (state, trace, *inputs)))
        assert_close(jax.tree.map(lambda x, i=lane: x[i], found), alone)


def test_vmap_over_models():
    _, online, model, state, trace, inputs, _ = setup("indrnn")
    models = jax.tree.map(lambda a: jnp.stack([a, 0.7 * a]), model)
    (_, found), _, _ = jax.jit(jax.vmap(lambda m: online.scan(m, state, trace, *inputs)))(models)
    (_, alone), _, _ = eqx.filter_jit(online.scan)(jax.tree.map(lambda a: 0.7 * a, model), state, trace, *inputs)
    assert_close(jax.tree.map(lambda x: x[1], found), alone)


@pytest.mark.parametrize(("name", "window"), [("indrnn", 0), ("indrnn", 3), ("gru", 0), ("gru", 1), ("gru", 3)])
def test_derivative_of_the_gradient(name, window):
    """Differentiate a function of gradients and trace in the model, against central differences."""
    _, online, model, state, trace, inputs, _ = setup(name)
    params, static = eqx.partition(model, eqx.is_inexact_array)

    def objective(params):
        m = eqx.combine(params, static)
        (losses, gradients), _, last = eqx.filter_jit(online.scan)(m, state, trace, *inputs, window=window)
        squares = sum(jnp.sum(g**2) for g in jax.tree.leaves(gradients))
        return losses.sum() + squares + sum(jnp.sum(jnp.sin(e)) for e in jax.tree.leaves(last))

    rng = np.random.default_rng(0)
    direction = jax.tree.map(lambda p: jnp.asarray(rng.standard_normal(p.shape)), params)
    gradient = jax.jit(jax.grad(objective))(params)
    along = sum(jnp.vdot(g, d) for g, d in zip(jax.tree.leaves(gradient), jax.tree.leaves(direction), strict=True))
    value, size = jax.jit(objective), 1e-5
    ahead, behind = (value(jax.tree.map(lambda p, d, s=s: p + s * d, params, direction)) for s in (size, -size))
    assert relative((ahead - behind) / (2 * size), along) < 1e-6


def test_any_window_fits_any_length():
    loss_step, online, model, state, trace, inputs, _ = setup("counter_key_and_flag_in_the_state")
    wanted = bptt(loss_step, model, state, *inputs)
    (_, _), state_1, trace_1 = eqx.filter_jit(online.scan)(model, state, trace, *inputs)
    for window in (4, 5, T, T + 1):
        (losses, gradients), last, last_trace = eqx.filter_jit(online.scan)(model, state, trace, *inputs, window=window)
        assert losses.shape == (T,) and last["t"] == T
        assert_close(gradients, wanted)
        assert_close(last_trace, trace_1)
        assert (jax.random.key_data(last["key"]) == jax.random.key_data(state_1["key"])).all()


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("indrnn", etr.DRTRL()),
        ("linear_recurrent_unit", etr.DRTRL()),
        ("conv2d_batched", etr.DRTRL()),
        ("gru", etr.RTRL()),
        ("two_recurrent_layers", etr.RTRL()),
    ],
)
def test_a_last_window_that_is_shorter(name, rule):
    """Windows of 4 in 6 steps, where the trace is exact: on positions, complex, of patches, and on blocks."""
    loss_step, model, state, inputs = CASES[name].build()
    online = etr.etrace_grad(loss_step, rule)
    trace = online.init(model, state, *(x[0] for x in inputs))
    exact = {row.path for row in online.graph(model, state, *(x[0] for x in inputs)).report(rule).rows if row.exact}
    found, _, last = eqx.filter_jit(online.scan)(model, state, trace, *inputs, window=4)
    wanted = by_path(bptt(loss_step, model, state, *inputs))
    assert exact and max(relative(by_path(found)[path], wanted[path]) for path in exact) < 1e-9
    _, _, rolled = eqx.filter_jit(online.scan)(model, state, trace, *inputs, window=1)
    assert_close(last, rolled, 1e-9)


def test_a_while_loop_may_make_what_is_not_differentiated():
    loss_step, _, model, state, _, inputs, now = setup("indrnn")

    def with_aux(m, s, *inputs):
        loss, new = loss_step(m, s, *inputs)
        return (loss, jax.lax.while_loop(lambda c: jnp.sum(c**2) > 0.1, lambda c: 0.9 * c, new)), new

    online = etr.etrace_grad(with_aux, RULE, has_aux=True)
    (found, small), _, _ = eqx.filter_jit(online.scan)(model, state, online.init(model, state, *now), *inputs)
    assert 0 < float(jnp.sum(small[-1] ** 2)) <= 0.1
    assert_close(found, bptt(loss_step, model, state, *inputs))


@pytest.mark.parametrize("rule", [RULE, etr.RTRL()], ids=str)
def test_a_while_loop_may_compare_with_the_state(rule):
    """No derivative flows into it, though D-RTRL's report is on the safe side."""

    def step(m, h, x):
        level = jax.lax.while_loop(lambda v: v < 0.5, lambda v: v + jnp.where(h.sum() > 0, 0.2, 0.1), 0.0)
        h = jnp.tanh(m * h + x + level)
        return jnp.sum(h**2), h

    m, h, xs = jnp.asarray([0.5, -0.3]), jnp.zeros(2), jnp.linspace(-2, 2, 8).reshape(4, 2)
    online = etr.etrace_grad(step, rule)
    for window in (1, 2):
        found, _, _ = eqx.filter_jit(online.scan)(m, h, online.init(m, h, xs[0]), xs, window=window)
        assert_close(found, bptt(step, m, h, xs))


def test_default_window_is_that_of_the_transform():
    loss_step, online, model, state, trace, inputs, _ = setup("vanilla_rnn", window=3)
    (_, found), _, _ = eqx.filter_jit(online.scan)(model, state, trace, *inputs)
    single = etr.etrace_value_and_grad(loss_step, RULE)
    (_, wanted), _, _ = eqx.filter_jit(single.scan)(model, state, trace, *inputs, window=3)
    assert_close(found, wanted, 1e-12)


@pytest.mark.parametrize("window", [1, 3])
def test_not_a_number_passes_through(window):
    _, online, model, state, trace, inputs, _ = setup("leaky_integrator")
    bad = (inputs[0].at[2, 0].set(jnp.nan), inputs[1])
    (losses, gradients), _, last = eqx.filter_jit(online.scan)(model, state, trace, *bad, window=window)
    assert np.isnan(losses[2:]).all() and not np.isnan(losses[:2]).any()
    assert np.isnan(gradients["W"][:, 0]).all()
    (trace,) = (value for name, value in zip(last.owner, last.values, strict=True) if "W" in name)
    assert np.isnan(trace.status[0]).all() and np.isfinite(trace.e[0]).all()


def test_rule_as_a_function():
    loss_step, online, model, state, trace, inputs, now = setup("lstm")
    asked = []

    def rule(relation):
        asked.append((relation.path, relation.group, relation.kind))
        return RULE

    chosen = etr.etrace_value_and_grad(loss_step, rule)
    mine = chosen.init(model, state, *now)
    assert ((("cell", "weight_hh"), 0, "dense") in asked) and all(path[0] == "cell" for path, _, _ in asked)
    found, wanted = (eqx.filter_jit(f.scan)(model, state, e, *inputs) for f, e in ((chosen, mine), (online, trace)))
    assert_close(found, wanted, 1e-12)


@pytest.mark.parametrize("window", [0, 1, 3])
@pytest.mark.parametrize("name", ["gru", "adaptive_lif_with_synapse", "conv1d_stride_padding_groups"])
def test_single_precision(name, window):
    loss_step, model, state, inputs = CASES[name].build()
    single = jax.tree.map(
        lambda x: x.astype(jnp.float32) if eqx.is_inexact_array(x) else x, (model, state, inputs), is_leaf=eqx.is_array
    )
    online = etr.etrace_value_and_grad(loss_step, RULE)
    trace = online.init(*single[:2], *(x[0] for x in single[2]))
    result = eqx.filter_jit(online.scan)(*single[:2], trace, *single[2], window=window)
    assert {x.dtype for x in jax.tree.leaves(result)} == {jnp.dtype(jnp.float32)}
    wide = online.init(model, state, *(x[0] for x in inputs))
    (_, wanted), _, _ = eqx.filter_jit(online.scan)(model, state, wide, *inputs, window=window)
    assert_close(result[0][1], wanted, 1e-4)


def test_transform_is_a_pytree_and_a_method():
    _, online, model, state, trace, _, now = setup("gru")

    class Trainer(eqx.Module):
        run: etr.ETraceGrad

        @eqx.filter_jit
        def __call__(self, *arguments):
            return self.run(*arguments)

    assert_close(Trainer(online)(model, state, trace, *now), eqx.filter_jit(online)(model, state, trace, *now), 1e-12)


def test_reset_clears_the_trace():
    _, online, model, state, trace, inputs, _ = setup("reset_by_where")
    x, done, y = inputs
    _, state_1, whole = eqx.filter_jit(online.scan)(model, state, trace, x[:5], done[:5], y[:5])
    _, state_2, fresh = online(model, state, trace, x[4], done[4], y[4])
    after = [online(model, s, e, x[5], done[5], y[5])[0] for s, e in ((state_1, whole), (state_2, fresh))]
    assert_close(after[0], after[1], 1e-12)
    untouched = online(model, state_1, trace, x[5], done[5], y[5])[0]
    assert relative(after[0][1]["W"], untouched[1]["W"]) > 1e-3


def test_frozen_parameters_go_in_as_inputs():
    loss_step, _, model, state, _, (x, y), _ = setup("vanilla_rnn")
    trained, frozen = {"W": model["W"]}, {"R": model["R"], "b": model["b"]}

    def step(trained, state, x, y):
        return loss_step({**trained, **frozen}, state, x, y)

    online = etr.etrace_value_and_grad(step, RULE)
    trace = online.init(trained, state, x[0], y[0])
    (_, gradients), _, _ = eqx.filter_jit(online.scan)(trained, state, trace, x, y, window=T)
    assert gradients.keys() == {"W"}
    assert_close(gradients["W"], bptt(loss_step, model, state, x, y)["W"])


@pytest.mark.parametrize("rule", [etr.NoTrace(), etr.DRTRL(), etr.PPProp(0.9)], ids=lambda rule: type(rule).__name__)
def test_a_trace_outlives_the_weak_type_of_a_parameter(rule):
    """The first update makes a weakly typed array a strong one; the order of the weights must not change the trace."""

    def step(m, h, x):
        gate = jax.nn.sigmoid(m["gate"] @ x + m["bias"])
        h = (1 - gate) * h + gate * jnp.tanh(m["content"] @ x)
        return h.sum(), h

    a, x, h = jnp.ones((4, 3)), jnp.ones(3), jnp.zeros(4)
    weak = {"gate": a, "bias": jnp.full(4, 0.0), "content": a}
    assert weak["bias"].weak_type
    online = etr.etrace_grad(step, rule)
    strong = {**weak, "bias": jnp.zeros(4)}
    grads, _, _ = online(strong, h, online.init(weak, h, x), x)
    expected, _, _ = online(strong, h, online.init(strong, h, x), x)
    assert all(bool((a == b).all()) for a, b in zip(jax.tree.leaves(grads), jax.tree.leaves(expected), strict=True))

"""One clear error for each misuse: what was found, where, what to do."""

from typing import Any

import equinox as eqx
import jax
import jax.extend
import jax.numpy as jnp
import pytest

import eqx_etrace as etr
from eqx_etrace._spend import check_trace

N, F, T = 3, 2, 4


def model(n=N):
    return {"W": jnp.full((n, F), 0.1), "w": jnp.full(n, 0.5)}


def cell(m, h, x):
    return jnp.tanh(m["w"] * h + m["W"] @ x)


def loss_step(m, h, x):
    h = cell(m, h, x)
    return jnp.sum(h), h


X = jnp.ones(F)


def structure(m, h, x):
    return jnp.sum(h), (cell(m, h, x),)


def shape(m, s, x):
    return jnp.sum(s["h"]), {"h": cell(m, s["h"], x)[:, None]}


def lanes(m, h, x):
    return jnp.sum(h), h + jnp.ones((2, 1)) * cell(m, h, x)


def dtype(m, s, x):
    return jnp.sum(s["h"]), {"h": cell(m, s["h"], x).astype(jnp.float32)}


def float_leaf(m, s, x):
    h = cell(m, s["h"], x)
    return jnp.sum(h), {"h": h, "t": s["t"] + h[0]}


def no_pair(m, h, x):
    return jnp.sum(cell(m, h, x))


def three(m, h, x):
    h = cell(m, h, x)
    return jnp.sum(h), h, h


H = {"h": jnp.zeros(N)}
COMPILE = {
    "state structure": (structure, model(), jnp.zeros(N), ValueError, ["structure", "structure", "test_errors.py"]),
    "state shape": (shape, model(), H, ValueError, ["('h',)", "shape", "(3,)", "(3, 1)", "test_errors.py"]),
    "state of one array": (
        lanes,
        model(),
        jnp.zeros(N),
        ValueError,
        ["The state changes its shape", "(2, 3)", "initial state"],
    ),
    "state dtype": (dtype, model(), H, TypeError, ["('h',)", "dtype", "float64", "float32", "cast"]),
    "python float in the state": (
        float_leaf,
        model(),
        {"h": jnp.zeros(N), "t": 0.5},
        TypeError,
        ["('t',)", "0.5", "jnp.asarray"],
    ),
    "no pair": (no_pair, model(), jnp.zeros(N), TypeError, ["pair", "no_pair"]),
    "three results": (three, model(), jnp.zeros(N), TypeError, ["pair", "tuple of 3"]),
    "no inexact model": (
        loss_step,
        {"W": jnp.ones((N, F), int)},
        jnp.zeros(N),
        ValueError,
        ["nothing to train", "('W',)"],
    ),
    "empty model": (loss_step, {}, jnp.zeros(N), ValueError, ["nothing to train"]),
    "no hidden state": (loss_step, model(), {}, ValueError, ["no hidden state", "loss_step", "jax.grad"]),
    "integer state": (loss_step, model(), jnp.zeros(N, int), ValueError, ["no hidden state", "int64"]),
    "only a python float": (loss_step, model(), 0.5, ValueError, ["no hidden state", "Python float", "array"]),
}


def loops(m, h, x):
    h = jax.lax.while_loop(lambda v: jnp.sum(v**2) > 1, lambda v: 0.5 * v, m["W"] @ x + h)
    return jnp.sum(h), h


def loops_inside(m, h, x):
    h = m["W"] @ x + h
    h, _ = jax.lax.scan(lambda h, _: (loops({"W": jnp.zeros((N, F))}, h, x)[1], None), h, None, 2)
    return jnp.sum(h), h


SAYS = ["`while_loop`", "test_errors.py", "BPTT", "lax.scan", "lax.stop_gradient"]
COMPILE["while loop"] = (loops, model(), jnp.zeros(N), ValueError, SAYS)
COMPILE["while loop in a scan"] = (loops_inside, model(), jnp.zeros(N), ValueError, [*SAYS, "inside the `scan`"])


def assert_says(info, words):
    message = str(info.value)
    assert all(word in message for word in words), message


@pytest.mark.parametrize("name", COMPILE)
def test_step(name):
    step, m, state, kind, words = COMPILE[name]
    with pytest.raises(kind) as info:
        etr.compile_graph(step, m, state, X)
    assert_says(info, words)
    with pytest.raises(kind):
        etr.etrace_vjp(step, etr.DRTRL()).init(m, state, X)


def with_loss(make):
    def step(m, h, x):
        h = cell(m, h, x)
        return make(h), h

    return step


LOSSES = {
    "vector": (lambda h: h, ["scalar", "(3,)", "etrace_vjp"]),
    "one element": (lambda h: h[:1], ["scalar", "(1,)"]),
    "integer": (lambda h: jnp.sum(h > 0), ["real", "int"]),
    "complex": (lambda h: jnp.sum(h).astype(complex), ["real", "complex"]),
    "pytree": (lambda h: {"a": jnp.sum(h), "b": jnp.sum(h)}, ["scalar", "2 leaves", "has_aux"]),
    "python float": (lambda h: 1.0, ["scalar array"]),
    "nothing": (lambda h: None, ["scalar array", "0 leaves"]),
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("transform", [etr.etrace_grad, etr.etrace_value_and_grad])
def test_loss(transform, name):
    make, words = LOSSES[name]
    with pytest.raises(TypeError) as info:
        transform(with_loss(make), etr.DRTRL()).init(model(), jnp.zeros(N), X)
    assert_says(info, words)


def test_aux_without_a_pair():
    with pytest.raises(TypeError) as info:
        etr.etrace_grad(loss_step, etr.DRTRL(), has_aux=True).init(model(), jnp.zeros(N), X)
    assert_says(info, ["has_aux", "aux), new_state)", "loss_step"])


def other_step(m, h, x):
    h = jnp.tanh(h + m["W"] @ x)
    return jnp.sum(h * m["w"]), h


class Doubled(etr.AbstractPositionRule):
    """Another rule, with traces of the same shape."""

    trace_dtype: None = None
    filters: bool = False
    follow = etr.DRTRL.follow
    init, advance, advance_window = etr.DRTRL.init, etr.DRTRL.advance, etr.DRTRL.advance_window
    contract, approximates, work = etr.DRTRL.contract, etr.DRTRL.approximates, etr.DRTRL.work
    follows_d = etr.DRTRL.follows_d


FOREIGN = {
    "another step": (
        lambda: etr.etrace_grad(other_step, etr.DRTRL()).init(model(), jnp.zeros(N), X),
        ["another graph"],
    ),
    "another rule": (lambda: etr.etrace_grad(loss_step, Doubled()).init(model(), jnp.zeros(N), X), ["rule", "Doubled"]),
    "another size": (
        lambda: etr.etrace_grad(loss_step, etr.DRTRL()).init(model(N + 1), jnp.zeros(N + 1), X),
        ["another graph", "float64[4", "float64[3"],
    ),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_trace(name):
    make, words = FOREIGN[name]
    online = etr.etrace_grad(loss_step, etr.DRTRL())
    for run in (
        lambda: online(model(), jnp.zeros(N), make(), X),
        lambda: online.scan(model(), jnp.zeros(N), make(), jnp.ones((T, F))),
        lambda: etr.etrace_vjp(loss_step, etr.DRTRL())(model(), jnp.zeros(N), make(), X),
    ):
        with pytest.raises(ValueError) as info:
            run()
        assert_says(info, [*words, ".init(model, state, *inputs)"])


@pytest.mark.parametrize("trace", [None, (), jnp.zeros((N, F))], ids=["None", "tuple", "array"])
def test_no_trace_at_all(trace):
    with pytest.raises(Exception, match="ETrace") as info:
        etr.etrace_grad(loss_step, etr.DRTRL())(model(), jnp.zeros(N), trace, X)
    assert isinstance(info.value, TypeError) or "TypeCheckError" in type(info.value).__name__


WINDOWS = {
    "negative": (-1, ValueError),
    "float": (1.0, TypeError),
    "bool": (True, TypeError),
    "string": ("3", TypeError),
}
MAKERS = {"grad": etr.etrace_grad, "value_and_grad": etr.etrace_value_and_grad, "vjp": etr.etrace_vjp}


@pytest.mark.parametrize("name", WINDOWS)
def test_window(name):
    window, kind = WINDOWS[name]
    with pytest.raises(Exception, match="window") as info:
        etr.etrace_grad(loss_step, etr.DRTRL()).scan(
            model(),
            jnp.zeros(N),
            etr.etrace_grad(loss_step, etr.DRTRL()).init(model(), jnp.zeros(N), X),
            jnp.ones((T, F)),
            window=window,
        )
    assert isinstance(info.value, kind) or "TypeCheckError" in type(info.value).__name__
    for make in MAKERS.values():
        with pytest.raises(Exception, match="window") as info:
            make(loss_step, etr.DRTRL(), window=window)
        assert isinstance(info.value, kind) or "TypeCheckError" in type(info.value).__name__


SERIES = {
    "different lengths": (
        (jnp.ones((T, F)), jnp.ones(T + 1)),
        ["differ", "inputs[0] has shape [4, 2]", "inputs[1] has shape [5]"],
    ),
    "a scalar": ((jnp.ones((T, F)), jnp.ones(())), ["leading time axis", "scalar"]),
    "no step": ((jnp.ones((0, F)), jnp.ones(0)), ["length 0"]),
    "no arrays": ((None, None), ["leading time axis", "no array"]),
}


@pytest.mark.parametrize("name", SERIES)
def test_scan_inputs(name):
    def step(m, h, x, y):
        h = cell(m, h, x)
        return jnp.sum(h * y), h

    inputs, words = SERIES[name]
    online = etr.etrace_grad(step, etr.DRTRL())
    trace = online.init(model(), jnp.zeros(N), X, jnp.ones(()))
    with pytest.raises(ValueError) as info:
        online.scan(model(), jnp.zeros(N), trace, *inputs)
    assert_says(info, words)


def test_cotangents():
    vjp = etr.etrace_vjp(loss_step, etr.DRTRL())
    trace = vjp.init(model(), H["h"], X)
    _, _, _, pullback = vjp(model(), H["h"], trace, X)
    one = jnp.ones(())
    for arguments, words in (
        (((one, one),), ["output cotangent", "structure"]),
        ((jnp.ones(2),), ["output cotangent", "(2,)", "()"]),
        ((one, jnp.ones(N + 1)), ["state cotangent", "(4,)", "(3,)"]),
    ):
        with pytest.raises(ValueError) as info:
            pullback(*arguments)
        assert_says(info, words)


def test_a_complex_cotangent_of_what_is_real():
    vjp = etr.etrace_vjp(loss_step, etr.DRTRL())
    _, _, _, pullback = vjp(model(), H["h"], vjp.init(model(), H["h"], X), X)
    for arguments, what in (((jnp.ones((), complex),), "output"), ((None, jnp.ones(N, complex)), "state")):
        with pytest.raises(TypeError, match=f"{what} cotangent.*complex.*real"):
            pullback(*arguments)


@pytest.mark.parametrize("wrong", ["out", "state"])
def test_structure_of_a_cotangent_of_a_bare_array(wrong):
    vjp = etr.etrace_vjp(loss_step, etr.DRTRL())
    _, _, _, pullback = vjp(model(), H["h"], vjp.init(model(), H["h"], X), X)
    with pytest.raises(ValueError, match="cotangent"):
        pullback(*(({"l": jnp.ones(())},) if wrong == "out" else (jnp.ones(()), {"h": jnp.ones(N)})))


def test_structure_of_the_state_cotangent():
    def step(m, s, x):
        h = cell(m, s["h"], x)
        return jnp.sum(h), {"h": h}

    vjp = etr.etrace_vjp(step, etr.DRTRL())
    _, _, _, pullback = vjp(model(), H, vjp.init(model(), H, X), X)
    with pytest.raises(ValueError) as info:
        pullback(jnp.ones(()), [jnp.ones(N)])
    assert_says(info, ["state cotangent", "structure"])


def test_rule_function():
    def misnamed(relation) -> Any:
        return "DRTRL"

    with pytest.raises(TypeError) as info:
        etr.etrace_grad(loss_step, misnamed).init(model(), jnp.zeros(N), X)
    assert_says(info, ["'DRTRL'", "('w',)", "must return a rule"])


def test_the_class_is_no_rule():
    the_class: Any = etr.DRTRL
    for transform in (etr.etrace_grad, etr.etrace_value_and_grad, etr.etrace_vjp):
        with pytest.raises(TypeError) as info:
            transform(loss_step, the_class)
        assert_says(info, ["`rule`", "Make one", "DRTRL("])


def test_a_trace_of_the_same_rule_with_another_decay():
    trace = etr.etrace_grad(loss_step, etr.PPProp(0.9)).init(model(), jnp.zeros(N), X)
    with pytest.raises(ValueError) as info:
        etr.etrace_grad(loss_step, etr.PPProp(0.5))(model(), jnp.zeros(N), trace, X)
    assert_says(info, ["0.9", "0.5"])


def test_scan_does_not_slice_what_the_step_takes_whole():
    def frozen(m, h, keep, x):
        h = keep * h + m["w"] * jnp.sum(x)
        return jnp.sum(h**2), h

    online = etr.etrace_grad(frozen, etr.DRTRL())
    m, h, keep = {"w": jnp.ones(N)}, jnp.zeros(N), jnp.full((N,), 0.9)
    with pytest.raises(ValueError) as info:
        online.scan(m, h, online.init(m, h, keep, X), keep, jnp.stack([X] * N))
    assert_says(info, [f"input 0 [{N}]", "input 0 []", ".init(", "close over what stays the same"])


def test_without_a_trace():
    with pytest.raises(TypeError) as info:
        check_trace(X)
    assert_says(info, ["ETrace", "(model, state, trace, *inputs)"])


def test_errors_inside_the_step_name_the_step():
    with pytest.raises(Exception) as info:
        etr.compile_graph(loss_step, model(), jnp.zeros(N + 1), X)
    said = "\n".join(info.value.__notes__)
    assert "loss_step" in said and "[4]" in said
    assert "jax.vmap" not in said  # nothing is known to help


def test_parameters_of_one_weight_share_one_rule():
    def low_rank(m, h, x):
        h = 0.5 * h + (m["U"] @ m["V"]) @ x
        return jnp.sum(h), h

    parts = {"U": jnp.ones((N, 1)), "V": jnp.ones((1, F))}
    with pytest.raises(ValueError) as info:
        etr.etrace_grad(low_rank, lambda r: etr.DRTRL() if r.path == ("U",) else Doubled()).init(parts, jnp.zeros(N), X)
    assert_says(info, ["('V',)", "shares its effective weight"])


def test_errors_are_the_same_under_jit():
    online = etr.etrace_grad(with_loss(lambda h: h), etr.DRTRL())
    with pytest.raises(TypeError, match="scalar"):
        jax.jit(lambda m: eqx.filter(online.init(m, jnp.zeros(N), X), eqx.is_array))(model())


def test_what_jax_cannot_differentiate_is_named_with_its_line():
    opaque = jax.extend.core.Primitive("opaque")
    opaque.def_impl(lambda x: x)
    opaque.def_abstract_eval(lambda x: x)

    def step(m, h, x):
        h = opaque.bind(cell(m, h, x))
        return jnp.sum(h), h

    online = etr.etrace_grad(step, etr.DRTRL())
    with pytest.raises(NotImplementedError) as info:
        online(model(), jnp.zeros(N), online.init(model(), jnp.zeros(N), X), X)
    assert_says(info, ["`opaque`", "test_errors.py", "jax.lax.stop_gradient", "jax.custom_jvp"])

"""Numbers that a transform made arrays of, and axes too many: what is said about them, and when nothing is."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax
import pytest

import eqx_etrace as etr

N, F, T, B = 3, 2, 4, 5
SCAN, BATCH = "Did you mean `.scan`", "map over it with `jax.vmap`"


class Cell(eqx.Module):
    weight: jax.Array
    decay: float

    def __call__(self, x, h):
        return jnp.tanh(self.decay * h + self.weight @ x)


class Array(eqx.Module):
    """The same, with a decay that may be trained."""

    weight: jax.Array
    decay: jax.Array | float

    def __call__(self, x, h):
        return jnp.tanh(self.decay * h + self.weight @ x)


class Quoted(eqx.Module):
    weight: jax.Array
    decay: "int | float | None"

    def __call__(self, x, h):
        return jnp.tanh(self.decay * h + self.weight @ x)


class Named(NamedTuple):
    weight: jax.Array
    decay: float

    def __call__(self, x, h):
        return jnp.tanh(self.decay * h + self.weight @ x)


class Nested(eqx.Module):
    cells: list[Any]
    dropout: eqx.nn.Dropout

    def __call__(self, x, h):
        return self.dropout(self.cells[0](x, h), inference=True)


def loss_step(model, h, x):
    h = model(x, h)
    return jnp.sum(h**2), h


W, H, X = jnp.full((N, F), 0.3), jnp.full(N, 0.1), jnp.ones(F)


def gradient(model):
    online = etr.etrace_grad(loss_step, etr.DRTRL())
    return online(model, H, online.init(model, H, X), X)[0]


def loop(model):
    """The model in the carry of a scan."""

    def tick(model, _):
        grads = gradient(model)
        return eqx.apply_updates(model, jax.tree.map(lambda g: -0.1 * g, grads)), None

    return jax.lax.scan(tick, model, None, 2)[0]


DECLARED = {
    "float": (Cell(W, 0.9), "('decay',)"),
    "a string": (Quoted(W, 0.9), "('decay',)"),
    "named tuple": (Named(W, 0.9), "('decay',)"),
    "nested": (Nested([Cell(W, 0.9)], eqx.nn.Dropout(0.5)), "('cells', 0, 'decay')"),
    "dropout": (Nested([Array(W, jnp.asarray(0.9))], eqx.nn.Dropout(0.5)), "('dropout', 'p')"),
}


@pytest.mark.sweep(2)
@pytest.mark.parametrize("name", DECLARED)
@pytest.mark.parametrize(
    "run", [jax.jit(gradient), loop, eqx.filter_jit(loop)], ids=["jit", "scan", "filter_jit(scan)"]
)
def test_a_number_that_became_an_array(name, run):
    model, path = DECLARED[name]
    with pytest.raises(TypeError) as info:
        run(model)
    for words in (
        path,
        "Python number",
        "jax.jit",
        "carry",
        "static=True",
        "filter_jit",
        "partition",
        "jnp.array(value",
    ):
        assert words in str(info.value)
    assert SCAN not in "".join(getattr(info.value, "__notes__", []))


@pytest.mark.sweep(2)
@pytest.mark.parametrize("name", DECLARED)
def test_what_the_error_advises(name):
    """`filter_jit`; arrays alone in the carry; an array with a dtype: the gradients of the weights agree."""
    model, _ = DECLARED[name]
    wanted = jax.tree.leaves(gradient(model))[0]
    arrays, rest = eqx.partition(model, eqx.is_array)
    carried = jax.lax.scan(lambda a, _: (a, gradient(eqx.combine(a, rest))), arrays, None, 1)[1]
    typed = jax.tree.map(lambda leaf: jnp.array(leaf, float), model)
    for found in (eqx.filter_jit(gradient)(model), jax.tree.map(lambda g: g[0], carried), jax.jit(gradient)(typed)):
        assert jnp.allclose(jax.tree.leaves(found)[0], wanted, rtol=1e-9)


LEGITIMATE = {
    "not declared a number, weak": Array(W, jnp.asarray(0.9)),
    "not declared a number, strong": Array(W, jnp.asarray(0.9, jnp.float64)),
    "declared a number, strong": Cell(W, jnp.asarray(0.9, jnp.float64)),  # pyright: ignore[reportArgumentType]
    "declared a number, by unit": Cell(W, jnp.full(N, 0.9)),  # pyright: ignore[reportArgumentType]
}


@pytest.mark.sweep(2)
@pytest.mark.parametrize("name", LEGITIMATE)
def test_arrays_are_trained_under_every_transform(name):
    model = LEGITIMATE[name]
    wanted = gradient(model).decay
    assert bool(jnp.any(wanted != 0))
    for run in (jax.jit(gradient), eqx.filter_jit(gradient)):
        assert jnp.allclose(run(model).decay, wanted, rtol=1e-9)
    over_models = jax.vmap(gradient)(jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), model))
    assert jnp.allclose(over_models.decay[0], wanted, rtol=1e-9)
    assert jnp.all(jnp.isfinite(jax.grad(lambda m: jnp.sum(gradient(m).weight))(model).decay))
    optimiser = optax.sgd(0.1)
    moments = optimiser.init(model)

    @jax.jit
    def learn(model, moments):
        updates, moments = optimiser.update(gradient(model), moments)
        return eqx.apply_updates(model, updates), moments

    for _ in range(2):
        model, moments = learn(model, moments)
    assert bool(jnp.all(model.decay != LEGITIMATE[name].decay))


def test_numbers_stay_numbers_where_nothing_makes_arrays_of_them():
    for model, _ in DECLARED.values():
        eager, compiled = gradient(model), eqx.filter_jit(gradient)(model)
        assert jnp.allclose(jax.tree.leaves(eager)[0], jax.tree.leaves(compiled)[0], rtol=1e-9)
    assert gradient(Cell(W, 0.9)).decay is None


def notes(step, model, state, *inputs):
    online = etr.etrace_grad(step, etr.DRTRL())
    with pytest.raises(Exception) as info:
        online.init(model, state, *inputs)
    return "\n".join([str(info.value), *getattr(info.value, "__notes__", [])])


def elementwise(model, h, x):
    h = jnp.tanh(0.5 * h + model.weight[:, 0] * x)
    return jnp.sum(h), h


def test_a_sequence_is_answered_with_scan():
    model = Cell(W, 0.9)
    fails = notes(loss_step, model, H, jnp.ones((T, F)))
    assert SCAN in fails and f"length {T}" in fails and "dot_general" in fails
    grows = notes(elementwise, model, H, jnp.ones((T, N)))
    assert SCAN in grows and "changes its shape" in grows
    two = notes(lambda m, h, x, y: loss_step(m, h, x), model, H, jnp.ones((T, F)), jnp.ones(T))
    assert SCAN in two
    online = etr.etrace_grad(loss_step, etr.DRTRL())
    online.scan(model, H, online.init(model, H, X), jnp.ones((T, F)))


def test_a_sequence_of_keys_is_one_too():
    def noisy(model, h, key):
        return loss_step(model, h, jr.normal(key, (F,)))

    assert SCAN in notes(noisy, Cell(W, 0.9), H, jr.split(jr.key(0), T))


def test_a_batch_is_answered_with_vmap():
    model, states, inputs = Cell(W, 0.9), jnp.ones((B, N)), jnp.ones((B, F))
    said = notes(loss_step, model, states, inputs)
    assert BATCH in said and SCAN not in said and f"length {B}" in said
    online = etr.etrace_grad(loss_step, etr.DRTRL())
    traces = jax.vmap(online.init, (None, 0, 0))(model, states, inputs)
    jax.vmap(online, (None, 0, 0, 0))(model, states, traces, inputs)


@pytest.mark.sweep(2)
@pytest.mark.parametrize(
    ("state", "inputs"),
    [
        (jnp.zeros(N + 1), (X,)),  # no axis to leave out helps
        (H, (jnp.ones((T, F + 1)),)),
        (H, (jnp.ones((T, B, F)),)),
        (H, (jnp.ones((T, F)), jnp.ones(T + 1))),
        (H, (jnp.ones((T, F)), jnp.ones(()))),
        (H, (None,)),
    ],
    ids=["state", "features", "two axes", "inputs differ", "a scalar", "no array"],
)
def test_no_advice_that_would_not_help(state, inputs):
    said = notes(lambda m, h, x, *_: loss_step(m, h, x), Cell(W, 0.9), state, *inputs)
    assert SCAN not in said and BATCH not in said and "vmap" not in said


def test_an_error_that_only_speaks_of_shapes():
    def refuses(model, h, x):
        raise ValueError("the shape of my data is wrong")

    said = notes(refuses, Cell(W, 0.9), H, X)
    assert "vmap" not in said and SCAN not in said and "refuses" in said


def test_advice_costs_nothing_where_a_step_runs():
    runs = []

    def counted(model, h, x):
        runs.append(x)
        return loss_step(model, h, x)

    etr.compile_graph(counted, Cell(W, 0.9), H, X)
    assert len(runs) == 1

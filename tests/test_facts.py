"""What the table of primitives says, against the JAX that is installed.

A row without a sample (`sweep/_samples.py`) fails: who adds a row adds a way to call it.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sweep import Call, calls_of, complex_calls_of, has_sample

from eqx_etrace._read.primitives import _table, Flow, is_accounted_for, TABLE, Traits

MOVEMENTS = {Flow.REARRANGED, Flow.PARTED, Flow.JOINED, Flow.INDEXED}
STATED = {
    "no derivative": lambda traits: traits.flow is Flow.STOPPED,
    "no derivative if real": lambda traits: traits.is_flat_if_real,
    "elementwise": lambda traits: traits.flow is Flow.ALIGNED,
    "pairwise": lambda traits: traits.flow is Flow.PAIRED,
    "reduction": lambda traits: traits.flow is Flow.REDUCED,
    "movement": lambda traits: traits.flow in MOVEMENTS,
    "on numbers": lambda traits: traits.move,
    "identity": lambda traits: traits.copies and not traits.stops_gradient,
    "half": lambda traits: traits.half,
    "linear": lambda traits: None if traits.stops_gradient else traits.linear,
    "linear in one": lambda traits: traits.is_multilinear,
    "by value": lambda traits: traits.stops_gradient,
    "holomorphic": lambda traits: traits.is_holomorphic,
    "keeps zero": lambda traits: traits.keeps_zero,
    "zero by one": lambda traits: traits.is_product,
    "along an axis": lambda traits: traits.axis,
}
"""What a row states of its primitive, by fact; false or None if it does not state it."""


ALSO_COMPLEX = ("holomorphic", "no derivative", "elementwise", "keeps zero")
"""Facts that must hold of complex numbers, too."""


def facts():
    """One test for each fact of each row."""
    for fact, stated in STATED.items():
        for primitive, traits in sorted(TABLE.items(), key=lambda row: row[0].name):
            what = stated(traits)
            if what not in (None, False, ""):
                yield pytest.param(fact, primitive, what, id=f"{fact}-{primitive.name}")


@pytest.mark.parametrize(("fact", "primitive", "what"), list(facts()))
def test_fact(fact, primitive, what):
    assert has_sample(primitive), f"`{primitive}` has a row and no sample"
    calls = [] if fact == "holomorphic" else calls_of(primitive)
    calls += complex_calls_of(primitive) if fact in ALSO_COMPLEX else []
    assert calls, f"no sample of `{primitive}` can be asked for: {fact}"
    for call in calls:
        assert is_accounted_for(call.equation.primitive, call.params), f"{list(call.params)} are not all accounted for"
        FACTS[fact](call, what)


def no_derivative(call: Call, _):
    for i, j in call.inexact_pairs():
        depends = call.depends(i, j)
        assert depends is not None, "JAX refuses to differentiate it: so must the step"
        assert not depends.any(), "has a derivative"


def elementwise(call: Call, _):
    for i, j in call.inexact_pairs():
        depends = call.depends(i, j) if np.shape(call.operands[i]) == call.outputs[j].shape else None
        if depends is not None:  # where JAX refuses, BPTT does
            assert not (depends & ~np.eye(call.outputs[j].size, dtype=bool)).any()


def pairwise(call: Call, _):
    for i, j in call.inexact_pairs():
        np.testing.assert_array_equal(call.jacobian(i, j), np.eye(np.size(call.operands[i])) * (i == j))


def reduction(call: Call, _):
    for i, j in call.inexact_pairs():
        shape, axes = np.shape(call.operands[i]), call.params["axes"]
        kept = np.arange(call.outputs[j].size).reshape([1 if d in axes else n for d, n in enumerate(shape)])
        target = np.broadcast_to(kept, shape).ravel()
        assert_only(call.jacobian(i, j), np.arange(call.outputs[j].size)[:, None] == target)


def movement(call: Call, _):
    """Each element of an output is a copy of one element of one operand, or a constant."""
    for j in range(len(call.outputs)):
        rows = np.concatenate([call.jacobian(i, out) for i, out in call.inexact_pairs() if out == j], axis=1)
        assert ((rows == 0) | (rows == 1)).all() and (rows.sum(1) <= 1).all()


def on_numbers(call: Call, rule):
    numbered = [jnp.arange(np.size(operand)).reshape(np.shape(operand)) for operand in call.operands]
    moved, outputs = rule(*map(np.asarray, numbered), **call.params), call(*numbered)
    np.testing.assert_equal(moved if isinstance(moved, list) else [moved], list(map(np.asarray, outputs)))


def identity(call: Call, _):
    for i, j in call.inexact_pairs():
        np.testing.assert_array_equal(call.jacobian(i, j), np.eye(call.outputs[j].size))


def half(call: Call, name):
    np.testing.assert_array_equal(call(*call.operands)[0], getattr(np, name)(call.operands[0]))


def linear(call: Call, which):
    together = [i for i in range(len(call.operands))[which] if call.is_inexact(i)]
    assert together
    is_linear_in(call, together)


def linear_in_one(call: Call, _):
    for i in range(len(call.operands)):
        if call.is_inexact(i):
            is_linear_in(call, [i])


def is_linear_in(call: Call, together):
    """f(2 x - 3 y) = 2 f(x) - 3 f(y), and the derivative of f along t is f(t)."""
    f, x = call.of(together)
    y = [jnp.flip(operand) * 0.5 for operand in x]
    left = f(*[2 * a - 3 * b for a, b in zip(x, y, strict=True)])
    for out, a, b in zip(left, f(*x), f(*y), strict=True):
        np.testing.assert_allclose(out, 2 * a - 3 * b, rtol=1e-12, atol=1e-12)
    tangents = jax.jit(lambda x, y: jax.jvp(f, x, y)[1])(tuple(x), tuple(y))
    for out, tangent in zip(f(*y), tangents, strict=True):
        np.testing.assert_allclose(tangent, out, rtol=1e-12, atol=1e-12)


def by_value(call: Call, _):
    np.testing.assert_array_equal(call(*call.operands)[0], call.operands[0])


def holomorphic(call: Call, _):
    """The derivative along i t is i times that along t."""
    which = [i for i in range(len(call.operands)) if call.is_inexact(i)]
    f, x = call.of(which)
    t = [jnp.conj(operand) * (0.3 + 0.4j) for operand in x]
    push = jax.jit(lambda x, t: jax.jvp(f, x, t)[1])
    along, across = push(tuple(x), tuple(t)), push(tuple(x), tuple(1j * a for a in t))
    for a, b in zip(along, across, strict=True):
        assert jnp.iscomplexobj(a)
        np.testing.assert_allclose(b, 1j * np.asarray(a), rtol=1e-12, atol=1e-12)


def keeps_zero(call: Call, _):
    (operand,) = call.operands
    assert not call(jnp.zeros_like(operand))[0].any()


def zero_by_one(call: Call, _):
    for i in range(len(call.operands)):
        f, x = call.of([i])
        assert not f(*[jnp.zeros_like(operand) for operand in x])[0].any()


def along(call: Call, param):
    for i, j in call.inexact_pairs():
        shape, axis = np.shape(call.operands[i]), call.params[param]
        lines = np.moveaxis(np.arange(math.prod(shape)).reshape(shape), axis, -1)
        line = np.empty(math.prod(shape), int)
        line[lines.reshape(-1, shape[axis])] = np.arange(len(lines.reshape(-1, shape[axis])))[:, None]
        if i == j:
            assert_only(call.jacobian(i, j), line[:, None] == line)


def assert_only(jacobian, where):
    """It is not zero, and nothing but zero elsewhere."""
    assert jacobian.any() and not jacobian[~where].any()


FACTS = {
    "no derivative": no_derivative,
    "no derivative if real": no_derivative,
    "elementwise": elementwise,
    "pairwise": pairwise,
    "reduction": reduction,
    "movement": movement,
    "on numbers": on_numbers,
    "identity": identity,
    "half": half,
    "linear": linear,
    "linear in one": linear_in_one,
    "by value": by_value,
    "holomorphic": holomorphic,
    "keeps zero": keeps_zero,
    "zero by one": zero_by_one,
    "along an axis": along,
}


def test_a_primitive_stands_in_one_row():
    with pytest.raises(ValueError, match="`tanh` stands in two rows"):
        _table._by_primitive({"tanh exp": Traits(Flow.ALIGNED), "tanh": Traits(Flow.STOPPED)})

"""What the tables of primitives say, against the JAX that is installed.

An entry without a sample (`sweep/_samples.py`) fails: who adds an entry adds a way to call it.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sweep import Call, calls_of, complex_calls_of, has_sample

from eqx_etrace._read.by_position import _holomorphic
from eqx_etrace._read.on_blocks import _operation_pattern, _zero_elements
from eqx_etrace._read.primitives._parameters import is_accounted_for
from eqx_etrace._read.program import _backward_rule, _linear, _links


def tables():
    """Every table, by the fact that it states; where a fact is about some operands, with these as a slice."""
    moves = {*_links.SHAPED, *_links.INDEXED, *_links.JOINED, *_links.UNSTACK, _links.SPLIT}
    return {
        "no derivative": dict.fromkeys(_links.WITHOUT_DERIVATIVE),
        "no derivative if real": dict.fromkeys(_links.WITHOUT_DERIVATIVE_IF_REAL),
        "elementwise": dict.fromkeys(_links.ELEMENTWISE),
        "pairwise": dict.fromkeys(_links.PAIRWISE),
        "reduction": dict.fromkeys(_links.REDUCTIONS),
        "movement": dict.fromkeys({*moves, _links.CONCATENATE, _links.TRANSPOSE}),
        "on numbers": _links.SHAPED,
        "identity": dict.fromkeys(_links.COPIES | _links.ROUNDS),
        "half": dict(zip(_links.HALVES, (np.real, np.imag), strict=True)),
        "linear": {p: s for p, s in _linear.LINEAR_IN.items() if p not in _backward_rule._BY_VALUE},
        "linear in one": dict.fromkeys(_linear.LINEAR_IN_ONE),
        "by value": dict.fromkeys(_backward_rule._BY_VALUE),
        "holomorphic": dict.fromkeys(_holomorphic._HOLOMORPHIC),
        "keeps zero": dict.fromkeys(_zero_elements._KEEPS_ZERO),
        "zero by one": dict.fromkeys(_zero_elements.MULTIPLY),
        "along an axis": dict.fromkeys(_operation_pattern._ALONG_AN_AXIS, "axis"),
        "along a dimension": dict.fromkeys(_operation_pattern._SORT, "dimension"),
    }


ALSO_COMPLEX = ("holomorphic", "no derivative", "elementwise", "keeps zero")
"""Facts that must hold of complex numbers, too."""


def entries():
    """One test for each entry of each table."""
    for fact, table in tables().items():
        for primitive, what in sorted(table.items(), key=lambda entry: entry[0].name):
            yield pytest.param(fact, primitive, what, id=f"{fact}-{primitive.name}")


@pytest.mark.parametrize(("fact", "primitive", "what"), list(entries()))
def test_fact(fact, primitive, what):
    assert has_sample(primitive), f"`{primitive}` is in a table and has no sample"
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
    (operand,) = call.operands
    numbered = jnp.arange(np.size(operand)).reshape(np.shape(operand))
    np.testing.assert_array_equal(rule(np.asarray(numbered), **call.params), call(numbered)[0])


def identity(call: Call, _):
    for i, j in call.inexact_pairs():
        np.testing.assert_array_equal(call.jacobian(i, j), np.eye(call.outputs[j].size))


def half(call: Call, of):
    np.testing.assert_array_equal(call(*call.operands)[0], of(call.operands[0]))


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
    along, across = (push(tuple(x), tuple(c * a for a in t)) for c in (1, 1j))
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
    "along a dimension": along,
}

"""What the library relies on in JAX. When an upgrade breaks something, it should fail here first."""

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.extend.core import primitives

import eqx_etrace as etr
import eqx_etrace._jax as compat
from eqx_etrace import _source

EVERYWHERE = """
    jit remat closed_call custom_jvp_call custom_vjp_call dot_general conv_general_dilated split gather scatter
    dynamic_slice dynamic_update_slice concatenate pad reshape squeeze transpose rev slice broadcast_in_dim
    reduce_sum reduce_max reduce_min reduce_prod select_n mul add sub div tanh logistic exp log pow integer_pow
    convert_element_type copy neg stop_gradient floor sign argmax scan while cond cumsum sort
    optimization_barrier reduce_precision erf erf_inv clamp max min real imag complex conj
"""
ABSENT_SOMEWHERE = ["stop_gradient"]
"""A function on some versions, not a primitive; the next test says what it leaves in a jaxpr."""


@pytest.mark.parametrize("name", [n for n in EVERYWHERE.split() if n not in ABSENT_SOMEWHERE])
def test_primitive_is_found(name):
    (found,) = compat.primitives(name)
    assert isinstance(found, jex.Primitive)


def test_unknown_names_are_left_out():
    assert compat.primitives("tanh no_such_primitive sin") == compat.primitives("tanh sin")
    assert all(isinstance(p, jex.Primitive) for p in vars(primitives).values() if hasattr(p, "get_bind_params"))


def equations(function, *arguments):
    jaxpr, _ = compat.opened(jax.make_jaxpr(function)(*arguments))
    return jaxpr.eqns


X = np.arange(3.0)


def test_jit_and_remat_hold_a_body():
    for wrap in (jax.jit, jax.checkpoint):
        (eqn,) = equations(wrap(lambda x: jnp.sin(x) * 2), X)
        assert eqn.primitive in compat.INLINED
        body, consts = compat.body(eqn.params)
        assert len(body.invars) == len(eqn.invars) and len(body.constvars) == len(consts)
        assert [e.primitive.name for e in body.eqns] == ["sin", "mul"]


def test_arrays_closed_over_in_an_inner_jit_are_reachable():
    held = jnp.arange(3.0) + 0.5
    jaxpr, consts = compat.opened(jax.make_jaxpr(jax.jit(lambda x: x * held))(X))
    (eqn,) = jaxpr.eqns
    body, inner = compat.body(eqn.params)
    operands = [a for a in eqn.invars if not isinstance(a, compat.Literal)]
    assert len(consts) + len(inner) == 1
    np.testing.assert_array_equal([*consts, *inner][0], held)
    assert len(body.constvars) == len(inner) and len(operands) == 1 + len(consts)


def test_literals_have_values_and_avals():
    (eqn,) = equations(lambda x: 2.0 * x, X)
    (literal,) = [a for a in eqn.invars if isinstance(a, compat.Literal)]
    assert literal.val == 2.0 and jnp.shape(literal.val) == ()


def test_broadcasting_of_scalars_may_be_implicit():
    """`scalar * vector` may have operands of two shapes: the library writes the broadcast out."""
    eqns = equations(lambda a, x: a * x, np.float64(2.0), X)
    assert eqns[-1].primitive in compat.primitives("mul")
    assert all(v.aval.shape in ((), (3,)) for v in eqns[-1].invars)


def test_equations_bind_again_with_their_context():
    for function in (jnp.sin, jax.nn.relu, jax.nn.softplus, lambda x: x @ x, jax.jit(jnp.cos)):
        eqns = equations(function, X)
        if len(eqns) == 1:
            with eqns[0].ctx.manager:
                pass
            operands = [X if not isinstance(a, compat.Literal) else a.val for a in eqns[0].invars]
            np.testing.assert_allclose(compat.bind(eqns[0], operands)[0], function(X))


def test_custom_rules_stay_whole_and_survive_binding():
    @jax.custom_vjp
    def f(x):
        return x

    f.defvjp(lambda x: (x, None), lambda _, ct: (7 * ct,))

    @jax.custom_jvp
    def g(x):
        return x

    g.defjvp(lambda primals, tangents: (g(*primals), 7 * tangents[0]))
    for function in (f, g):
        (eqn,) = equations(function, X)
        assert eqn.primitive in compat.CUSTOM_RULES
        pulled = jax.vjp(lambda x, eqn=eqn: compat.bind(eqn, [x])[0], jnp.asarray(X))[1](jnp.ones(3))
        np.testing.assert_array_equal(pulled[0], 7 * np.ones(3))


def test_stop_gradient_leaves_no_derivative():
    """Whatever it is made of, no inexact operand of it may carry a derivative."""
    eqns = equations(lambda x: jax.lax.stop_gradient(x) * 1.0, X)
    assert eqns[0].primitive.name == "stop_gradient"
    assert compat.primitives("stop_gradient") in ([], [eqns[0].primitive])


def test_stop_gradient_is_known_as_an_object():
    from eqx_etrace._read.primitives import TABLE

    assert TABLE[equations(jax.lax.stop_gradient, X)[0].primitive].stops_gradient


def test_source_lines():
    def inner(x):
        return jnp.sin(x)

    (eqn,) = equations(inner, X)
    frames = eqn.source_info.traceback.frames
    assert any(f.file_name == __file__ and f.function_name.endswith("inner") for f in frames)
    assert all(isinstance(f.line_num, int) for f in frames)
    line = inner.__code__.co_firstlineno + 1
    assert _source.source_line(eqn).startswith(f"test_jax_contract.py:{line} (")


@pytest.mark.parametrize("jit", [lambda f: f, jax.jit], ids=["called", "compiled"])
def test_what_an_installed_package_does_has_its_line_and_that_of_its_call(jit):
    """Of what it compiles JAX keeps the line of the first call: there the call is all that is told."""

    def step(m, h, x):
        h = jit(optax.squared_error)(0.9 * h + x @ m)
        return h.sum(), h

    graph = etr.compile_graph(step, X[:, None] * X, X, X)
    sources = {eqn.source for eqn in graph._analysis.step.program.equations}
    lines = {f"test_jax_contract.py:{step.__code__.co_firstlineno + i} ({step.__qualname__})" for i in (1, 2)}
    assert {source.rpartition("called at ")[2] for source in sources} == lines
    called = [source for source in sources if ", called at " in source]
    assert any("squared_error" in source for source in called) is (jit is not jax.jit)


def test_make_jaxpr_returns_shapes_and_takes_structs():
    _, shape = jax.make_jaxpr(lambda x: {"a": x[:1]}, return_shape=True)(jax.ShapeDtypeStruct((3,), np.float64))
    assert shape["a"].shape == (1,) and shape["a"].dtype == np.float64


def test_data_movements_run_on_numbers_under_a_trace():
    @jax.jit
    def f(x):
        with jax.ensure_compile_time_eval():
            found = np.asarray(jax.lax.rev_p.bind(jnp.arange(3), dimensions=(0,)))
        return x[found]

    np.testing.assert_array_equal(f(X), X[::-1])


@pytest.mark.parametrize("function", [jnp.sort, jnp.cumsum, lambda x: jnp.roll(x, 1)], ids=["sort", "cumsum", "roll"])
def test_equations_of_an_inner_jit_are_told_apart_by_the_caller(function):
    """JAX caches the body of an inner `jit`: its equations need not know the user's line, the call does."""
    eqns = equations(lambda x: function(x), X)
    assert all("test_jax_contract.py" in _source.source_line(eqn) for eqn in eqns)


def test_the_sizes_of_a_scan():
    """Constants, then carried values, leaf by leaf, whatever their structure."""

    def run(a, b, carry, xs):
        def body(carry, x):
            (p, q), r = carry
            return ((p + a * x, q * b), r + p + q), x * a

        return jax.lax.scan(body, carry, xs)

    jaxpr = jax.make_jaxpr(run)(2.0, 3.0, ((1.0, 1.0), 1.0), jnp.ones(3)).jaxpr
    (scan,) = (eqn for eqn in jaxpr.eqns if eqn.primitive in compat.primitives("scan"))
    assert compat.scan_sizes(scan.params) == (2, 3)
    assert len(compat.inner_jaxprs(scan)) == 1

"""Backward rules that are linear in the cotangent are followed by `RTRL`, others are reported: each beside BPTT."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases.rules import ruled
from jax import lax
from jax.custom_derivatives import linear_call, SymbolicZero
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from oracle import assert_close, bptt, relative

import eqx_etrace as etr

N, T = 4, 4
LOWER = jnp.eye(N) + jnp.tril(0.1 + 0.05 * jnp.arange(N * N, dtype=float).reshape(N, N))
FULL = LOWER + 0.3 * LOWER.T
PLACES = jnp.array([1, 0, 1, 3])

LINEAR = {
    "running_sum": lambda h, ct: jnp.cumsum(ct),
    "sums_over_a_window": lambda h, ct: lax.reduce_window(ct, 0.0, lax.add, (2,), (1,), "SAME"),
    "fourier_transform": lambda h, ct: jnp.fft.fft(ct).real / 2,
    "read_with_zeros_beyond": lambda h, ct: ct.at[jnp.array([3, 9, 1, 1])].get(mode="fill", fill_value=0.0),
    "scattered": lambda h, ct: jnp.zeros_like(ct).at[PLACES].add(ct),
    "scattered_onto_itself": lambda h, ct: (0.5 * ct).at[PLACES].add(ct),
    "written_over": lambda h, ct: lax.dynamic_update_slice(ct, 2 * ct[:2], (1,)),
    "written_over_by_zeros": lambda h, ct: lax.dynamic_update_slice(ct, jnp.zeros(2), (1,)),
    "triangular_solve": lambda h, ct: jax.scipy.linalg.solve_triangular(LOWER + jnp.diag(h**2), ct, lower=True),
    "solve": lambda h, ct: jnp.linalg.solve(FULL + jnp.diag(h**2), ct),
    "solve_by_a_function": lambda h, ct: by_function(lambda b: jnp.linalg.solve(FULL, b), ct),
}
NONLINEAR = {
    "read_with_ones_beyond": lambda h, ct: ct.at[jnp.array([3, 9, 1, 1])].get(mode="fill", fill_value=1.0),
    "scattered_onto_ones": lambda h, ct: jnp.ones_like(ct).at[PLACES].add(ct),
    "ones_scattered_onto_it": lambda h, ct: ct.at[PLACES].add(jnp.ones_like(ct)),
    "written_over_by_ones": lambda h, ct: lax.dynamic_update_slice(ct, jnp.ones(2), (1,)),
    "triangular_matrix": lambda h, ct: jax.scipy.linalg.solve_triangular(LOWER + jnp.diag(ct**2), h, lower=True),
    "matrix": lambda h, ct: jnp.linalg.solve(FULL + jnp.diag(ct**2), h),
    "matrix_and_right_hand_side": lambda h, ct: jnp.linalg.solve(FULL + jnp.diag(ct**2), ct),
    "product_that_is_rounded": lambda h, ct: lax.dot(FULL, ct, preferred_element_type=jnp.bfloat16).astype(float),
    "aside_of_a_solve": lambda h, ct: by_function(lambda b: (jnp.linalg.solve(FULL, b), jnp.sum(b**2)), ct)[1] * ct,
}


def by_function(solve, b):
    has_aux = isinstance(jax.eval_shape(solve, b), tuple)
    return lax.custom_linear_solve(lambda v: FULL @ v, b, lambda _, b: solve(b), lambda _, b: solve(b), has_aux=has_aux)


def gradients(cell, key):
    """By RTRL and by BPTT, and whether all are called exact."""
    draws = [jax.random.normal(k, shape) for k, shape in zip(jax.random.split(key, 4), SHAPES, strict=True)]
    model, state, xs = {"a": draws[0], "w": 0.5 * draws[1]}, draws[2], draws[3]

    def loss_step(model, h, x):
        h = cell(model, h, x)
        return jnp.sum(jnp.sin(h)), h

    online = etr.etrace_grad(loss_step, etr.RTRL())
    report = online.graph(model, state, xs[0]).report(etr.RTRL())
    found, _, _ = jax.jit(online.scan)(model, state, online.init(model, state, xs[0]), xs)
    return found, bptt(loss_step, model, state, xs), all(row.exact for row in report.rows)


SHAPES = (N,), (N, N), (N,), (T, N)


@pytest.mark.sweep(2)
@pytest.mark.parametrize("name", LINEAR)
def test_a_linear_rule_is_followed(name, key):
    call = ruled(LINEAR[name])
    found, wanted, is_exact = gradients(lambda m, h, x: jnp.tanh(call(m["a"] * h) + m["w"] @ x), key)
    assert is_exact
    assert_close(found, wanted)


@pytest.mark.sweep(2)
@pytest.mark.parametrize("name", NONLINEAR)
def test_a_rule_that_is_not_linear_is_said(name, key):
    call = ruled(NONLINEAR[name])
    found, wanted, is_exact = gradients(lambda m, h, x: jnp.tanh(call(m["a"] * h) + m["w"] @ x), key)
    assert not is_exact
    assert max(relative(found[k], wanted[k]) for k in wanted) > 1e-6


@jax.custom_vjp
def squashed(v):
    return 1.0 * v


squashed.defvjp(lambda v: (1.0 * v, None), lambda _, ct: (jnp.tanh(ct),))


@jax.custom_vjp
def squashed_with_an_aside(v):
    return jnp.sum(v), 1.0 * v


squashed_with_an_aside.defvjp(lambda v: (squashed_with_an_aside(v), None), lambda _, ct: (jnp.tanh(ct[0] + ct[1]),))
LATER_OUTPUTS = {
    "after a counter": lambda h: lax.fori_loop(0, 2, lambda _, v: squashed(v), h),
    "after an aside": lambda h: squashed_with_an_aside(h)[1],
    "after a carry": lambda h: lax.scan(lambda c, _: (c + 1.0, squashed(h)), 0.0, None, length=1)[1][0],
}


@pytest.mark.sweep(2)
@pytest.mark.parametrize("name", LATER_OUTPUTS)
def test_a_rule_whose_first_output_is_not_what_goes_on(name, key):
    call = LATER_OUTPUTS[name]
    found, wanted, is_exact = gradients(lambda m, h, x: call(m["a"] * h) + m["w"] @ x, key)
    assert not is_exact
    assert max(relative(found[k], wanted[k]) for k in wanted) > 1e-6


@jax.custom_vjp
def wave(v):
    return jnp.sin(v), jnp.cos(v)


def pull_wave(v, ct):
    """Squashes where nobody reads the second output."""
    if isinstance(ct[1], SymbolicZero):
        return (jnp.tanh(ct[0] * jnp.cos(v)),)
    return (ct[0] * jnp.cos(v) - ct[1] * jnp.sin(v),)


wave.defvjp(lambda v: (wave(v.value), v.value), pull_wave, symbolic_zeros=True)


@pytest.mark.sweep(2)
@pytest.mark.parametrize("reads_both", [False, True])
def test_a_rule_that_acts_otherwise_where_an_output_is_not_read(reads_both, key):
    def read(v):
        first, second = wave(v)
        return first + 0.5 * second if reads_both else first

    found, wanted, is_exact = gradients(lambda m, h, x: read(m["a"] * h) + m["w"] @ x, key)
    assert is_exact == reads_both
    assert (max(relative(found[k], wanted[k]) for k in wanted) < 1e-9) == reads_both


@pytest.mark.sweep(2)
@pytest.mark.parametrize("rule", [squashed, jnp.tanh])
def test_a_rule_inside_a_linear_solve(key, rule):
    def cell(m, h, x):
        scale = m["a"] * h
        drive = m["w"] @ x + h
        return lax.custom_linear_solve(
            lambda v: 3 * v + rule(scale) * v, drive, lambda _, b: b / (3 + rule(scale)), symmetric=True
        )

    found, wanted, is_exact = gradients(cell, key)
    assert is_exact == (rule is jnp.tanh)
    assert is_exact or max(relative(found[k], wanted[k]) for k in wanted) > 1e-6
    if is_exact:
        assert_close(found, wanted)


def test_a_rule_that_takes_operands_without_a_derivative(key):
    """Equinox asserts that nothing differentiates by them."""

    @eqx.filter_custom_vjp
    def call(v, x):
        return jnp.tanh(v["v"]) * x

    call.def_fwd(lambda perturbed, v, x: (call(v, x), None))
    call.def_bwd(lambda residuals, ct, perturbed, v, x: {"v": 0.5 * ct * x, "k": None})
    found, wanted, is_exact = gradients(lambda m, h, x: call({"v": m["a"] * h, "k": 3}, x) + m["w"] @ x, key)
    assert is_exact
    assert_close(found, wanted)


def test_a_state_found_as_a_root(key):
    """Its derivative is JAX's own rule, by a linear solve."""

    def cell(m, h, x):
        return lax.custom_root(
            lambda z: z - jnp.tanh(0.3 * z * m["a"] + 0.5 * h + m["w"] @ x),
            jnp.zeros(N),
            lambda f, z: lax.fori_loop(0, 60, lambda _, z: z - f(z), z),
            lambda g, y: jnp.linalg.solve(jax.jacobian(g)(y), y),
        )

    found, wanted, is_exact = gradients(cell, key)
    assert is_exact
    assert_close(found, wanted)


def squeezed(g):
    return jnp.tanh(g)


@jax.custom_vjp
def with_squeezed_credit(v):
    return v


with_squeezed_credit.defvjp(lambda v: (v, None), lambda _, g: (squeezed(g),))


@jax.custom_vjp
def with_credit_by_a_short_solve(v):
    return jnp.linalg.solve(FULL, v)


def short_solve(v):
    return jax.scipy.sparse.linalg.cg(lambda v: FULL @ v + 2 * v, v, maxiter=2)[0]


with_credit_by_a_short_solve.defvjp(lambda v: (v, None), lambda _, g: (short_solve(g),))


def halved(v):
    return linear_call(lambda _, v: 0.5 * v, lambda _, g: squeezed(0.5 * g), (), v)


@jax.custom_jvp
def with_a_tangent_by_a_call(v):
    return jnp.sin(v)


with_a_tangent_by_a_call.defjvp(lambda vs, ts: (jnp.sin(vs[0]), halved(ts[0])))


def root_by_a_squeezing_solve(v):
    def solve(g, y):
        return lax.custom_linear_solve(g, y, lambda _, b: b / 2, lambda _, b: squeezed(b / 2))

    return lax.custom_root(lambda z: 2 * z - v, v, lambda f, z: v / 2, solve)


stranger = Primitive("squeezing_call")
stranger.def_impl(lambda x, jaxpr: x)
stranger.def_abstract_eval(lambda x, jaxpr: x)
mlir.register_lowering(stranger, mlir.lower_fun(lambda x, jaxpr: x, multiple_results=False))
ad.deflinear2(stranger, lambda ct, x, jaxpr: (squeezed(ct),))
batching.defvectorized(stranger)

HIDDEN = {
    "tangent_by_a_call": with_a_tangent_by_a_call,
    "root": root_by_a_squeezing_solve,
    "stranger_with_a_jaxpr": lambda v: stranger.bind(v, jaxpr=jax.make_jaxpr(lambda x: x)(1.0)),
    "linear_call": halved,
    "transpose_of_a_solve": lambda v: lax.custom_linear_solve(
        lambda v: 2.0 * v, v, lambda _, b: b / 2, lambda _, b: squeezed(b / 2)
    ),
    "noinline": eqx.internal.noinline(lambda v: with_squeezed_credit(v)),
    "iterative_solve": short_solve,
    "iterative_solve_in_a_rule": with_credit_by_a_short_solve,
    "in_a_loop": lambda v: lax.scan(lambda v, _: (short_solve(v), None), v, None, length=2)[0],
}


surrogate = Primitive("surrogate_of_somebody")
surrogate.def_impl(lambda x, slope: (x > 0).astype(x.dtype))
surrogate.def_abstract_eval(lambda x, slope: x)
mlir.register_lowering(surrogate, mlir.lower_fun(lambda x, slope: (x > 0).astype(x.dtype), multiple_results=False))
ad.defjvp(surrogate, lambda t, x, slope: t * slope, None)
batching.defbroadcasting(surrogate)

along = Primitive("surrogate_along_units")
along.def_impl(lambda x: (x > 0).astype(x.dtype))
along.def_abstract_eval(lambda x: x)
mlir.register_lowering(along, mlir.lower_fun(lambda x: (x > 0).astype(x.dtype), multiple_results=False))
ad.defjvp(along, lambda t, x: jnp.roll(t, 1) / (1 + jnp.abs(x)))


scaled = Primitive("scaled_by_its_own_rule")
scaled.def_impl(lambda x: jnp.asarray(0.5 * np.asarray(x)))  # and so it cannot be written out
scaled.def_abstract_eval(lambda x: x)
mlir.register_lowering(scaled, mlir.lower_fun(lambda x: 0.5 * x, multiple_results=False))
asked = []
ad.deflinear2(scaled, lambda ct, x: asked.append(ct) or (scaled.bind(ct),))


def reset_by_a_spike(m, h, x):
    return m["a"] * h - surrogate.bind(h, jax.nn.relu(1 - jnp.abs(h))) + m["w"] @ x


def reset_by_that_of_another(m, h, x):
    return m["a"] * h - along.bind(h) + m["w"] @ x


def leak_whose_rule_is_itself(m, h, x):
    """As that of `ldexp` is in JAX 0.12: whoever follows it never comes to an end."""
    return m["a"] * scaled.bind(h) + m["w"] @ x


@pytest.mark.sweep(2)
@pytest.mark.parametrize(("cell", "is_exact"), [(reset_by_a_spike, True), (reset_by_that_of_another, False)])
def test_a_primitive_of_somebody_else_is_followed_by_its_rule(key, cell, is_exact):
    """A surrogate spike that is a primitive, as those of braintools are; and one whose rule mixes."""
    found, wanted, is_exact_by_blocks = gradients(cell, key)
    assert is_exact_by_blocks and max(relative(found[k], wanted[k]) for k in wanted) < 1e-12
    m, h, x = {"a": jnp.full(5, 0.5), "w": jnp.ones((5, 3))}, jnp.ones(5), jnp.ones(3)

    def step(m, h, x):
        h = cell(m, h, x)
        return jnp.sum(jnp.sin(h)), h

    online, xs = etr.etrace_grad(step, etr.DRTRL()), 0.3 * jax.random.normal(key, (6, 3))
    assert all(row.exact is is_exact for row in online.graph(m, h, x).report(etr.DRTRL()).rows)
    found, *_ = online.scan(m, h, online.init(m, h, x), xs, window=1)
    wanted = bptt(step, m, h, xs)
    assert (max(relative(found[k], wanted[k]) for k in wanted) < 1e-12) is is_exact


def test_a_rule_that_is_the_primitive_again_is_not_called_exact(key):
    asked.clear()
    found, wanted, is_exact = gradients(leak_whose_rule_is_itself, key)
    assert 0 < len(asked) < 40
    assert not is_exact and max(relative(found[k], wanted[k]) for k in wanted) > 1e-6


@pytest.mark.sweep(2)
@pytest.mark.parametrize("name", HIDDEN)
def test_a_transpose_that_is_not_linear_where_no_rule_is_seen(name, key):
    """In what takes functions and is no rule of its own: of the state, and of a weight alone."""
    of_the_state, wanted, is_exact = gradients(lambda m, h, x: HIDDEN[name](m["a"] * h) + m["w"] @ x, key)
    assert not is_exact
    assert max(relative(of_the_state[k], wanted[k]) for k in wanted) > 1e-6
    of_a_weight, wanted, is_exact = gradients(lambda m, h, x: 0.5 * h + HIDDEN[name](m["a"]) + m["w"] @ x, key)
    assert not is_exact
    assert max(relative(of_a_weight[k], wanted[k]) for k in wanted) > 1e-6


def test_a_rule_that_cannot_be_staged_is_not_called_exact(key):
    """One inside a `shard_map` whose types carry its axes."""
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]), ("i",))
    axes = jax.sharding.PartitionSpec("i")
    call = jax.shard_map(jax.nn.relu, mesh=mesh, in_specs=axes, out_specs=axes)
    found, _, is_exact = gradients(lambda m, h, x: 0.5 * h + call(m["a"]) + m["w"] @ x, key)
    assert not is_exact
    assert all(bool(jnp.isfinite(g).all()) for g in jax.tree.leaves(found))


def test_a_rule_that_fails_when_it_is_staged_still_carries_credit(key, monkeypatch):
    def fail(*_):
        raise ValueError("no rule")

    monkeypatch.setattr("eqx_etrace._read.program._backward_rule._stage_backward", fail)
    found, wanted, is_exact = gradients(lambda m, h, x: jax.nn.softplus(m["a"] * h) + m["w"] @ x, key)
    assert not is_exact
    assert min(float(jnp.abs(found[k]).max()) for k in wanted) > 1e-3


def test_a_fault_of_our_own_is_not_taken_for_one_of_the_rule(key, monkeypatch):
    def fail(*_):
        raise AssertionError("ours")

    monkeypatch.setattr("eqx_etrace._read.program._backward_rule._follow", fail)
    with pytest.raises(AssertionError, match="ours"):
        gradients(lambda m, h, x: jax.nn.softplus(m["a"] * h) + m["w"] @ x, key)


def test_a_linear_call_is_followed(key):
    def scale(v):
        return linear_call(lambda r, v: r * v, lambda r, g: r * g, 0.5 * jnp.ones(N), v)

    found, wanted, is_exact = gradients(lambda m, h, x: scale(m["a"] * h) + m["w"] @ x, key)
    assert is_exact
    assert_close(found, wanted)


def test_a_solve_that_may_stop_early_is_followed_and_not_called_exact(key):
    def solve(v):
        return jax.scipy.sparse.linalg.cg(lambda v: FULL @ FULL.T @ v, v, tol=1e-13)[0]

    found, wanted, is_exact = gradients(lambda m, h, x: solve(m["a"] * h) + m["w"] @ x, key)
    assert not is_exact
    assert_close(found, wanted)

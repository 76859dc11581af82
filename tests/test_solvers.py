"""A step that solves by lineax, optimistix or diffrax: `RTRL` beside BPTT, which asks the same solver for its rule.

They come with the extra `tests`; where one is not installed, its tests are skipped.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from oracle import assert_close, bptt, relative

import eqx_etrace as etr

N, IN, T = 3, 2, 5
TO_ROUNDING = {"rtol": 1e-12, "atol": 1e-12}

Cell = Callable[[Any, jax.Array, jax.Array], jax.Array]


@pytest.fixture(autouse=True)
def promotion():
    """Some adjoints of diffrax need JAX's default promotion."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def with_loss(cell: Cell) -> Any:
    def loss_step(model, h, x):
        h = cell(model, h, x)
        return jnp.sum(jnp.sin(h)), h

    return loss_step


def setting(key: jax.Array) -> tuple[Any, jax.Array, jax.Array]:
    r, w, h, x = jax.random.split(key, 4)
    model = {"R": 0.4 * jax.random.normal(r, (N, N)), "W": 0.5 * jax.random.normal(w, (N, IN))}
    return model, jax.random.normal(h, (N,)), jax.random.normal(x, (T, IN))


def gradients(cell: Cell, key: jax.Array, rule: Any) -> tuple[Any, Any, bool]:
    """Online at window 1, by BPTT, and whether all are called exact."""
    loss_step, (model, state, xs) = with_loss(cell), setting(key)
    online = etr.etrace_grad(loss_step, rule)
    report = online.graph(model, state, xs[0]).report(rule)
    trace = online.init(model, state, xs[0])
    found, _, _ = jax.jit(online.scan, static_argnames="window")(model, state, trace, xs, window=1)
    wanted = bptt(loss_step, model, state, xs)
    assert min(float(jnp.abs(g).max()) for g in wanted.values()) > 1e-3
    return found, wanted, all(row.exact for row in report.rows)


def assert_exact(cell: Cell, key: jax.Array) -> None:
    found, wanted, is_exact = gradients(cell, key, etr.RTRL())
    assert is_exact
    assert_close(found, wanted)


def dense(lx, m):
    return lx.MatrixLinearOperator(3 * jnp.eye(N) + m["R"])


def positive(lx, m):
    return lx.MatrixLinearOperator(3 * jnp.eye(N) + m["R"] @ m["R"].T, lx.positive_semidefinite_tag)


def tridiagonal(lx, m):
    return lx.TridiagonalLinearOperator(3 + m["R"][0], m["R"][1, 1:], m["R"][2, 1:])


def by_function(lx, m):
    return lx.FunctionLinearOperator(lambda v: 3 * v + m["R"] @ v, jax.ShapeDtypeStruct((N,), float))


def by_derivative(lx, m):
    return lx.JacobianLinearOperator(lambda v, _: 3 * v + jnp.tanh(m["R"] @ v), jnp.ones(N))


LINEAR = {
    "lu": (dense, lambda lx: lx.LU()),
    "tridiagonal": (tridiagonal, lambda lx: lx.Tridiagonal()),
    "function": (by_function, lambda lx: lx.AutoLinearSolver(well_posed=True)),
    "derivative": (by_derivative, lambda lx: lx.LU()),
}


ITERATIVE = {
    "gmres": (dense, lambda lx: lx.GMRES(**TO_ROUNDING)),
    "cg": (positive, lambda lx: lx.CG(**TO_ROUNDING)),
}


def linear_solve(name: str) -> Cell:
    """An implicit step: A(R) h' = h + W x."""
    lx = pytest.importorskip("lineax")
    operator, solver = (LINEAR | ITERATIVE)[name]
    return lambda m, h, x: lx.linear_solve(operator(lx, m), h + m["W"] @ x, solver(lx)).value


@pytest.mark.parametrize("name", LINEAR)
def test_a_linear_solve(name, key):
    assert_exact(linear_solve(name), key)


@pytest.mark.parametrize("name", ITERATIVE)
def test_a_linear_solve_that_may_stop_early_is_followed_and_not_called_exact(name, key):
    found, wanted, is_exact = gradients(linear_solve(name), key, etr.RTRL())
    assert not is_exact
    assert_close(found, wanted)


def test_the_solves_mix_units(key):
    """Otherwise the tests above would hold for a rule that drops what passes between units."""
    found, wanted, is_exact = gradients(linear_solve("lu"), key, etr.DRTRL())
    assert not is_exact
    assert min(relative(found[name], wanted[name]) for name in wanted) > 1e-3


def settled(u, args):
    """Zero where u' is the state that an implicit step asks for."""
    R, drive, h = args
    return u - 0.5 * h - 0.3 * jnp.tanh(R @ u + drive)


def energy(u, args):
    return jnp.sum(settled(u, args) ** 2) + 0.1 * jnp.sum(u**4)


NONLINEAR = {
    "fixed point": lambda ox, h, args: ox.fixed_point(
        lambda u, args: u - settled(u, args), ox.FixedPointIteration(**TO_ROUNDING), h, args
    ),
    "newton": lambda ox, h, args: ox.root_find(settled, ox.Newton(**TO_ROUNDING), h, args),
    "newton, differentiated step by step": lambda ox, h, args: ox.root_find(
        settled, ox.Newton(**TO_ROUNDING), h, args, max_steps=8, adjoint=ox.RecursiveCheckpointAdjoint()
    ),
    "bfgs": lambda ox, h, args: ox.minimise(energy, ox.BFGS(**TO_ROUNDING), h, args),
}


@pytest.mark.sweep(2)
@pytest.mark.parametrize("name", NONLINEAR)
def test_a_nonlinear_solve(name, key):
    ox = pytest.importorskip("optimistix")
    assert_exact(lambda m, h, x: NONLINEAR[name](ox, h, (m["R"], m["W"] @ x, h)).value, key)


def flow(t, u, args):
    R, drive = args
    return jnp.tanh(R @ u + drive) - u


def integrated(dx, adjoint, **options) -> Cell:
    """Two steps of Euler's method between one input and the next."""
    options = {"t1": 0.2, "dt0": 0.1, "solver": dx.Euler(), "max_steps": 4, **options}

    def cell(m, h, x):
        args = m["R"], m["W"] @ x
        return dx.diffeqsolve(dx.ODETerm(flow), t0=0.0, y0=h, args=args, adjoint=adjoint, **options).ys[0]

    return cell


def to_rest(dx) -> Cell:
    """As long as it takes until the network does not change: what `ImplicitAdjoint` is for."""
    controller = dx.PIDController(rtol=1e-3, atol=1e-6)
    event = dx.Event(dx.steady_state_event())
    cell = integrated(
        dx,
        dx.ImplicitAdjoint(),
        solver=dx.Heun(),
        t1=jnp.inf,
        max_steps=256,
        stepsize_controller=controller,
        event=event,
    )
    return lambda m, h, x: 0.5 * h + cell(m, h, x)


def adaptive(dx, solver) -> Cell:
    """Steps of a size that follows the error, as diffrax advises."""
    controller = dx.PIDController(rtol=1e-3, atol=1e-6)
    adjoint = dx.RecursiveCheckpointAdjoint()
    return integrated(dx, adjoint, solver=solver, stepsize_controller=controller, max_steps=32)


DIFFERENTIAL = {
    "checkpointed": lambda dx: integrated(dx, dx.RecursiveCheckpointAdjoint()),
    "direct": lambda dx: integrated(dx, dx.DirectAdjoint()),
    "backwards in time": lambda dx: integrated(dx, dx.BacksolveAdjoint()),
    "implicit": to_rest,
    "adaptive": lambda dx: adaptive(dx, dx.Tsit5()),
    "stiff": lambda dx: adaptive(dx, dx.Kvaerno3()),
}


@pytest.mark.outside_sample
@pytest.mark.sweep(6)
@pytest.mark.parametrize("name", DIFFERENTIAL)
def test_a_differential_equation(name, key):
    assert_exact(DIFFERENTIAL[name](pytest.importorskip("diffrax")), key)


def test_a_loop_without_a_reverse_mode(key):
    dx = pytest.importorskip("diffrax")
    with pytest.raises(ValueError, match=r"`while_loop` at test_solvers.py:\d+ .*no reverse-mode derivative"):
        gradients(integrated(dx, dx.ForwardMode()), key, etr.RTRL())

"""Loops, branches, calls with a derivative rule of their own, and functions of functions."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental.ode import odeint

from ._table import constant, on

A = constant(4)


@jax.custom_jvp
def clipped(x):
    return jnp.clip(x, -0.5, 0.5)


@clipped.defjvp
def _clipped_jvp(primals, tangents):
    return clipped(*primals), tangents[0] * 0.5


@jax.custom_vjp
def spike(x):
    return (x > 0).astype(x.dtype)


spike.defvjp(lambda x: (spike(x), x), lambda x, ct: (ct / (1 + x**2),))


@jax.custom_vjp
def smoothed(x):
    """Its rule mixes elements, where it moves none."""
    return x


smoothed.defvjp(lambda x: (x, None), lambda _, ct: (ct + jnp.roll(ct, 1),))


@jax.custom_vjp
def reversed_credit(x):
    return x


reversed_credit.defvjp(lambda x: (x, None), lambda _, ct: (ct[::-1],))


@jax.custom_vjp
def bounded_credit(x):
    """Its rule is not linear."""
    return x


bounded_credit.defvjp(lambda x: (x, None), lambda _, ct: (jnp.clip(ct, -0.1, 0.1),))


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def powered(x, n):
    return x**n


@powered.defjvp
def _powered_jvp(n, primals, tangents):
    return powered(primals[0], n), n * primals[0] ** (n - 1) * tangents[0]


@jax.custom_jvp
def summed(x, y):
    return x.sum() * y


@summed.defjvp
def _summed_jvp(primals, tangents):
    (x, y), (dx, dy) = primals, tangents
    return summed(x, y), dx.sum() * y + x.sum() * dy


@jax.custom_vjp
def scanned(x):
    """Its rule has a loop."""
    return jnp.cumsum(x)


scanned.defvjp(
    lambda x: (scanned(x), None),
    lambda _, ct: (lax.scan(lambda s, c: (s + c, s + c), jnp.zeros(()), ct, reverse=True)[1],),
)


@eqx.filter_custom_vjp
def halved(x):
    return jnp.sin(x)


@halved.def_fwd
def _halved_fwd(perturbed, x):
    return halved(x), x


@halved.def_bwd
def _halved_bwd(residuals, ct, perturbed, x):
    return 0.5 * ct * jnp.cos(residuals)


def flag(v):
    return v.sum() > 0


def choice(v):
    return (jnp.abs(v).sum() * 7).astype(jnp.int32) % 3


on(
    (4,),
    scan_carry=lambda v: lax.scan(lambda c, x: (0.5 * c + x, None), v, jnp.stack([A, A]))[0],
    scan_outputs=lambda v: lax.scan(lambda c, x: (c + x, c * x), 0.0, v)[1],
    scan_reverse=lambda v: lax.scan(lambda c, x: (c + x, c * x), 0.0, v, reverse=True)[1],
    scan_constants=lambda v: lax.scan(lambda c, x: (c + v * x, None), jnp.zeros(4), A)[0],
    scan_unrolled=lambda v: lax.scan(lambda c, x: (c + x, c * x), 0.0, v, unroll=2)[1],
    scan_of_nothing=lambda v: lax.scan(lambda c, _: (jnp.sin(c), c), v, None, length=2)[1],
    scan_no_steps=lambda v: lax.scan(lambda c, x: (c + x, None), v, jnp.zeros((0, 4)))[0],
    scan_mixing=lambda v: lax.scan(lambda c, x: (constant(4, 4) @ c + x, None), v, jnp.zeros((2, 4)))[0],
    scan_rolling=lambda v: lax.scan(lambda c, _: (jnp.roll(c, 1), None), v, None, length=2)[0],
    scan_two_carries=lambda v: lax.scan(lambda c, x: ((c[1], c[0] * x), c[0]), (v, v**2), A)[0][1],
    scan_integer_carry=lambda v: lax.scan(lambda c, x: ((c[0] + 1, c[1] + v[c[0]] * x), None), (0, 0.0), A)[0][1],
    scan_elementwise=lambda v: lax.scan(lambda c, x: (c, jnp.sin(x)), 0, v)[1],
    scan_nested=lambda v: lax.scan(
        lambda c, x: (lax.scan(lambda d, y: (d * y + x, None), c, A)[0], None), v, jnp.ones((2, 4))
    )[0],
    fori_loop=lambda v: lax.fori_loop(0, 3, lambda i, c: 0.5 * c + v, jnp.zeros(4)),
    fori_loop_index=lambda v: lax.fori_loop(0, 3, lambda i, c: c + v[i], 0.0),
    fori_loop_set=lambda v: lax.fori_loop(0, 3, lambda i, c: c.at[i].set(v[i + 1] * c[i]), jnp.ones(4)),
    map=lambda v: lax.map(lambda x: x**2, v),
    map_pair=lambda v: lax.map(lambda p: p[0] * p[1], (v, A)),
    map_batched=lambda v: lax.map(jnp.sin, v, batch_size=2),
    associative_scan=lambda v: lax.associative_scan(jnp.multiply, v),
    associative_scan_reverse=lambda v: lax.associative_scan(jnp.add, v, reverse=True),
    associative_scan_linear=lambda v: lax.associative_scan(
        lambda p, q: (p[0] * q[0], p[1] * q[0] + q[1]), (jnp.full(4, 0.7), v)
    )[1],
    cond=lambda v: lax.cond(flag(v), lambda x: x**2, lambda x: x[::-1], v),
    cond_constant=lambda v: lax.cond(jnp.asarray(True), lambda x: x**2, lambda x: x[::-1], v),
    cond_closed_over=lambda v: lax.cond(flag(v), lambda: v, lambda: A),
    cond_stopped=lambda v: lax.cond(flag(v), lambda x: x, lax.stop_gradient, v),
    switch=lambda v: lax.switch(choice(v), [lambda x: x**2, lambda x: jnp.roll(x, 1), lambda x: -x], v),
    switch_under_vmap=lambda v: jax.vmap(lambda i, x: lax.switch(i, [jnp.sin, jnp.cos], x))(
        jnp.asarray([0, 1, 1, 0]), v
    ),
    cond_in_scan=lambda v: lax.scan(lambda c, x: (lax.cond(x > 0, lambda: c * v, lambda: c + v), None), v, A)[0],
    select_of_branches=lambda v: lax.select(v > 0, v**2, v[::-1]),
    checkpoint=lambda v: jax.checkpoint(lambda x: jnp.sin(x) * x)(v),
    checkpoint_policy=lambda v: jax.checkpoint(jnp.tanh, policy=jax.checkpoint_policies.dots_saveable)(v),
    checkpoint_in_scan=lambda v: lax.scan(jax.checkpoint(lambda c, x: (jnp.sin(c * x), None)), v, jnp.stack([A, A]))[0],
    jit=lambda v: jax.jit(lambda x: x * A)(v),
    jit_nested=lambda v: jax.jit(lambda x: jax.jit(jnp.sin)(x)[::-1])(v),
    named_scope=lambda v: jax.named_call(jnp.sin, name="here")(v),
    custom_jvp=lambda v: clipped(v),
    custom_jvp_argument=lambda v: powered(v, 3),
    custom_jvp_mixing=lambda v: summed(v, v**2),
    custom_jvp_moving=lambda v: clipped(v[::-1]),
    custom_jvp_under_vmap=lambda v: jax.vmap(clipped)(v),
    custom_vjp=lambda v: spike(v),
    custom_vjp_mixing=lambda v: smoothed(v),
    custom_vjp_moving=lambda v: reversed_credit(v),
    custom_vjp_loop=lambda v: scanned(v),
    custom_vjp_under_vmap=lambda v: jax.vmap(spike)(v),
    custom_vjp_in_scan=lambda v: lax.scan(lambda c, x: (spike(c - x) + 0.5 * c, None), v, jnp.stack([A, A]))[0],
    custom_vjp_mixing_in_scan=lambda v: lax.scan(lambda c, _: (smoothed(c), None), v, None, length=2)[0],
    filter_custom_vjp=lambda v: halved(v),
    closure_convert=lambda v: jax.closure_convert(lambda x: x * A, v)[0](v),
    vmap=lambda v: jax.vmap(lambda x: x * jnp.sin(x))(v),
    vmap_in_axes=lambda v: jax.vmap(lambda x, a: x * a, (None, 0))(v, A),
    vmap_out_axes=lambda v: jax.vmap(lambda x: x * A, out_axes=1)(v[:2]),
    vmap_nested=lambda v: jax.vmap(lambda x: jax.vmap(lambda y: x * y)(v[:3]))(v[:2]),
    vmap_axis_name=lambda v: jax.vmap(lambda x: x - lax.pmean(x, "i"), axis_name="i")(v),
    vmap_axis_max=lambda v: jax.vmap(lambda x: lax.pmax(lax.stop_gradient(x), "i") * x, axis_name="i")(v),
    vmap_axis_permuted=lambda v: jax.vmap(
        lambda x: lax.ppermute(x, "i", [(0, 1), (1, 2), (2, 3), (3, 0)]), axis_name="i"
    )(v),
    vmap_axis_gathered=lambda v: jax.vmap(lambda x: lax.all_gather(x, "i")[0] * x, axis_name="i")(v),
    vmap_axis_index=lambda v: jax.vmap(lambda x: x * lax.axis_index("i"), axis_name="i")(v),
    vmap_matrix=lambda v: jax.vmap(lambda x, w: w @ x, (None, 0))(v, constant(3, 4)),
    vmap_weights=lambda v: jax.vmap(lambda x: constant(2, 2) @ x)(v.reshape(2, 2)),
    vectorize=lambda v: jnp.vectorize(lambda x, y: x * y)(v, A),
    vectorize_signature=lambda v: jnp.vectorize(lambda x: x.sum(), signature="(n)->()")(v.reshape(2, 2)),
    apply_along_axis=lambda v: jnp.apply_along_axis(jnp.cumsum, 1, v.reshape(2, 2)),
    apply_over_axes=lambda v: jnp.apply_over_axes(jnp.sum, v.reshape(2, 2), [0]),
    frompyfunc=lambda v: jnp.frompyfunc(lambda a, b: a + b, 2, 1, identity=0).accumulate(v),
    ufunc_reduce=lambda v: jnp.add.reduce(v.reshape(2, 2), axis=1),
    ufunc_accumulate=lambda v: jnp.multiply.accumulate(v),
    ufunc_outer=lambda v: jnp.multiply.outer(v[:2], A),
    ufunc_at=lambda v: jnp.add.at(v, jnp.asarray([0, 2]), 0.5, inplace=False),
    ufunc_reduceat=lambda v: jnp.add.reduceat(v, jnp.asarray([0, 2])),
    gradient_inside=lambda v: jax.grad(lambda x: (x**3).sum())(v),
    jvp_inside=lambda v: jax.jvp(jnp.sin, (v,), (A,))[1],
    hessian_inside=lambda v: jax.hessian(lambda x: (x**4).sum() * x[0])(v)[0],
    jacobian_inside=lambda v: jax.jacfwd(lambda x: x**2 * x[0])(v)[:, 1],
    linearize_inside=lambda v: jax.linearize(jnp.sin, v)[1](A),
    linear_transpose_inside=lambda v: jax.linear_transpose(lambda x: x[::-1] * A, v)(v)[0],
    newton_step=lambda v: v - 0.1 * (v**2 - A) / (2 * v + 3),
    custom_root=lambda v: lax.custom_root(
        lambda x: x**3 + x - v, v, lambda f, x: _newton(f, x), lambda g, y: y / g(jnp.ones_like(y))
    ),
    filter_jit=lambda v: eqx.filter_jit(lambda x: x * A)(v),
    filter_vmap=lambda v: eqx.filter_vmap(lambda x: x**2)(v),
    equinox_scan=lambda v: eqx.internal.scan(lambda c, x: (c + x, c * x), 0.0, v, kind="lax")[1],
    equinox_checkpointed_loop=lambda v: eqx.internal.while_loop(
        lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] * v), (0, v), kind="checkpointed", max_steps=4
    )[1],
    equinox_bounded_loop=lambda v: eqx.internal.while_loop(
        lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] * v), (0, v), kind="bounded", max_steps=4
    )[1],
    error_if=lambda v: eqx.error_if(v, v.sum() > 1e9, "large"),
    pure_callback_constant=lambda v: v * jax.pure_callback(lambda: A, jax.ShapeDtypeStruct((4,), A.dtype)),
)
on(
    (4,),
    unfollowed=True,
    custom_vjp_not_linear=lambda v: bounded_credit(v),
    # Backward it chooses the steps of its solver by the cotangent.
    odeint=lambda v: odeint(lambda y, t: -y * v, v, jnp.asarray([0.0, 0.5]))[1],
)
on(
    (4,),
    refused=True,
    while_loop=lambda v: lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] * v), (0, v))[1],
    fori_loop_traced=lambda v: lax.fori_loop(0, choice(v), lambda i, c: c * v, v),
    pure_callback=lambda v: jax.pure_callback(lambda x: x, jax.ShapeDtypeStruct((4,), v.dtype), v),
)


def _newton(f, x):
    for _ in range(20):
        y, slope = jax.jvp(f, (x,), (jnp.ones_like(x),))
        x = x - y / slope
    return x

"""How an operation connects elements, held against Jacobians by JAX: at an index that is not known when it is read."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from eqx_etrace._read.program import flatten, Links, Mixing, NONE

D, N, B = 4, 5, 3
UNITS, LANES = jnp.arange(N), jnp.arange(B)[:, None]

AT_AN_INDEX = {
    "a slot": ((D, N), (), lambda a, i: a[i]),
    "a slot of each unit": ((D, N), (N,), lambda a, i: a[i, jnp.arange(N)]),
    "a slot of each unit, last": ((N, D), (N,), lambda a, i: a[jnp.arange(N), i]),
    "a slot of each unit in lanes": ((B, D, N), (B, N), lambda a, i: a[LANES, i, UNITS]),
    "a slot of each unit, the same in lanes": ((B, D, N), (N,), lambda a, i: a[LANES, i, UNITS]),
    "take along": ((D, N), (1, N), lambda a, i: jnp.take_along_axis(a, i, 0)),
    "by vmap": ((D, N), (N,), lambda a, i: jax.vmap(lambda column, k: column[k], (1, 0))(a, i)),
    "units in another order": ((D, N), (N,), lambda a, i: a[i, jnp.arange(N)[::-1]]),
    "some units": ((D, N), (N - 1,), lambda a, i: a[i, jnp.arange(N - 1)]),
    "a rectangle": ((D, N), (), lambda a, i: jax.lax.dynamic_slice(a, (i, 0), (2, N))),
    "a square along its diagonal": ((N, N), (N,), lambda a, i: a[jnp.arange(N), i] + a[i, jnp.arange(N)]),
}
WRITTEN = {
    "set": lambda a, i, b: a.at[i, UNITS].set(b),
    "add": lambda a, i, b: a.at[i, UNITS].add(b),
    "multiply": lambda a, i, b: a.at[i, UNITS].multiply(b, unique_indices=True),
    "add to a slot": lambda a, i, b: a.at[i[0]].add(b),
    "set a slot": lambda a, i, b: a.at[i[0]].set(b),
    "add with a step": lambda a, i, b: a.at[i, (UNITS + 1) % N].add(b),
}


def possible(function, operands, which):
    """[out, operand]: may an element of an operand reach one of the output, for all that the links say?"""
    program = flatten(jax.make_jaxpr(function)(*operands), Links)
    start = program.inputs[which]
    size = int(np.prod(program.shape(start)))
    reached = {start: np.eye(size, dtype=bool).reshape(size, *program.shape(start))}
    for eqn in program.equations:
        links = [(v, program.links(eqn, i, 0)) for i, v in enumerate(eqn.inputs) if v in reached]
        shape = program.shape(eqn.outputs[0])
        parts = [passed(link, reached[v], shape) for v, link in links if link is not None]
        if parts:
            reached[eqn.outputs[0]] = np.any(parts, 0)
    return reached[program.outputs[0]].reshape(size, -1).T


def passed(link, reached, shape):
    """An element is reached if any number, or several, come to it; behind a link that says nothing, all are."""
    if isinstance(link, Mixing):
        return np.broadcast_to(reached.reshape(len(reached), *(1 for _ in shape), -1).any(-1), (len(reached), *shape))
    numbers = np.arange(reached[0].size).reshape(reached[0].shape)
    return np.stack([link.forward(np.where(mine, numbers, NONE), shape) != NONE for mine in reached])


def check(function, operands, which):
    jacobian = jax.jacobian(lambda a: ravel_pytree(function(*operands[:which], a, *operands[which + 1 :]))[0])
    is_there = np.asarray(jacobian(operands[which])).reshape(-1, operands[which].size) != 0
    assert not (is_there & ~possible(function, operands, which)).any()


@pytest.mark.parametrize("name", AT_AN_INDEX)
def test_what_is_read_at_an_index(name):
    shape, of_index, function = AT_AN_INDEX[name]
    draw = np.random.default_rng(0)
    for _ in range(5):
        index = jnp.asarray(draw.integers(0, 3, of_index))
        check(function, (jnp.asarray(draw.normal(size=shape)), index), 0)


@pytest.mark.parametrize("name", WRITTEN)
def test_what_is_written_at_an_index(name):
    draw = np.random.default_rng(0)
    for _ in range(5):
        a, b = jnp.asarray(draw.normal(size=(D, N))), jnp.asarray(draw.normal(size=N))
        operands = a, jnp.asarray(draw.integers(0, D, N)), b
        check(WRITTEN[name], operands, 0)
        check(WRITTEN[name], operands, 2)

"""Time in the state: delay lines, rings written at a counter, delays of each synapse; exact at the size of need."""

import jax
import jax.numpy as jnp
import pytest
from sample import check_exact, runs

import eqx_etrace as etr

T, N, F, B, D = 7, 6, 4, 3, 5


def normal(*shape, seed=0):
    return jax.random.normal(jax.random.key(seed), shape)


def loss(h):
    return jnp.sum(jnp.sin(h) ** 2)


def delay_line(m, s, x):
    h, line = s
    line = jnp.concatenate([h[None], line[:-1]])
    h = 0.8 * h + 0.1 * line[-1] + m @ x
    return loss(h), (h, line)


def rolled(m, s, x):
    h, line = s
    line = jnp.roll(line, 1, 0).at[0].set(h)
    h = 0.8 * h + 0.1 * line[-1] + m @ x
    return loss(h), (h, line)


def ring(m, s, x):
    h, line, t = s
    past = line[t % D]
    line = line.at[t % D].set(h)
    h = 0.8 * h + 0.1 * past + jnp.tanh(x @ m.T)
    return loss(h), (h, line, t + 1)


def ring_along_the_last_axis(m, s, x):
    h, line, t = s
    past = jax.lax.dynamic_index_in_dim(line, t % D, 1, keepdims=False)
    line = jax.lax.dynamic_update_slice_in_dim(line, h[:, None], t % D, 1)
    h = 0.8 * h + 0.1 * past + jnp.tanh(m @ x)
    return loss(h), (h, line, t + 1)


def ring_by_masks(m, s, x):
    h, line, t = s
    here = (jnp.arange(D) == t % D)[:, None]
    past = jnp.sum(jnp.where(here, line, 0), 0)
    line = jnp.where(here, h, line)
    h = 0.8 * h + 0.1 * past + m @ x
    return loss(h), (h, line, t + 1)


def learnable_delays(m, s, x):
    """The inputs of the last steps, read between two steps, at a place of its own for every synapse."""
    h, line = s
    line = jnp.concatenate([x[None], line[:-1]])
    d = jnp.clip(m["d"], 0, D - 1.001)
    first = jax.lax.stop_gradient(jnp.floor(d)).astype(int)
    past = [line[first + k, jnp.arange(F)] for k in (0, 1)]
    h = 0.8 * h + jnp.sum(m["w"] * (past[0] + (d - first.astype(d.dtype)) * (past[1] - past[0])), 1)
    return loss(h), (h, line)


LAGS = jnp.array([0, 1, 2, 3, 1, 2])


def delays_of_each_unit(m, s, x):
    h, buffer, t = s
    h = 0.8 * h + m @ x + 0.2 * jnp.tanh(buffer[(t - LAGS) % D, jnp.arange(N)])
    return loss(h), (h, buffer.at[t % D].set(h), t + 1)


def delays_of_each_unit_in_a_line(m, s, x):
    h, line = s
    h = 0.8 * h + m["w"] @ x + 0.2 * jnp.tanh(line[m["lags"], jnp.arange(N)])
    return loss(h), (h, jnp.concatenate([h[None], line[:-1]]))


def written_ahead(m, s, x):
    """What arrives is added where it will be read, after the delay of each unit."""
    h, buffer, t = s
    h = 0.8 * h + m["w"] @ x + 0.2 * jnp.tanh(buffer[t % D])
    buffer = buffer.at[t % D].set(0.0).at[(t + 1 + m["lags"]) % D, jnp.arange(N)].add(h)
    return loss(h), (h, buffer, t + 1)


W, X, XB = normal(N, F), normal(T, F, seed=1), normal(T, B, F, seed=1)
LINE = (jnp.zeros(N), jnp.zeros((D, N)))
START = jnp.zeros((), int)
DELAYS = {"w": W, "d": 0.2 + 3 * jax.random.uniform(jax.random.key(7), (N, F))}

CASES = {
    delay_line: (W, LINE, X, (1 + D) * N * F),
    rolled: (W, LINE, X, (1 + D) * N * F),
    ring: (W, (jnp.zeros((B, N)), jnp.zeros((D, B, N)), START), XB, (1 + D) * B * N * F),
    ring_along_the_last_axis: (W, (jnp.zeros(N), jnp.zeros((N, D)), START), X, (1 + D) * N * F),
    ring_by_masks: (W, (*LINE, START), X, (1 + D) * N * F),
    learnable_delays: (DELAYS, (jnp.zeros(N), jnp.zeros((D, F))), X, 2 * N * F),
    delays_of_each_unit: (W, (*LINE, START), X, (1 + D) * N * F),
    delays_of_each_unit_in_a_line: ({"w": W, "lags": LAGS}, LINE, X, (1 + D) * N * F),
    written_ahead: ({"w": W, "lags": LAGS}, (*LINE, START), X, (1 + D) * N * F),
}
"""Step: (model, state, inputs, how many numbers a trace needs)."""


@pytest.mark.sweep(3)
@pytest.mark.parametrize(("step", "rule"), runs(CASES))
def test_exact_at_the_size_of_need(step, rule):
    check_exact(step, rule, *CASES[step])


def test_slots_are_named_after_the_array():
    (group,) = etr.compile_graph(delay_line, W, LINE, X[0]).hidden_groups
    assert set(group.paths) == {(0,), *((1, k) for k in range(D))}

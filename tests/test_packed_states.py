"""States of a unit in one array: exact without true mixing, at the size of need."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracle import bptt
from sample import check_exact, error, runs

import eqx_etrace as etr
from eqx_etrace._read.by_position import _passes

T, N, F, B, C = 7, 6, 4, 3, 3
CABLE = 0.9 * jnp.eye(C) + 0.05
"""How compartments are coupled: the same for every unit."""
LOOP = 0.3 * jax.random.normal(jax.random.key(9), (N, N))
"""How units are coupled, and not trained."""


def normal(*shape, seed=0):
    return jax.random.normal(jax.random.key(seed), shape)


def loss(h):
    return jnp.sum(jnp.sin(h) ** 2)


def unit(v, a, i):
    return 0.8 * v - 0.1 * a + jnp.tanh(i), 0.9 * a + v


def stacked(m, s, x):
    v, a = s
    s = jnp.stack(unit(v, a, m @ x))
    return loss(s[0]), s


def stacked_along_the_last_axis(m, s, x):
    s = jnp.stack(unit(s[..., 0], s[..., 1], m @ x), -1)
    return loss(s[..., 0]), s


def stacked_in_a_batch(m, s, x):
    v, a = s
    s = jnp.stack(unit(v, a, x @ m.T))
    return loss(s[0]), s


def one_after_the_other(m, s, x):
    """The adaptive neuron of spyx."""
    v, a = jnp.split(s, 2)
    z = jax.nn.sigmoid(v - a)
    v, a = 0.8 * v + m["w"] @ x - z, m["rho"] * a + z
    return loss(v), jnp.concatenate([v, a])


def current_based(m, s, x):
    """The current is read in the same step: what enters it enters both states."""
    v, i = jnp.split(s, 2, -1)
    i = 0.8 * i + x @ m.T
    v = 0.9 * v + i
    return loss(v), jnp.concatenate([v, i], -1)


def decay_of_each_state(m, s, x):
    s = jax.nn.sigmoid(m["tau"]) * s
    s = jnp.stack([s[0] + m["w"] @ x, s[1] + 0.3 * jnp.tanh(s[0])])
    return loss(s), s


def by_a_small_matrix(m, s, x):
    s = jnp.array([[0.8, -0.1], [0.3, 0.9]]) @ s + jnp.stack([m @ x, jnp.zeros(N)])
    return loss(s[0]), s


def mapped_over_units(m, s, x):
    def one(s, i):
        v, a, b = s
        return jnp.stack([0.8 * v - 0.1 * a * b + i, 0.9 * a + v, 0.5 * b + jnp.tanh(a)])

    s = jax.vmap(one)(s, m @ x)
    return loss(s[:, 0]), s


def one_unit(m, s, x):
    s = jnp.stack([*unit(s[0], s[1], m @ x), 0.5 * s[2] + jnp.tanh(s[1])])
    return loss(s), s


def long_short_term_memory(m, s, x):
    h, c = s
    i, f, g, o = jnp.split(m @ x, 4)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    h = jax.nn.sigmoid(o) * jnp.tanh(c)
    return loss(h), jnp.stack([h, c])


def compartments(m, v, x):
    v = (v @ CABLE).at[:, 0].add(m @ x)
    return loss(v), v


def compartments_that_are_all_driven(m, v, x):
    v = jnp.tanh(v @ CABLE + (m @ x).reshape(N, C))
    return loss(v[:, 0]), v


def compartments_with_a_weight_each(m, v, x):
    v = v @ CABLE + jnp.stack([m["soma"] @ x, m["basal"] @ x, jnp.tanh(m["apical"] @ x)], -1)
    return loss(v[:, 0]), v


def driven_compartments_in_a_batch_with_channels(m, s, x):
    v, g = s
    g = 0.9 * g + 0.1 * jax.nn.sigmoid(v)
    v = v @ CABLE * g + jnp.einsum("nci,bi->bnc", m, x)
    return loss(v), (v, g)


def driven_compartments_on_two_axes(m, s, x):
    v, line = s
    line = jnp.concatenate([v[None], line[:-1]])
    v = CABLE @ v + 0.1 * line[-1] + m @ x
    return loss(v), (v, line)


def linear_recurrent_unit_in_real_numbers(m, s, x):
    c, d = m["r"] * jnp.cos(m["t"]), m["r"] * jnp.sin(m["t"])
    s = jnp.stack([c * s[0] - d * s[1], d * s[0] + c * s[1]]) + (m["b"] @ x).reshape(2, N)
    return loss(s), s


def compartments_by_padding(m, v, x):
    v = jnp.tanh(v @ CABLE + jnp.pad((m @ x)[:, None], ((0, 0), (0, C - 1))))
    return loss(v[:, 0]), v


def compartments_with_channels(m, s, x):
    v, g = s
    g = 0.9 * g + 0.1 * jax.nn.sigmoid(v)
    v = (v @ CABLE * g).at[:, 0].add(m @ x)
    return loss(v), (v, g)


def compartments_summed_along_the_dendrite(m, v, x):
    v = (0.5 * v + 0.1 * jnp.cumsum(v, -1)).at[:, 0].add(m @ x)
    return loss(v[:, -1]), v


def a_quarter_in_one_state(m, s, x):
    """States of unequal length, one after the other: only the first units adapt."""
    v, a = s[:N], s[N:]
    v = 0.8 * v - jnp.concatenate([0.1 * a, jnp.zeros(N - 2)]) + m @ x
    a = 0.9 * a + v[:2]
    return loss(v), jnp.concatenate([v, a])


def two_axes(m, s, x):
    """Compartments, each with a voltage and a current."""
    v, i = s[..., 0], s[..., 1]
    i = (0.7 * i + 0.1 * v).at[:, 0].add(m @ x)
    v = v @ CABLE + i
    return loss(v), jnp.stack([v, i], -1)


W, X, XB = normal(N, F), normal(T, F, seed=1), normal(T, B, F, seed=1)
CASES = {
    stacked: (W, jnp.zeros((2, N)), X, 2 * N * F),
    stacked_along_the_last_axis: (W, jnp.zeros((N, 2)), X, 2 * N * F),
    stacked_in_a_batch: (W, jnp.zeros((2, B, N)), XB, 2 * B * N * F),
    one_after_the_other: ({"w": W, "rho": jnp.full(N, 0.9)}, jnp.zeros(2 * N), X, 2 * N * (F + 1)),
    current_based: (W, jnp.zeros((B, 2 * N)), XB, 2 * B * N * F),
    decay_of_each_state: ({"w": W, "tau": normal(2, N, seed=3)}, jnp.zeros((2, N)), X, 2 * N * F + 4 * N),
    by_a_small_matrix: (W, jnp.zeros((2, N)), X, 2 * N * F),
    mapped_over_units: (W, jnp.zeros((N, 3)), X, 3 * N * F),
    one_unit: (normal(F), jnp.zeros(3), X, 3 * F),
    long_short_term_memory: (normal(4 * N, F), jnp.zeros((2, N)), X, 8 * N * F),
    compartments: (W, jnp.zeros((N, C)), X, C * N * F),
    compartments_by_padding: (W, jnp.zeros((N, C)), X, C * N * F),
    compartments_that_are_all_driven: (normal(N * C, F), jnp.zeros((N, C)), X, C * C * N * F),
    compartments_with_a_weight_each: (
        {name: normal(N, F, seed=i) for i, name in enumerate(("soma", "basal", "apical"))},
        jnp.zeros((N, C)),
        X,
        C * C * N * F,
    ),
    driven_compartments_in_a_batch_with_channels: (
        normal(N, C, F),
        (jnp.zeros((B, N, C)), jnp.zeros((B, N, C))),
        XB,
        B * 2 * C * C * N * F,
    ),
    driven_compartments_on_two_axes: (
        normal(C, N, F),
        (jnp.zeros((C, N)), jnp.zeros((2, C, N))),
        X,
        C * 3 * C * N * F,
    ),
    linear_recurrent_unit_in_real_numbers: (
        {"r": jnp.full(N, 0.8), "t": normal(N), "b": normal(2 * N, F)},
        jnp.zeros((2, N)),
        X,
        4 * N * F + 8 * N,
    ),
    compartments_with_channels: (W, (jnp.zeros((N, C)), jnp.ones((N, C))), X, 2 * C * N * F),
    compartments_summed_along_the_dendrite: (W, jnp.zeros((N, C)), X, C * N * F),
    a_quarter_in_one_state: (W, jnp.zeros(N + 2), X, N * F + 2 * F),
    two_axes: (W, jnp.zeros((N, C, 2)), X, 2 * C * N * F),
}
"""Step: (model, state, inputs, how many numbers a trace needs)."""


@pytest.mark.sweep(3)
@pytest.mark.parametrize(("step", "rule"), runs(CASES))
def test_exact_at_the_size_of_need(step, rule):
    check_exact(step, rule, *CASES[step])


def test_the_state_goes_in_and_comes_out_as_it_is():
    m, state, xs, _ = CASES[two_axes]
    online = etr.etrace_grad(two_axes, etr.DRTRL())
    _, after, *_ = online(m, state, online.init(m, state, xs[0]), xs[0])
    np.testing.assert_array_equal(after, two_axes(m, state, xs[0])[1])


def test_parts_are_named_after_the_array():
    (group,) = etr.compile_graph(compartments, W, jnp.zeros((N, C)), X[0]).hidden_groups
    assert group.paths == (("[:, 0]",), ("[:, 1]",), ("[:, 2]",)) and group.shape == (N,)
    (group,) = etr.compile_graph(current_based, W, jnp.zeros((B, 2 * N)), XB[0]).hidden_groups
    assert group.paths == ((f"[:, 0:{N}]",), (f"[:, {N}:{2 * N}]",))


def test_a_window_that_shifts_units_beside_one_that_overlaps_mixes():
    """Along the units each window holds one element, of the unit before: nothing stays where it is."""

    def step(m, v, x):
        mixed = jax.lax.reduce_window(v, 0.0, jax.lax.add, (1, 3), (1, 1), ((1, -1), (1, 1)))
        v = (0.5 * jnp.tanh(mixed)).at[:, 0].add(m @ x)
        return loss(v), v

    online, state = etr.etrace_grad(step, etr.DRTRL()), jnp.zeros((N, C))
    (row,) = online.graph(W, state, X[0]).report(etr.DRTRL()).rows
    found, *_ = online.scan(W, state, online.init(W, state, X[0]), X, window=1)
    assert not row.exact and error(found, bptt(step, W, state, X)) > 1e-3


def test_ends_are_pulled_back_one_by_one_where_jax_cannot_batch():
    """What is pulled back asks the world by a callback without a rule for batches."""
    ends = [jnp.ones(2) for _ in range(_passes._FEW + 1)]

    def pull(cotangents):
        total = sum(jnp.arange(1.0, len(ends) + 1)[:, None] * jnp.stack(cotangents))
        return [jax.pure_callback(lambda y: y, total, total)], []

    found = jnp.stack([pulled[0] for pulled in _passes._pulled(pull, ends)])
    assert jnp.array_equal(found, jnp.arange(1.0, len(ends) + 1)[:, None] * jnp.ones(2))


def test_layers_in_one_array_are_groups_of_their_own():
    """The second is exact, and the first through a filter, for both move at one rate."""

    def layers(m, s, x):
        first = 0.8 * s[0] + m["a"] @ x
        second = 0.8 * s[1] + m["b"] @ first
        s = jnp.stack([first, second])
        return loss(s[1]), s

    m, state = {"a": W, "b": LOOP}, jnp.zeros((2, N))
    for rule, names in ((etr.DRTRL(), {"a", "b"}), (etr.DRTRL(filters=False), {"b"})):
        online = etr.etrace_grad(layers, rule)
        rows = online.graph(m, state, X[0]).report(rule).rows
        assert {row.path[0] for row in rows if row.exact} == names
        found, *_ = online.scan(m, state, online.init(m, state, X[0]), X, window=1)
        assert all(error(found[name], bptt(layers, m, state, X)[name]) < 1e-9 for name in names)


def reservoir(m, h, x):
    h = jnp.tanh(LOOP @ h + m @ x)
    return loss(h), h


def reservoir_in_a_batch(m, h, x):
    h = jnp.tanh(h @ LOOP + x @ m.T)
    return loss(h), h


def time_constants_of_a_reservoir(m, h, x):
    h = m * h + jnp.tanh(LOOP @ h) + x
    return loss(h), h


def time_constants_without_inputs(m, h, x):
    del x
    h = m * h + jnp.tanh(LOOP @ h)
    return loss(h), h


def without_inputs(m, h, x):
    del x
    h = jnp.tanh(m @ h)
    return loss(h), h


def ring_of_units(m, h, x):
    h = 0.5 * h + 0.3 * jnp.roll(h, 1) + m @ x
    return loss(h), h


def mean_of_a_batch(m, h, x):
    h = 0.5 * h + 0.3 * h.mean(0) + x @ m.T
    return loss(h), h


def normalised(m, h, x):
    h = 0.5 * h
    y = m @ x
    h = h + (y - y.mean()) / (1 + y.std()) + 0.1 * h.sum()
    return loss(h), h


def diffusing(m, h, x):
    h = 0.5 * h + jnp.convolve(h, jnp.array([0.1, 0.2, 0.1]), "same") + m @ x
    return loss(h), h


def heads_of_a_few_units(m, h, x):
    h = jnp.tanh(jnp.einsum("ncd,nd->nc", m["r"], h) + m["w"] @ x)
    return loss(h), h


def mean_of_a_small_batch_of_sheets(m, h, x):
    h = 0.5 * h + 0.1 * h.mean(0) + (x @ m.T).reshape(B, 2, N // 2)
    return loss(h), h


def summed(m, h, x):
    h = 0.5 * jnp.cumsum(h) + m @ x
    return loss(h), h


def two_kinds_of_units(m, h, x):
    h = 0.8 * h + jnp.concatenate([m[:4] @ x, -(m[4:] @ x)]) + LOOP @ jnp.tanh(h)
    return loss(h), h


def a_state_that_nothing_enters(m, s, x):
    h, a = s
    h = 0.5 * h + LOOP @ jnp.tanh(h) + m @ x + a
    return loss(h), (h, 0.9 * a)


H = jnp.zeros(N)
UNITS = {
    reservoir: (W, H, X[0]),
    reservoir_in_a_batch: (W, jnp.zeros((B, N)), XB[0]),
    time_constants_of_a_reservoir: (jnp.full(N, 0.5), H, normal(N)),
    time_constants_without_inputs: (jnp.full(N, 0.5), H, normal(N)),
    without_inputs: (LOOP, H, X[0]),
    ring_of_units: (W, H, X[0]),
    mean_of_a_batch: (W, jnp.zeros((B, N)), XB[0]),
    normalised: (W, H, X[0]),
    diffusing: (W, H, X[0]),
    summed: (W, H, X[0]),
    heads_of_a_few_units: ({"r": normal(N, C, C), "w": normal(N, C, F)}, jnp.zeros((N, C)), X[0]),
    mean_of_a_small_batch_of_sheets: (W, jnp.zeros((B, 2, N // 2)), XB[0]),
    two_kinds_of_units: (W, H, X[0]),
    a_state_that_nothing_enters: (W, (H, H), X[0]),
}


@pytest.mark.parametrize("step", UNITS, ids=lambda step: step.__name__)
def test_units_that_mix_are_not_taken_apart(step):
    """However small the network is: D-RTRL of a small one is that of a large one."""
    m, state, x = UNITS[step]
    graph = etr.compile_graph(step, m, state, x)
    assert all(len(group.paths) <= 2 and "[" not in str(group.paths) for group in graph.hidden_groups)
    assert not any(row.exact for row in graph.report(etr.DRTRL()).rows)


def test_a_packed_state_in_a_network_that_mixes_keeps_its_coupling():
    def spiking(m, s, x):
        v, a = s
        z = jax.nn.sigmoid(v)
        s = jnp.stack([0.8 * v - 0.1 * a + m["w"] @ x + m["u"] @ z, 0.9 * a + z])
        return loss(s[0]), s

    def as_tuple(m, s, x):
        out, s = spiking(m, jnp.stack(s), x)
        return out, (s[0], s[1])

    m, state = {"w": W, "u": LOOP}, jnp.zeros((2, N))
    gradients = []
    for step, s in ((spiking, state), (as_tuple, tuple(state))):
        online = etr.etrace_grad(step, etr.DRTRL())
        gradients.append(online.scan(m, s, online.init(m, s, X[0]), X, window=1)[0])
    assert error(gradients[0], gradients[1]) < 1e-12
    assert error(gradients[0], bptt(spiking, m, state, X)) > 1e-3

"""A lane whose sequence ends begins anew while the others go on, and padding counts for nothing."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lanes import alone, by_bptt, DONE, EXACT, FRESH, KEY, LANES, LIVE, MODEL, RANDOM, RULES, STEPS, together, Units, XS
from oracle import relative

import eqx_etrace as etr

LEAKY, MIXING = Units(0.7), Units(0.0)
GIVEN = ("EProp(kappa)", "OTPE")
"""A filter that was given stands for a readout behind, and that is not reset with the units."""
LEAKS = ("RFLO", "OTTT")
"""A leak in place of D: where D is zero by structure, a reset and a step look alike."""


def gap(found, wanted):
    return max(relative(found[name], wanted[name]) for name in wanted)


@functools.cache
def exact(leak):
    return by_bptt(Units(leak).single)


@pytest.mark.sweep(6)
@pytest.mark.parametrize("name", [n for n in RULES if n not in (*RANDOM, *GIVEN)])
def test_a_where_in_the_step_begins_a_sequence_anew(name):
    """As the rule does with each sequence by itself; where the rule is exact, that is BPTT."""
    found = together(RULES[name], LEAKY.lanes)
    assert gap(found, exact(0.7) if name in EXACT else alone(RULES[name], LEAKY.single)) < 1e-12


@pytest.mark.sweep(6)
@pytest.mark.parametrize("name", RULES)
def test_in_a_window_of_all_steps_it_is_bptt_of_each_sequence(name):
    online, h = etr.etrace_grad(LEAKY.lanes, RULES[name]), jnp.tile(FRESH, (LANES, 1))
    trace = online.init(MODEL, h, XS[0], DONE[0], LIVE[0])
    run = jax.jit(functools.partial(online.scan, window=STEPS))
    assert gap(run(MODEL, h, trace, XS, DONE, LIVE)[0], exact(0.7)) < 1e-12


@pytest.mark.sweep(6)
@pytest.mark.parametrize("name", RANDOM)
def test_under_a_random_rule_nothing_is_left_of_what_came_before(name):
    """Lanes 0 and 2 begin anew at steps 4 and 5, lane 1 is padded from 6 on: what it read there does not count."""
    step = LEAKY.lanes
    other = XS.at[:2].multiply(1.7).at[2:4, 0].multiply(1.7).at[2:5, 2].multiply(1.7).at[6:, 1].multiply(50)
    found, wanted = (together(RULES[name], step, xs, since=5) for xs in (XS, other))
    assert gap(found, wanted) < 1e-12
    assert gap(together(RULES[name], step), together(RULES[name], step, other)) > 1e-3


@pytest.mark.sweep(6)
@pytest.mark.parametrize("name", (*GIVEN, *LEAKS))
def test_what_a_where_does_not_begin_anew(name):
    """As the page says. Mapping over lanes, and emptying traces, does it for every rule."""
    units = LEAKY if name in GIVEN else MIXING
    wanted = alone(RULES[name], units.single)
    assert gap(together(RULES[name], units.lanes), wanted) > 1e-2
    assert gap(by_lane(RULES[name], units), wanted) < 1e-12


@pytest.mark.sweep(6)
@pytest.mark.parametrize("name", EXACT)
def test_lanes_by_vmap_are_bptt_where_the_rule_is_exact(name):
    assert gap(by_lane(RULES[name], MIXING), exact(0.0)) < 1e-12


def by_lane(rule, units):
    """As the page has it: a trace for each lane, which is emptied where a sequence begins."""

    one = etr.etrace_grad(units.single, rule)

    def lane(state, trace, x, done, live):
        state, trace = jnp.where(done, FRESH, state), trace.emptied(done)
        grads, *after = one(MODEL, state, trace, x)
        kept = jax.tree.map(lambda new, old: jnp.where(live, new, old), after, [state, trace])
        return jax.tree.map(lambda g: jnp.where(live, g, 0.0), grads), *kept

    @jax.jit
    def learn(states, traces, x, done, live):
        each, states, traces = jax.vmap(lane)(states, traces, x, done, live)
        return jax.tree.map(lambda g: g.sum(0), each), states, traces

    states, total = jnp.tile(FRESH, (LANES, 1)), jax.tree.map(jnp.zeros_like, MODEL)
    traces = jax.vmap(one.init, (None, 0, 0))(MODEL, states, XS[0])
    xs = jnp.where(LIVE[..., None], XS, jnp.nan)  # not even this counts
    for x, done, live in zip(xs, DONE, LIVE, strict=True):
        grads, states, traces = learn(states, traces, x, done, live)
        total = jax.tree.map(jnp.add, total, grads)
    return total


def test_an_emptied_trace_keeps_its_keys_alone():
    online = etr.etrace_grad(LEAKY.single, etr.UORO(KEY))
    begin = online.init(MODEL, FRESH, XS[0, 0])
    _, _, trace = online(MODEL, FRESH, begin, XS[0, 0])
    for first, before, emptied, held in zip(
        *map(jax.tree.leaves, (begin.values, trace.values, trace.emptied().values, trace.emptied(False).values)),
        strict=True,
    ):
        is_key = first.dtype == jnp.uint32
        np.testing.assert_array_equal(held, before)
        np.testing.assert_array_equal(emptied, before if is_key else first)
        assert not is_key or (before != first).any()

"""Random steps under random rules and windows: what the report calls exact is BPTT, and nothing is silently zero.

A few are part of the tests. A long run, on two cores, and one step that failed in it made smaller:

    python -m pytest -n 2 tests/test_random_steps.py --steps-draws 500 --steps-seed 100
    python -m pytest -n 0 tests/test_random_steps.py --steps-draws 500 --steps-seed 100 --steps-shrink
"""

import dataclasses

import jax
import pytest
from hypothesis import given, HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from random_steps import New, Op, Program, programs, reduced
from random_steps.check import check, check_pullback, check_steps, RULES, WINDOWS

PARTS = 4

_drawn = 0


@pytest.mark.parametrize("part", range(PARTS))
def test_random_steps(part, pytestconfig):
    shrink = pytestconfig.getoption("--steps-shrink")

    @seed(pytestconfig.getoption("--steps-seed") + part)
    @settings(
        max_examples=pytestconfig.getoption("--steps-draws"),
        database=None,
        deadline=None,
        suppress_health_check=(HealthCheck.too_slow,),
        phases=(Phase.generate,),
    )
    @given(programs(), st.sampled_from(sorted(RULES)), st.sampled_from(WINDOWS), st.sampled_from(range(3)))
    def holds(program, rule, window, more):
        global _drawn
        _drawn += 1
        if _drawn % 40 == 0:  # each compiled program holds memory maps, of which a process has few
            jax.clear_caches()
        try:
            check_all(program, rule, window, more)
        except Exception as error:
            if shrink:
                small = reduced(program, lambda p: fails(p, rule, window, more))
                raise AssertionError(f"{small!r}, {rule!r}, {window}") from error
            raise

    holds()


def check_all(program, rule, window, more):
    check(program, "RTRL", 1)
    check(program, rule, window)
    if more == 1:
        check_steps(program, rule)
    if more == 2:
        check_pullback(program, rule, min(window, 1))


def fails(*arguments):
    try:
        check_all(*arguments)
    except Exception:
        return True
    return False


def test_a_failing_step_is_reduced_to_what_fails():
    """Here: a step that mixes something into a scalar."""
    states = (((4,), True), ((), False), ((2, 3), False))
    ops = Op("add", 1, 2, 9), Op("mix", 2, 1, 50), Op("add", 0, 0, 4)
    program = Program(states, ops, (New(3, 1), New(0, 2), New(5, 5)), 3, 2)
    smallest = Program((((), False),), (Op("mix", 0, 0, 0),), (New(0, 0),), 1, 0)
    for start in (program, dataclasses.replace(program, narrow=5), dataclasses.replace(smallest, narrow=1)):
        small = reduced(start, lambda p: ((), False) in p.states and any(op.name == "mix" for op in p.ops))
        assert small == smallest


ONCE_FAILED = {
    "scalars_in_one_group": (
        Program(
            (((), False), ((2, 3), True), ((), False)),
            (Op("shape", 7, 5, 33), Op("add", 6, 0, 52), Op("soft_reset", 6, 6, 34), Op("shape", 1, 4, 23)),
            (New(2, 4), New(2, 2), New(4, 1)),
            3,
            0,
        ),
        "PPProp",
        1,
    ),
    "zero_of_a_scalar": (
        Program(
            (((), False), ((2, 2), True), ((), False)),
            (Op("checkpointed", 1, 3, 51), Op("checkpointed", 1, 3, 51), Op("scatter", 0, 7, 10)),
            (New(3, 5), New(0, 2), New(6, 5)),
            3,
            1,
        ),
        "RTRL",
        1,
    ),
    "path_whose_jacobian_is_zero": (
        Program(
            (((2, 2), False), ((4,), False), ((4,), False)),
            (
                Op("pad", 7, 1, 51),
                Op("pad", 3, 2, 12),
                Op("soft_reset", 4, 2, 38),
                Op("pad", 1, 4, 47),
                Op("inner", 6, 3, 8),
            ),
            (New(0, 5), New(3, 5), New(0, 2)),
            0,
            2,
        ),
        "RTRL",
        1,
    ),
    "new_state_made_past_the_trace": (
        Program(
            (((3,), False), ((4,), False)),
            (Op("select", 0, 2, 0), Op("jitted", 1, 0, 0)),
            (New(0, 0), New(0, 4)),
            0,
            0,
        ),
        "RTRL",
        0,
    ),
    "complex_state_made_of_a_real_value": (Program((((1, 4), True),), (), (New(0, 6),), 1, 0), "SnAp-1", 0),
    "states_of_two_precisions": (
        Program((((4,), False), ((3,), False)), (), (New(0, 0), New(0, 0)), 1, 0, 1),
        "SnAp-1",
        1,
    ),
    "complex_state_kept_in_less": (Program((((3,), True),), (), (New(0, 0),), 2, 0, 1), "DRTRL", 0),
    "not_a_number_where_it_is_compiled": (
        Program(
            (((3,), True),),
            (Op("dense_over_rows", 1, 0, 0), Op("pool", 0, 0, 0), Op("mix_real", 1, 0, 2)),
            (New(0, 0),),
            1,
            2,
        ),
        "DRTRL",
        1,
    ),
    "zero_but_for_rounding": (
        Program(
            (((3,), True), ((2, 2), False), ((2, 3), True)),
            (Op("multiply", 7, 0, 47), Op("rotate", 2, 3, 25), Op("scatter", 7, 0, 40), Op("concatenate", 1, 0, 1)),
            (New(0, 3), New(0, 6), New(0, 4)),
            2,
            0,
        ),
        "PPProp",
        2,
    ),
    "cut_in_a_group_of_values_alone": (
        Program(
            (((), False),),
            (
                Op("heads", 0, 0, 7),
                Op("pad", 0, 2, 57),
                Op("convolve", 1, 0, 27),
                Op("convolve_over_a_weight", 7, 2, 14),
                Op("convolve", 0, 0, 45),
                Op("clipped_cotangent", 7, 1, 18),
                Op("gather", 7, 0, 28),
            ),
            (New(2, 3),),
            0,
            3,
        ),
        "SnAp-2",
        5,
    ),
    "scalar_that_is_an_element_of_another_value": (Program((((), False),), (), (New(0, 6),), 1, 0), "RTRL", 1),
}
"""Steps that random draws found, and what they failed under."""


@pytest.mark.parametrize("name", ONCE_FAILED)
def test_step_that_once_failed(name):
    check(*ONCE_FAILED[name])

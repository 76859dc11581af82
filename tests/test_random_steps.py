"""Random steps under random rules and windows: what the report calls exact is BPTT, and nothing is silently zero."""

import os

import jax
import pytest
from hypothesis import given, HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from random_steps import programs
from random_steps.check import check, check_steps, RULES, WINDOWS

DRAWS = int(os.environ.get("ETRACE_DRAWS", "10"))
"""Steps per part. The long run, on two cores: `ETRACE_DRAWS=500 python -m pytest -n 2 tests/test_random_steps.py`."""
SHRINK = "ETRACE_SHRINK" in os.environ
"""Make a step that fails smaller, which takes minutes."""
PARTS = 6

_drawn = 0


@pytest.mark.parametrize("part", range(PARTS))
def test_random_steps(part):
    @seed(part)
    @settings(
        max_examples=DRAWS,
        database=None,
        deadline=None,
        suppress_health_check=(HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much),
        phases=(Phase.generate, Phase.shrink) if SHRINK else (Phase.generate,),
    )
    @given(programs(), st.sampled_from(sorted(RULES)), st.sampled_from(WINDOWS), st.booleans())
    def holds(program, rule, window, by_steps):
        global _drawn
        _drawn += 1
        if _drawn % 40 == 0:  # each compiled program holds memory maps, of which a process has few
            jax.clear_caches()
        check(program, rule, window)
        if by_steps and window == 1:
            check_steps(program, rule)

    holds()

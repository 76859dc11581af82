"""Operations of JAX, one by one: no pattern misses an element of the Jacobian, and what is called exact is BPTT.

A sample is part of the tests. The whole table, with what of each pattern is denser than it need be:

    python -m pytest -n 0 -m '' -rsP tests/test_sweep.py
"""

import numpy as np
import pytest
from sweep import _check as checks
from sweep import check, OPERATIONS

EVERY = 31
"""A sample is one operation of so many."""
TABLE = [pytest.param(name, marks=pytest.mark.slow if i % EVERY else ()) for i, name in enumerate(OPERATIONS)]


@pytest.mark.parametrize("name", TABLE)
def test_operation(name):
    try:
        found = check(OPERATIONS[name])
    except AttributeError as error:
        if not str(error).startswith("module 'jax"):
            raise
        pytest.skip(f"{name}: {error}")
    if found is None:
        pytest.skip(f"{name}: JAX has no reverse mode for it")
    if found.needless:
        print(f"{name}: {found.needless} of {found.elements} elements of the pattern were never met")


def test_a_missed_element_is_found(monkeypatch):
    monkeypatch.setattr(checks, "pattern_of", lambda graph, shape, jacobian: np.eye(*jacobian, dtype=bool))
    check(OPERATIONS["sin"])
    with pytest.raises(AssertionError, match="wrong pattern: flip"):
        check(OPERATIONS["flip"])

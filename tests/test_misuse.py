"""Every wrong use is answered: by an error that says what was found and what to do, or by the right result.

The uses run in a process of their own, without the import hook of the tests: so the answers are those that users get.
"""

import json
import os
import pathlib
import subprocess
import sys

import pytest
from misuse import CASES
from misuse.page import page

TESTS = pathlib.Path(__file__).parent
PAGE = TESTS.parent / "docs" / "errors.md"
pytestmark = [pytest.mark.xdist_group("misuse"), pytest.mark.outside_sample]


@pytest.fixture(scope="module")
def answers():
    path = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    env = {**os.environ, "PYTHONPATH": path, "MPLBACKEND": "agg", "JAX_ENABLE_X64": "0"}
    run = [sys.executable, "-m", "misuse"]
    done = subprocess.run(run, cwd=TESTS.parent, env=env, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_there_are_many():
    assert len(CASES) > 250 and len({case.kind for case in CASES.values()}) > 12


@pytest.mark.parametrize("name", CASES)
def test_answer(answers, name):
    case, answer = CASES[name], answers[name]
    if case.error is None:
        assert answer == {"type": "accepted", "says": "right"}
        return
    assert answer["type"] == case.error.__name__, answer["says"]
    assert case.found and case.do, "a case says what its answer must say"
    missing = [text for text in (case.found, case.why, case.do, case.where) if text not in answer["says"]]
    assert not missing, f"{missing} not in: {answer['says']}"


def test_the_page_says_what_is_said(answers):
    assert PAGE.read_text() == page(answers), "run: PYTHONPATH=tests python -m misuse.write"

"""Double precision, strict dtype promotion, and one fixed key per test."""

import collections
import gc
import importlib.metadata
import os
import pathlib
import sys
import zlib

# What is compiled here runs for microseconds: do not let XLA spend seconds on making it fast.
# (Later versions than 0.10 do not know the last flag, and would stop.)
os.environ["XLA_FLAGS"] = " ".join(
    [
        os.environ.get("XLA_FLAGS", ""),
        "--xla_backend_optimization_level=0",
        "--xla_llvm_disable_expensive_passes=true",
        "--xla_cpu_parallel_codegen_split_count=1",
        *(["--xla_cpu_use_fusion_emitters=false"] if importlib.metadata.version("jaxlib").startswith("0.10.") else []),
    ]
)

import jax
import pytest
from cases import CASES

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_traceback_in_locations_limit", 0)  # nobody reads, in what is compiled, where it came from


def pytest_addoption(parser):
    """Numbers of the random steps. What is run at all is chosen by markers (`pyproject.toml`)."""
    steps = parser.getgroup("random steps (tests/test_random_steps.py)")
    steps.addoption("--steps-draws", type=int, default=2, help="steps per part; there are four parts (default: 2)")
    steps.addoption("--steps-seed", type=int, default=0, help="another number draws other steps (default: 0)")
    steps.addoption("--steps-shrink", action="store_true", help="make a step that fails smaller, which takes minutes")


@pytest.fixture
def key(request):
    """The same typed key for the same test, in any order and on any worker."""
    return jax.random.key(zlib.crc32(request.node.name.encode()))


@pytest.fixture(autouse=True)
def promotion(request):
    """What users run (README, examples) runs under JAX's default promotion; all else under the strict one."""
    shown = request.module.__name__ in ("test_readme", "test_examples", "test_docs", "test_results")
    with jax.numpy_dtype_promotion("standard" if shown else "strict"):
        yield


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """The tests of a case run in one process, which makes its graph and what it is compared with once.

    Of a table that is a sweep, a part is run by the plain command, and another part by the second interpreter.
    """
    rows, part = collections.Counter(), int(sys.version_info >= (3, 12))
    for item in items:
        sweep = item.get_closest_marker("sweep")
        if sweep is not None:
            rows[item.function] += 1
            if (rows[item.function] + part) % sweep.args[0] != 1 % sweep.args[0]:
                item.add_marker(pytest.mark.slow)
        name = getattr(item, "callspec", None) and item.callspec.params.get("name")
        if isinstance(name, str) and name in CASES:
            item.add_marker(pytest.mark.xdist_group(name))


def pytest_collection_finish():
    """Collect garbage less often: tracing makes many objects and few cycles, and it took a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)


_tests = 0
_MAPS = pathlib.Path("/proc/self/maps")


@pytest.fixture(autouse=True)
def few_programs():
    """Forget compiled programs now and then: each holds memory maps, and Linux allows a process 65,530 of them.

    Beyond that XLA crashes while it compiles.
    """
    global _tests
    yield
    _tests += 1
    if _tests % 10 == 0 and _MAPS.exists() and _MAPS.read_bytes().count(b"\n") > 45_000:
        jax.clear_caches()

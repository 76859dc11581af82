"""Abstract or final; no private JAX; no bare type-ignores; functions of few ways; types are checked in every test."""

import ast
import importlib
import inspect
import pathlib
import pkgutil
import re
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float, jaxtyped, TypeCheckError
from typechecker import checked

import eqx_etrace

ROOT = pathlib.Path(eqx_etrace.__file__).parent
MODULES = [importlib.import_module(m.name) for m in pkgutil.walk_packages(eqx_etrace.__path__, "eqx_etrace.")]
FILES = sorted(ROOT.rglob("*.py"))
CLASSES = sorted(
    {
        value
        for module in MODULES
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, eqx.Module) and value.__module__.startswith("eqx_etrace")
    },
    key=lambda c: c.__qualname__,
)


def is_abstract(cls):
    return bool(cls.__abstractmethods__) or cls.__name__.startswith(("Abstract", "_Abstract"))


@pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.__name__)
def test_abstract_or_final(cls):
    ours = [c for c in cls.__mro__[1:] if c.__module__.startswith("eqx_etrace")]
    assert all(is_abstract(base) for base in ours), f"{cls} extends a concrete class"
    for name, value in vars(cls).items():
        if name.startswith("__") or not inspect.isroutine(value):
            continue
        overridden = [getattr(base, name) for base in ours if name in vars(base)]
        assert all(getattr(method, "__isabstractmethod__", False) for method in overridden), f"{cls}.{name}"


def test_there_are_classes_to_look_at():
    assert {"DRTRL", "AbstractRule", "ETrace"} <= {c.__name__ for c in CLASSES}


FORBIDDEN = {
    "private JAX": r"jax\._src|from jax\._",
    "a bare type-ignore": r"#\s*type:\s*ignore(?!\[)",
    "super()": r"\bsuper\(\)",
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_source_has_none_of(what):
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in FILES
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(FORBIDDEN[what], line)
    ]
    assert not found


FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef
COMPREHENSION = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
MOST_WAYS, USUAL_WAYS = 12, 6
"""Through one function, and through nine of ten: their cyclomatic complexity."""


def nodes_of(kind: Any) -> list[tuple[str, Any]]:
    """Of the whole package, each with where it stands."""
    trees = {path: ast.parse(path.read_text()) for path in FILES}
    nodes: list[tuple[pathlib.Path, Any]] = [(path, node) for path, tree in trees.items() for node in ast.walk(tree)]
    return [(f"{path.relative_to(ROOT)}:{node.lineno}", node) for path, node in nodes if isinstance(node, kind)]


def ways_more(node):
    """How many more ways there are through a function by one node of it."""
    match node:
        case ast.If() | ast.IfExp() | ast.Assert() | ast.ExceptHandler() | ast.match_case():
            return 1
        case ast.For() | ast.AsyncFor() | ast.While():
            return 1 + bool(node.orelse)
        case ast.Try():
            return int(bool(node.orelse))
        case ast.BoolOp():
            return len(node.values) - 1
        case ast.comprehension():
            return 1 + len(node.ifs)
    return 0


def complexity(function):
    """As radon has it, and more: it counts functions inside by themselves, and nothing within an assert."""
    return 1 + sum(ways_more(node) for statement in function.body for node in ast.walk(statement))


def test_no_function_has_too_many_ways_through_it():
    counted = [(f"{at} {node.name}", complexity(node)) for at, node in nodes_of(FUNCTION)]
    assert [(name, ways) for name, ways in counted if ways > MOST_WAYS] == []
    assert np.quantile([ways for _, ways in counted], 0.9) <= USUAL_WAYS


def holds_another(comprehension):
    return any(isinstance(one, COMPREHENSION) for one in ast.walk(comprehension) if one is not comprehension)


def test_no_comprehension_is_inside_another():
    assert [at for at, node in nodes_of(COMPREHENSION) if holds_another(node)] == []


def test_exports_are_explicit():
    text = (ROOT / "__init__.py").read_text().split('"""')[2]
    for line in text.splitlines():
        assert line == "" or line.startswith(("from .", "__version__")), line
        assert not line.startswith("from") or re.search(r"import (\w+) as \1$", line), line


def test_functions_that_look_alike_are_all_checked():
    """Each is made anew, and shares its check with the one before."""

    def make():
        @jaxtyped(typechecker=checked)
        def one(x: Float[Array, " n"], y: Float[Array, " n"]) -> Float[Array, " n"]:
            return x[:, None] + y

        return one

    for _ in range(3):
        with pytest.raises(TypeCheckError, match="parameters"):
            make()(jnp.ones(2), jnp.ones(3))
        with pytest.raises(TypeCheckError, match="return"):
            make()(jnp.ones(2), jnp.ones(2))

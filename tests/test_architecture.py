"""The list of modules in `docs/design.md` is the architecture: each module imports from those above it alone.

And nothing goes past a front door: from outside a folder only what its `__init__` hands out is imported.
"""

import ast
import pathlib

import pytest

import eqx_etrace

ROOT = pathlib.Path(eqx_etrace.__file__).parent
PAGE = ROOT.parent / "docs" / "design.md"


def listed() -> list[str]:
    """The modules of the list, such as `_read.program._link`, from the top."""
    block = PAGE.read_text().split("## The house")[1].split("```")[1]
    folders, found = [], []
    for line in block.strip("\n").splitlines():
        name, depth = line.split()[0], (len(line) - len(line.lstrip())) // 2
        folders = folders[:depth]
        if name.endswith("/"):
            folders.append(name[:-1])
        else:
            found.append(".".join([*folders, name]))
    return found


def name_of(path: pathlib.Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


FILES = {name_of(path): path for path in sorted(ROOT.rglob("*.py")) if path.name != "__init__.py"}
DOORS = {name_of(path).rpartition(".")[0]: path for path in sorted(ROOT.rglob("__init__.py")) if path.parent != ROOT}
ORDER = {name: i for i, name in enumerate(listed())}


def imported(name: str, path: pathlib.Path) -> list[str]:
    """The modules and folders of the package that a module imports from."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = name.split(".")[: -node.level]
            target = [*base, *(node.module or "").split(".")] if node.module else base
            for alias in node.names:
                inner = ".".join([*target, alias.name])
                found.append(inner if inner in FILES or inner in DOORS else ".".join(target))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("eqx_etrace"):
            found.append(node.module)
    return found


def test_the_list_names_every_module_once():
    named = listed()
    assert sorted(named) == sorted(FILES), set(named) ^ set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_imports_point_up_the_list(name):
    for target in imported(name, FILES[name]):
        above = [other for other in ORDER if other == target or other.startswith(f"{target}.")]
        assert above, f"{name} imports {target}, which is no module of the package"
        assert max(ORDER[other] for other in above) < ORDER[name], f"{name} imports {target}, which is not above it"


@pytest.mark.parametrize("name", [*FILES, *(f"{door}.__init__" for door in DOORS)])
def test_nothing_goes_past_a_front_door(name):
    path = FILES[name] if name in FILES else DOORS[name.rpartition(".")[0]]
    for target in imported(name, path):
        folders = [".".join(target.split(".")[:i]) for i in range(1, target.count(".") + 1)]
        passed = [folder for folder in folders if not name.startswith(f"{folder}.")]
        assert not passed, f"{name} imports {target}, past the door of {passed[0]}"


@pytest.mark.parametrize("door", DOORS)
def test_a_door_hands_out_and_does_nothing_else(door):
    body = ast.parse(DOORS[door].read_text()).body
    assert all(
        isinstance(node, ast.ImportFrom) or isinstance(getattr(node, "value", None), ast.Constant) for node in body
    )

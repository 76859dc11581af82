"""Other packages as judges: do they give the spikes that `to_nir(..., for_target=...)` promises?

    python tests/simulators/judge.py [--environments FOLDER] [--write]

Builds an environment for each package in the folder, a temporary one if none is given, unless it is there. Writes the
networks of `tests/nir_networks.py` to files, has the packages read and run them, and compares spike by spike. Fails
where one differs. `--write` puts the table into `docs/nir.md`. NEST runs the networks of `nest_networks.py`, and must
give what is stored in `tests/nest`.
"""

import argparse
import pathlib
import re
import subprocess
import sys
import tempfile

import jax

HERE = pathlib.Path(__file__).parent
jax.config.update("jax_enable_x64", True)
sys.path.insert(0, str(HERE.parent))

import jax.numpy as jnp  # noqa: E402
import nir  # noqa: E402
import nir_networks as given  # noqa: E402
import numpy as np  # noqa: E402

from eqx_etrace.nir import NoRecipeError, to_nir  # noqa: E402

PAGE = HERE.parent.parent / "docs" / "nir.md"
NIR = "nir==1.0.8"
PACKAGES = {
    "norse": ("norse==1.1.0", NIR, "nirtorch==2.6"),
    "snntorch": ("snntorch==1.0.0", NIR, "nirtorch==2.6"),
    "sinabs": ("sinabs==3.1.3", "h5py"),
    "rockpool": ("rockpool[torch]==3.1.0", NIR, "nirtorch==2.6"),
    "spyx": ("spyx==1.0.0", NIR),
}
NEST = ("nest-simulator==3.10.0", "numpy")
STORED = HERE.parent / "nest" / "closed_loop.npz"
AFTERWARDS = {"sinabs": (NIR, "nirtorch==2.6")}
"""Without what the package asks for: sinabs wants a nir of 1.0.4, which cannot read what later ones write."""


def python_of(package: str, wanted: tuple[str, ...], environments: pathlib.Path) -> pathlib.Path:
    """The interpreter that has a package; made if it is not there."""
    folder = environments / package
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run(["python3.11", "-m", "venv", str(folder)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, *wanted], check=True)
        if package in AFTERWARDS:
            subprocess.run([*pip, "--no-deps", *AFTERWARDS[package]], check=True)
    return python


def write_all(folder: pathlib.Path) -> tuple[dict[tuple[str, str], list[str]], dict[tuple[str, str], str]]:
    """By row and package, the names of the files; or why there is none."""
    np.save(folder / "xs.npy", np.asarray(given.XS))
    files: dict[tuple[str, str], list[str]] = {}
    refused: dict[tuple[str, str], str] = {}
    for row, name, net in given.cases():
        for package in PACKAGES:
            try:
                graph = to_nir(given.step, net, net.init_state(), jnp.zeros(given.INPUTS), for_target=package)
            except NoRecipeError as error:
                refused.setdefault((row, package), str(error))
                continue
            stem = f"{package}__{re.sub(r'[ ,]+', '-', name)}"
            nir.write(folder / f"{stem}.nir", graph)
            np.savez(folder / f"{stem}.ours.npz", out=given.run(net, net.init_state()), late=graph.metadata["late"])
            files.setdefault((row, package), []).append(stem)
    return files, refused


def differ(folder: pathlib.Path, stem: str) -> int | str:
    """How many outputs differ; or the error."""
    failed = folder / f"{stem}.error"
    if failed.exists():
        return failed.read_text()
    ours, theirs = np.load(folder / f"{stem}.ours.npz"), np.load(folder / f"{stem}.out.npy")
    late = int(ours["late"])
    return int((abs(ours["out"][: given.STEPS - late] - theirs[late:]) > 1e-6).sum())


def all_that_differ(folder: pathlib.Path, stems: list[str]) -> list[int | str]:
    return [differ(folder, stem) for stem in stems]


def table(found: dict[tuple[str, str], list[int | str]], refused: dict[tuple[str, str], str]) -> str:
    """How many of how many differ, by row and package; a dash where it is refused."""
    rows = list(dict.fromkeys(row for row, _ in [*found, *refused]))
    lines = [f"| | {' | '.join(PACKAGES)} |", f"|---|{'---|' * len(PACKAGES)}"]
    for row in rows:
        cells = [_cell(found[row, package]) if (row, package) in found else "-" for package in PACKAGES]
        lines.append(f"| {row} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(counts: list[int | str]) -> str:
    if any(isinstance(count, str) for count in counts):
        return "fails"
    return f"{sum(int(count) for count in counts)} of {len(counts) * given.STEPS * given.UNITS:,}"


def check_nest(folder: pathlib.Path, environments: pathlib.Path) -> None:
    """Does NEST give what is stored, and what `tests/test_nest.py` compares with?"""
    python = python_of("nest", NEST, environments)
    made = folder / "closed_loop.npz"
    subprocess.run([str(python), str(HERE / "nest_networks.py"), str(made)], check=True, capture_output=True)
    now, stored = np.load(made), np.load(STORED)
    assert sorted(now.files) == sorted(stored.files)
    for name in stored.files:
        np.testing.assert_array_equal(now[name], stored[name], err_msg=name)
    print(f"NEST 3.10.0 learns as it did: {len(stored.files)} arrays are the same")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environments", type=pathlib.Path)
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        environments = asked.environments or folder / "environments"
        files, refused = write_all(folder)
        for package in PACKAGES:
            python = python_of(package, PACKAGES[package], environments)
            run = [str(python), str(HERE / "read.py"), package, str(folder)]
            subprocess.run(run, check=True, capture_output=True)
        found = {key: all_that_differ(folder, stems) for key, stems in files.items()}
        check_nest(folder, environments)
    shown = table(found, refused)
    print(shown)
    if asked.write:
        before, _, after = re.split(r"(<!-- spikes -->.*?<!-- end -->)", PAGE.read_text(), maxsplit=1, flags=re.DOTALL)
        PAGE.write_text(f"{before}<!-- spikes -->\n{shown}\n<!-- end -->{after}")
    wrong = {key: counts for key, counts in found.items() if any(counts)}
    assert not wrong, wrong


if __name__ == "__main__":
    main()

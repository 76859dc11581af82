"""Write the table into the page: `python tests/transforms`."""

import pathlib
import sys

import jax


def main() -> None:
    from transforms import PAGE, table

    before, _, after = PAGE.read_text().partition("| | `")
    PAGE.write_text(before + table() + "\n\n" + after.partition("\n\n")[2])


if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
    jax.config.update("jax_enable_x64", True)
    main()

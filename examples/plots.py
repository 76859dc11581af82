"""The pictures of docs/plots.md, made by the code that the page shows.

python examples/plots.py --out docs/plots
"""

import argparse
import os
import re
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

PAGE = Path(__file__).parent.parent / "docs" / "plots.md"


def main() -> None:
    parser = argparse.ArgumentParser(description="The pictures of docs/plots.md.")
    parser.add_argument("--out", type=Path, default=PAGE.parent / "plots", help="the folder to write them to")
    parser.add_argument("--png", action="store_true", help="as pixels, to look at, and not as vectors")
    options = parser.parse_args()
    os.environ["SOURCE_DATE_EPOCH"] = "0"  # the same picture is the same file
    matplotlib.rcParams["svg.hashsalt"] = "plots"
    options.out.mkdir(parents=True, exist_ok=True)
    os.chdir(options.out)
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL))
    exec(compile(code.replace(".svg", ".png") if options.png else code, str(PAGE), "exec"), {"__name__": "page"})
    print(f"Pictures: {options.out}")


if __name__ == "__main__":
    main()

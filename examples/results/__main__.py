"""The table of results: every task, online and by BPTT, five seeds.

    python examples/results                            # what is missing, then the page: an hour on two cores
    python examples/results --tasks evidence --seeds 0 # one task, one seed: minutes
    python examples/results --short                    # all tasks on a small budget; nothing is kept

What a full run gave is kept in `examples/results/kept`, and not run again (`--again` does). The page is
`docs/results.md`.
"""

import argparse
import time

import harness
import page
from tasks import TASKS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--methods", nargs="+", help="of those of the task; all if not given")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--again", action="store_true", help="also what was run before")
    parser.add_argument("--short", action="store_true", help="a small budget, one seed; nothing is kept")
    given = parser.parse_args()
    for task in (TASKS[name] for name in given.tasks):
        methods = tuple(m for m in task.methods if given.methods is None or m in given.methods)
        if given.short:
            try_out(task, methods, given.seeds[0])
        else:
            harness.run(task, given.seeds, methods, given.again)
            page.write(task)


def try_out(task: harness.Task, methods: tuple[str, ...], seed: int) -> None:
    """Every method for a short while."""
    for method in methods:
        began = time.perf_counter()
        outcome = task.train(method, seed, harness.Budget(short=True))
        print(f"{task.name}: {method}: {outcome.score:.4g} in {time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()

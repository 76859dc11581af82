"""How much memory influences on blocks may take, and what to say if they take more."""

import operator
from collections.abc import Sequence
from typing import Any

from ._on_blocks import AbstractBlockRule, BlockKeeper
from ._rule import AbstractKeeper


def as_bytes(name: str, given: Any) -> int:
    """An argument that is a number of bytes."""
    if isinstance(given, bool) or not hasattr(given, "__index__"):
        raise TypeError(f"`{name}` is {given!r}; it must be an integer, a number of bytes.")
    if operator.index(given) < 0:
        raise ValueError(f"`{name}` is {given}; it is a number of bytes and must not be negative.")
    return operator.index(given)


class TraceTooLargeError(ValueError):
    """The traces of a rule take more than its limit: what they take, and what to do."""

    def __str__(self) -> str:
        return " ".join(map(str, self.args))


def check_limits(keepers: Sequence[AbstractKeeper]) -> None:
    """**Raises** `TraceTooLargeError` if the influences of one rule together take more bytes than it allows."""
    for mine in _by_rule([keeper for keeper in keepers if isinstance(keeper, BlockKeeper)]):
        rule, needed = mine[0].rule, sum(keeper.bytes for keeper in mine)
        if needed > rule.most_bytes:
            largest = max(mine, key=lambda keeper: keeper.bytes)
            names, shape = " and ".join(largest.weight.names), largest.layout.shape
            raise TraceTooLargeError(
                f"{rule} needs {needed:,} bytes for its traces, more than its limit of {rule.most_bytes:,}. The "
                f"largest is that of {names}, {shape}: each of its elements influences {shape[1]} scalars of the "
                "state.",
                _advice(rule, needed),
            )


def _by_rule(keepers: Sequence[BlockKeeper]) -> list[list[BlockKeeper]]:
    """Those of equal rules together; a rule of the user's need not be hashable."""
    parted: list[list[BlockKeeper]] = []
    for keeper in keepers:
        alike = [mine for mine in parted if mine[0].rule is keeper.rule or mine[0].rule == keeper.rule]
        if alike:
            alike[0].append(keeper)
        else:
            parted.append([keeper])
    return parted


def _advice(rule: AbstractBlockRule, needed: int) -> str:
    """What to do about a rule whose traces need more bytes than it allows."""
    less = "" if rule.steps == 1 else "`SnAp(1)`, "
    return (
        f"Raise the limit{_with_limit(rule, needed)}, or use {less}"
        "`DRTRL()` or `PPProp(decay)`, which approximate; `ETraceGraph.report` gives the memory of each."
    )


def _with_limit(rule: AbstractBlockRule, limit: int) -> str:
    """How to raise it, of a rule of this package."""
    steps = "" if rule.steps is None else f"{rule.steps}, "
    is_ours = type(rule).__module__.startswith(__name__.rpartition(".")[0])
    return f" (`{type(rule).__name__}({steps}limit={limit})`)" if is_ours else ""

"""Rules that keep influence on blocks of the state: RTRL, and SnAp."""

import abc
import dataclasses
import math
import operator
from collections.abc import Sequence
from typing import Any

import equinox as eqx
from jaxtyping import Array, Inexact, PyTree

from ..._read import Cut
from .._transition import Signal, Transition, Transitions
from ..by_position import TraceLayout
from ..on_blocks import advance_influence, BlockLayout, contract_influence, entered_rows, through_window, zero_influence
from ._drtrl import DRTRL
from ._rule import AbstractKeeper, AbstractRule, Weight

_DIAGONAL, _FILTERED = DRTRL(filters=False), DRTRL()


class AbstractBlockRule(AbstractRule):
    """A rule that keeps influence on chosen scalars of the state, with the full Jacobian between them."""

    @property
    @abc.abstractmethod
    def steps(self) -> int | None:
        """The scalars that a weight reaches within so many steps are kept; for None, in any number."""

    @property
    @abc.abstractmethod
    def most_bytes(self) -> int:
        """The most memory that the traces may take."""

    def keep(self, weight: Weight) -> Sequence[AbstractKeeper]:
        """One influence for every source; or the trace of `DRTRL`, where that holds all credit and is no larger."""
        instead = self._instead(weight)
        if instead is not None:
            return instead.keep(weight)
        return [BlockKeeper(self, weight, layout) for layout in weight.blocks(self.steps)]

    def _instead(self, weight: Weight) -> DRTRL | None:
        """Whose trace is exact, and no larger."""
        if self.steps is not None:
            return None
        if weight.by_position.is_exact:
            return _DIAGONAL
        is_better = weight.filtered.is_exact and _size(weight.filtered.sites) <= _size(weight.blocks(None))
        return _FILTERED if is_better else None

    def drops(self, weight: Weight, parameter: int) -> tuple[Cut, ...]:
        """What no Jacobian follows, and what is reached in more steps."""
        instead = self._instead(weight)
        if instead is not None:
            return instead.drops(weight, parameter)
        cuts = list(weight.analysis.unfollowed[parameter])
        for keeper in self.keep(weight):
            if isinstance(keeper, BlockKeeper) and not keeper.layout.is_whole:
                cuts += weight.by_position.dropped(parameter) or [self._beyond(keeper)]
        return tuple(cuts)

    def _beyond(self, keeper: "BlockKeeper") -> Cut:
        source = keeper.layout.source
        what = f"influence that takes more than {self.steps} step{'' if self.steps == 1 else 's'}"
        where = "" if source.use is None else source.use.equation.source
        return Cut(min(keeper.groups), source.weight, what, where)

    def holds_all(self, weight: Weight) -> bool:
        """Every influence is whole, and all that it goes through is followed."""
        instead = self._instead(weight)
        if instead is not None:
            return instead.holds_all(weight)
        is_whole = all(layout.is_whole for layout in weight.blocks(self.steps))
        return is_whole and not any(weight.analysis.unfollowed[p] for p in weight.parameters)


@dataclasses.dataclass(frozen=True, eq=False)
class BlockKeeper(AbstractKeeper):
    """The influence of one source."""

    rule: AbstractBlockRule
    layout: BlockLayout

    def init(self) -> PyTree[Array]:
        return zero_influence(self.layout)

    def advance(self, value: PyTree[Array], transition: Transition) -> PyTree[Array]:
        return advance_influence(self.layout, value, transition.block_drive(self.layout))

    def advance_window(self, value: PyTree[Array], transitions: Transitions) -> PyTree[Array] | None:
        """One product with what all steps do together, where that is known: of a whole block."""
        drive = transitions.block_window(self.layout)
        return None if drive is None else through_window(self.layout, value, drive, transitions.idle)

    @property
    def follows_d(self) -> bool:
        """It follows the whole Jacobian."""
        return False

    def contract(self, value: PyTree[Array], signal: Signal) -> Inexact[Array, "..."]:
        return contract_influence(self.layout, value, signal.on_scalars)

    def rows(self, transition: Transition, signal: Signal) -> Inexact[Array, "..."]:
        return entered_rows(self.layout, transition.block_drive(self.layout).response, signal.on_scalars)

    @property
    def work(self) -> int:
        """J e, what enters, and the contraction: of a call per step. Over many steps `scan` takes less."""
        return math.prod(self.layout.shape) * (self.layout.shape[1] + 2)

    @property
    def missed_at_window_0(self) -> int:
        return self.weight.analysis.past_new


def _size(layouts: Sequence[TraceLayout] | Sequence[BlockLayout]) -> int:
    """How many numbers are kept."""
    return sum(math.prod(one.shape) * (len(one.states) if isinstance(one, TraceLayout) else 1) for one in layouts)


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
                f"Raise the limit{_with_limit(rule, needed)}, or use {'' if rule.steps == 1 else '`SnAp(1)`, '}"
                "`DRTRL()` or `PPProp(decay)`, which approximate; `ETraceGraph.report` gives the memory of each.",
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


def _with_limit(rule: AbstractBlockRule, limit: int) -> str:
    """How to raise it, of a rule of this package."""
    steps = "" if rule.steps is None else f"{rule.steps}, "
    return f" (`{type(rule).__name__}({steps}limit={limit})`)" if isinstance(rule, RTRL | SnAp) else ""


class RTRL(AbstractBlockRule):
    """Real-time recurrent learning at the cost of the structure: exact.

    The influence of an effective weight on everything that it can ever reach. The pattern of the step's Jacobian says
    what that is: a batch, a diagonal recurrence, heads side by side fall into small blocks by themselves; a dense
    recurrent network is one block per lane, and its trace then has the size of weights times units times lanes. Per
    block,

        e  <-  J e  +  dh/dy (x) x .

    `scan` takes many steps at once, at any window, with the products of their Jacobians: of a dense network of n units
    that is about 3 n^3 multiplications per step, where a call per step takes n^4. What the steps leave until then takes
    no more memory than the traces, or 64 MiB if that is more, beside them.

    Where the trace of `DRTRL` is exact already, it is used instead, and the report says `DRTRL`. A step whose Jacobian
    has too many entries that can be anything but zero (2^25) is refused before anything is computed.

    Exact means: for the output of the step; a state that never reaches it is not followed for its own sake. Credit
    through a call whose backward rule is not linear in the cotangent (clipping, rounding) is followed by no trace; the
    report names the call.

    **Arguments**

    - `limit`: the most bytes that the traces on blocks may take, 2^30 (1 GiB) by default: a dense network of 640 units
      in single precision and one lane. Above it, `ValueError` says how many they need.

    Source: Williams and Zipser, "A learning algorithm for continually running fully recurrent neural networks", Neural
    Computation 1989, equation 7, restricted to where it is not zero; over many steps Schmidhuber, "A fixed size storage
    O(n^3) time complexity learning algorithm for fully recurrent continually running networks", Neural Computation
    1992.
    """

    limit: int = eqx.field(default=2**30, static=True, converter=lambda limit: as_bytes("limit", limit))

    @property
    def steps(self) -> None:
        """Influence is kept however many steps it takes."""

    @property
    def most_bytes(self) -> int:
        """The limit."""
        return self.limit


class SnAp(AbstractBlockRule):
    """The sparse n-step approximation of RTRL.

    Of the influence of a weight it keeps that on the scalars of the state which the weight reaches within n steps, with
    the true Jacobian between them. SnAp(1) keeps the true diagonal, that of the recurrent weights included; of a weight
    that reaches several scalars in one step (by a normalisation over units, say) it keeps the block of those. Zeros of
    masked weights count: a weight that a constant mask holds at zero reaches nothing and has no trace. With n large
    enough it is RTRL. A mask is seen where the step closes over it; an array in the model counts as data.

    **Arguments**

    - `n`: how many steps, at least 1.
    - `limit`: the most bytes that the traces may take, 2^30 (1 GiB) by default. Above it, as for `RTRL`.

    Source: Menick et al., "Practical real time recurrent learning with a sparse approximation", ICLR 2021.
    """

    n: int = eqx.field(static=True, converter=lambda n: _as_steps(n))
    limit: int = eqx.field(default=2**30, static=True, converter=lambda limit: as_bytes("limit", limit))

    @property
    def steps(self) -> int:
        """Within how many steps."""
        return self.n

    @property
    def most_bytes(self) -> int:
        """The limit."""
        return self.limit


def as_bytes(name: str, given: Any) -> int:
    """An argument that is a number of bytes."""
    if isinstance(given, bool) or not hasattr(given, "__index__"):
        raise TypeError(f"`{name}` is {given!r}; it must be an integer, a number of bytes.")
    if operator.index(given) < 0:
        raise ValueError(f"`{name}` is {given}; it is a number of bytes and must not be negative.")
    return operator.index(given)


def _as_steps(n: Any) -> int:
    if isinstance(n, bool) or not hasattr(n, "__index__"):
        raise TypeError(f"`n` is {n!r}; it must be an integer: it counts steps.")
    steps = operator.index(n)
    if steps < 1:
        raise ValueError(f"`n` is {steps}; it counts steps, at least 1. For no trace at all use `NoTrace()`.")
    return steps

"""Rules that keep influence on blocks of the state: RTRL, and SnAp."""

import abc
import dataclasses
import math
from collections.abc import Sequence

from jaxtyping import Array, Inexact, PyTree

from ..._read import Cut
from .._transition import Signal, Transition, Transitions
from ..by_position import TraceLayout
from ..on_blocks import advance_influence, BlockLayout, contract_influence, entered_rows, through_window, zero_influence
from ._drtrl import DRTRL
from ._rule import AbstractKeeper, AbstractRule
from ._weight import Weight

_DIAGONAL, _FILTERED = DRTRL(filters=False), DRTRL()


class AbstractBlockRule(AbstractRule):
    """A rule that keeps influence on chosen scalars of the state, with the full Jacobian between them."""

    @property
    @abc.abstractmethod
    def steps(self) -> int | None:
        """The scalars that a weight reaches within so many steps are kept; for None, in any number."""

    @property
    @abc.abstractmethod
    def in_layer(self) -> bool:
        """Are those of other layers left out: of states that the weight's own do not feed and are fed by?"""

    @property
    @abc.abstractmethod
    def most_bytes(self) -> int:
        """The most memory that the traces may take."""

    def layouts(self, weight: Weight) -> Sequence[BlockLayout]:
        """On what the influence of every source of a weight is kept."""
        return weight.by_layer if self.in_layer else weight.blocks(self.steps)

    def keep(self, weight: Weight) -> Sequence[AbstractKeeper]:
        """One influence for every source; or the trace of `DRTRL`, where that holds all credit and is no larger."""
        instead = self._instead(weight)
        if instead is not None:
            return instead.keep(weight)
        return [BlockKeeper(self, weight, layout) for layout in self.layouts(weight)]

    def _instead(self, weight: Weight) -> DRTRL | None:
        """Whose trace is exact, and no larger."""
        if self.steps is not None:
            return None
        if weight.by_position.is_exact:
            return _DIAGONAL
        if self.in_layer:  # what a readout behind filters is of another layer
            return None
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
                cuts += self._missed(weight, parameter, keeper)
        return tuple(cuts)

    def _missed(self, weight: Weight, parameter: int, keeper: "BlockKeeper") -> Sequence[Cut]:
        """By an influence that is not whole: what a trace by position drops, if it can tell, or that there is more."""
        dropped = () if self.in_layer else weight.by_position.dropped(parameter)
        return dropped or [self._beyond(keeper)]

    def _beyond(self, keeper: "BlockKeeper") -> Cut:
        source = keeper.layout.source
        what = "influence by way of another layer"
        if not self.in_layer:
            what = f"influence that takes more than {self.steps} step{'' if self.steps == 1 else 's'}"
        where = "" if source.use is None else source.use.equation.source
        return Cut(min(keeper.groups), source.weight, what, where)

    def holds_all(self, weight: Weight) -> bool:
        """Every influence is whole, and all that it goes through is followed."""
        instead = self._instead(weight)
        if instead is not None:
            return instead.holds_all(weight)
        is_whole = all(layout.is_whole for layout in self.layouts(weight))
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
        return contract_influence(self.layout, value, signal.on_block(self.layout))

    def rows(self, transition: Transition, signal: Signal) -> Inexact[Array, "..."]:
        return entered_rows(self.layout, transition.block_drive(self.layout).response, signal.on_block(self.layout))

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

"""No trace at all: the baseline."""

from collections.abc import Sequence

from jaxtyping import Array, Inexact

from ..by_position import Drive, Trace, Window
from ._base import AbstractPositionRule


class NoTrace(AbstractPositionRule):
    """The window alone: backpropagation through time, truncated to the length of the window.

    Credit that reaches back further is dropped. Every other rule adds to this.

    Source: Williams and Peng, "An efficient gradient-based algorithm for on-line training of recurrent network
    trajectories", Neural Computation 1990, with windows that do not overlap.
    """

    def init(self, trace: Trace) -> tuple[()]:
        del trace
        return ()

    def advance(self, trace: Trace, value: tuple[()], drive: Drive) -> tuple[()]:
        del trace, drive
        return value

    def advance_window(self, trace: Trace, value: tuple[()], window: Window) -> tuple[()]:
        del trace, window
        return value

    def contract(self, trace: Trace, value: tuple[()], signal: Sequence[Inexact[Array, "..."]]) -> None:
        del trace, value, signal

    def approximates(self, trace: Trace) -> str | None:
        del trace
        return "no trace is kept"

    def work(self, trace: Trace) -> int:
        del trace
        return 0

"""No trace at all: the baseline."""

from ..._read import Cut
from ._rule import AbstractRule
from ._weight import Weight


class NoTrace(AbstractRule):
    """The window alone: backpropagation through time, truncated to the length of the window.

    Credit that reaches back further is dropped. Every other rule adds to this.

    Source: Williams and Peng, "An efficient gradient-based algorithm for on-line training of recurrent network
    trajectories", Neural Computation 1990, with windows that do not overlap.
    """

    def keep(self, weight: Weight) -> tuple[()]:
        """Nothing."""
        del weight
        return ()

    def drops(self, weight: Weight, parameter: int) -> tuple[Cut, ...]:
        """All credit that a trace would hold, and what mixes positions."""
        sites = [weight.analysis.sites[site.number] for site in weight.sites]
        given_up = [Cut(site.group, site.weight, "no trace is kept", site.equation.source) for site in sites]
        return (*weight.by_position.dropped(parameter), *given_up)

    def holds_all(self, weight: Weight) -> bool:
        """Nothing is held."""
        del weight
        return False

"""What keepers may ask of a step, of a window of steps, and of the learning signal.

By position it is D, dh/dy and x of a site; on blocks of the state it is J, dh/dy and x of a source.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import equinox as eqx
import jax
from jaxtyping import Array, Inexact

from .._read import Analysis
from .by_position import compose, Drive, Jacobians, TraceLayout, Window
from .on_blocks import as_scalars, BlockDrive, BlockLayout
from .xla import after

Place = TraceLayout | BlockLayout
"""Where an effective weight enters the step: a site, or a source."""


class Transition(eqx.Module):
    """What one step does to all that is kept."""

    by_position: Jacobians
    on_blocks: dict[int, BlockDrive]
    """By the number of a source."""

    def drive(self, layout: TraceLayout) -> Drive:
        """What it does to one trace by position."""
        return self.by_position.drive(layout)

    def block_drive(self, layout: BlockLayout) -> BlockDrive:
        """What it does to one influence on blocks."""
        return self.on_blocks[layout.number]

    def after(self, first: Sequence[Inexact[Array, "..."]]) -> "Transition":
        """The same, known only once all of `first` is: what is advanced by it is then written over in place."""
        jacobians = {number: drive.jacobian for number, drive in self.on_blocks.items()}
        decay, jacobians = after(first, (self.by_position.decay, jacobians))
        blocks = {n: BlockDrive(jacobians[n], drive.response, drive.x) for n, drive in self.on_blocks.items()}
        return Transition(Jacobians(decay, self.by_position.response, self.by_position.x), blocks)


@dataclasses.dataclass(frozen=True, eq=False)
class Transitions:
    """What the steps of a window do, uncomposed; their composition by the true D is a service."""

    analysis: Analysis
    sites: tuple[TraceLayout, ...]
    """All sites of which a trace is kept."""
    find: Callable[[], Jacobians]
    """Of every step, stacked along time: found when a keeper asks first."""
    first: Sequence[Inexact[Array, "..."]]
    """What must be known before a trace is written over."""

    def window(self, layout: TraceLayout) -> Window:
        """What they do to one trace by position."""
        return Window(layout, lambda: self._all_steps, lambda: self._whole)

    @functools.cached_property
    def _all_steps(self) -> Jacobians:
        return self.find()

    @functools.cached_property
    def _whole(self) -> Jacobians:
        whole = compose(self.analysis.groups, self.sites, self._all_steps)
        return Jacobians(after(self.first, whole.decay), whole.response, whole.x)


@dataclasses.dataclass(frozen=True, eq=False)
class Signal:
    """The learning signal: a cotangent of every array of the state, by number."""

    on_states: Sequence[Inexact[Array, "..."]]
    """What traces by position meet: at window 0 each with the other states of its group held fixed."""
    alone: Sequence[Inexact[Array, "..."]]
    """What influences on the whole state meet: at window 0 each with all other states held fixed."""

    @functools.cached_property
    def on_scalars(self) -> Inexact[Array, " n"]:
        """One of every scalar of the state."""
        return as_scalars(self.alone)

    @property
    def negative(self) -> "Signal":
        """Its negative, for what is taken off."""
        on_states, alone = jax.tree.map(lambda g: -g, (list(self.on_states), list(self.alone)))
        return Signal(on_states, alone)

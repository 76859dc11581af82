"""What keepers may ask of a step, of a window of steps, and of the learning signal.

By position it is D, dh/dy and x of a site; on blocks of the state it is J, dh/dy and x of a source.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Bool, Inexact

from .._read import Analysis, pick
from .._sharding import zeros
from .by_position import carry_back, compose, Drive, Jacobians, OfTail, TraceLayout, When, Window
from .on_blocks import as_scalars, BlockDrive, BlockLayout, Passes, ProductLayout
from .xla import after

Place = TraceLayout | BlockLayout | ProductLayout
"""Where an effective weight enters the step: a site, or a source."""


class Transition(eqx.Module):
    """What one step does to all that is kept."""

    by_position: Jacobians
    on_blocks: dict[int, BlockDrive]
    """By the number of a source."""
    by_passes: Passes | None = eqx.field(static=True, default=None)
    """One vector through the step, where a keeper asks for that."""

    @property
    def passes(self) -> Passes:
        """What takes one vector through the step."""
        assert self.by_passes is not None, "a step that no keeper of a product was told of"
        return self.by_passes

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
        return Transition(Jacobians(decay, self.by_position.response, self.by_position.x), blocks, self.by_passes)


@dataclasses.dataclass(frozen=True, eq=False)
class Transitions:
    """What the steps of a window do, uncomposed; their composition by the true D is a service."""

    analysis: Analysis
    sites: tuple[TraceLayout, ...]
    """All sites of which a trace is kept."""
    find: Callable[[], Jacobians]
    """Of every step, stacked along time: found when a keeper asks first."""
    first: Sequence[Inexact[Array, "..."]] = ()
    """What must be known before a trace is written over."""
    on_blocks: Mapping[int, BlockDrive] = dataclasses.field(default_factory=dict)
    """What they do together to influences on whole blocks, by the number of a source, where that has been found."""

    idle: Bool[Array, ""] | bool = False
    """Where it holds, these influences stay as they are: they were taken step by step."""

    def block_window(self, layout: BlockLayout) -> BlockDrive | None:
        """What they do together to one influence on blocks; None where it must be taken step by step."""
        return self.on_blocks.get(layout.number)

    def after(self, first: Sequence[Inexact[Array, "..."]]) -> "Transitions":
        """The same; what is advanced by them is written over in place, once all of `first` is known."""
        return dataclasses.replace(self, find=lambda: self.all_steps, first=first)

    def window(self, layout: TraceLayout) -> Window:
        """What they do to one trace by position."""
        return Window(layout, lambda: self.all_steps, lambda: self._whole)

    def carry_back(self, signals: Mapping[int, OfTail], when: When) -> tuple[dict[int, OfTail], dict[int, OfTail]]:
        """Learning signals of every step, by the true D: at the first state, and at every new state, stacked."""
        return carry_back(self.analysis.tail, self.sites, self.all_steps, signals, when)

    @functools.cached_property
    def all_steps(self) -> Jacobians:
        """By position, stacked along time."""
        return self.find()

    @functools.cached_property
    def _whole(self) -> Jacobians:
        whole = compose(self.analysis.tail, self.sites, self.all_steps)
        return Jacobians(after(self.first, whole.decay), whole.response, whole.x)


@dataclasses.dataclass(frozen=True, eq=False)
class Signal:
    """The learning signal: a cotangent of every array of the state, by number."""

    on_states: Sequence[Inexact[Array, "..."]]
    """What traces by position meet: at window 0 each with the other states of its group held fixed."""
    alone: Sequence[Inexact[Array, "..."]]
    """What influences on the whole state meet: at window 0 each with all other states held fixed."""
    by_layer: Mapping[frozenset[int], Sequence[Inexact[Array, "..."]]] = dataclasses.field(default_factory=dict)
    """What influences on one layer meet, where that differs: each with the states of the layer held fixed."""
    by_tail: Mapping[int, Sequence[Inexact[Array, "..."]]] = dataclasses.field(default_factory=dict)
    """What traces with filters meet, where that differs: each with all states held fixed that the trace tells of."""
    on_filter: Callable[[Sequence[Inexact[Array, "..."]], int], Inexact[Array, "..."]] | None = None
    """From cotangents of every array of the state to that of a filter, by its number; None if no trace has filters."""
    carried: Mapping[int, OfTail] = dataclasses.field(default_factory=dict)
    """By hidden group, what its traces meet, where that is known already: signals of many steps, carried back."""

    def of(self, layout: TraceLayout) -> tuple[Inexact[Array, "..."], ...]:
        """What one trace by position meets: one array per state of the trace, by row."""
        return layout.signal(self.on_tail(layout))

    def on_tail(self, layout: TraceLayout) -> OfTail:
        """The same of every state and filter of its group, in their layout."""
        if layout.group in self.carried:
            return self.carried[layout.group]
        on_states = self.by_tail.get(layout.group, self.on_states)

        def one(number: int) -> Inexact[Array, "..."]:
            if number < len(on_states):
                return on_states[number]
            assert self.on_filter is not None, "a trace with filters, and nothing to pull a signal back to them"
            return self.on_filter(on_states, number)

        return tuple(one(number) for number in layout.leaves)

    @functools.cached_property
    def on_scalars(self) -> Inexact[Array, " n"]:
        """One of every scalar of the state."""
        return as_scalars(self.alone)

    def on_block(self, layout: BlockLayout) -> Inexact[Array, " n"]:
        """What one influence on blocks meets: one of every scalar of the state."""
        if layout.layer is None or layout.layer not in self.by_layer:
            return self.on_scalars
        return as_scalars(self.by_layer[layout.layer])

    @property
    def negative(self) -> "Signal":
        """Its negative, for what is taken off."""
        return Signal(
            _negative(self.on_states),
            _negative(self.alone),
            {layer: _negative(gs) for layer, gs in self.by_layer.items()},
            {tail: _negative(gs) for tail, gs in self.by_tail.items()},
            self.on_filter,
        )


def _negative(cotangents: Sequence[Inexact[Array, "..."]]) -> list[Inexact[Array, "..."]]:
    return [-g for g in cotangents]


def filter_signals(
    analysis: Analysis, fixed: Mapping[Any, Any]
) -> Callable[[Sequence[Inexact[Array, "..."]], int], Inexact[Array, "..."]]:
    """From cotangents of the states to that of a filter: g_r pulled back through L."""
    filters = {one.number: one for tail in analysis.filtered.tails for one in tail.filters}
    program = analysis.step.program

    def on_filter(on_states: Sequence[Inexact[Array, "..."]], number: int) -> Inexact[Array, "..."]:
        if number < len(on_states):
            return on_states[number]
        one = filters[number]
        eqn, operand = one.entrance.equation, one.entrance.operand

        def made(z: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
            others = {v: fixed.get(v) for v in eqn.inputs}
            empty = {v: zeros(program.avals[v]) for v in eqn.inputs if others[v] is None}
            operands = [{**others, **empty}[v] for v in eqn.inputs]
            operands[operand] = z
            return eqn.bind(operands)[0]

        z, y = (program.avals[v] for v in (one.entrance.source, one.entrance.output))
        on_y = pick(on_filter(on_states, one.state), one.reads).astype(y.dtype)
        return jax.vjp(made, zeros(z))[1](on_y)[0]

    return on_filter

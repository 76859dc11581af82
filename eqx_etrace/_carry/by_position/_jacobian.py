"""What steps do to the traces: D and dh/dy, of one step, of many stacked, of a window composed.

D belongs to a hidden group and is shared by its traces; it is kept in the layout of the states, and each trace reads it
row by row. Over a window of K steps the recursion is linear, so that it is one step of the same form, with

    D  =  D_K ... D_1          dh_t/dy  <-  D_K ... D_{t+1} dh_t/dy   for every t.
"""

import dataclasses
import functools
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Inexact

from ..._read import Analysis, HiddenGroup, Positions
from .._dtype import widest
from .._status import any_unit, times
from ..xla import after
from ._layout import elements, pick, Trace

Matrix = tuple[tuple[Inexact[Array, "..."] | None, ...], ...]
"""[s][s'], in the layout of the state s' or by row; None where it is zero by structure."""


class Drive(eqx.Module):
    """What one step, or a window, does to one trace, laid out by the rows of its head."""

    decay: Matrix
    """D, for the states that the trace supports."""
    entry: tuple[Inexact[Array, "..."] | None, ...]
    """[s] dh_s/dy; stacked along time for a window."""
    x: Inexact[Array, "..."] | None
    """What the weight met; stacked along time for a window."""


class Jacobians(eqx.Module):
    """What one step, or a window, does to every trace."""

    decay: tuple[Matrix, ...]
    """By hidden group: D in the layout of the old state; empty for a group without a trace."""
    entry: tuple[tuple[Inexact[Array, "..."] | None, ...], ...]
    """By trace: dh_s/dy by row."""
    x: tuple[Inexact[Array, "..."] | None, ...]
    """By trace."""

    def after(self, first: Sequence[Inexact[Array, "..."]]) -> "Jacobians":
        """The same, known only once all of `first` is."""
        return Jacobians(after(first, self.decay), self.entry, self.x)

    def drive(self, trace: Trace) -> Drive:
        decay = self.decay[trace.group]
        rows = tuple(tuple(trace.folded(decay[s].__getitem__, r) for r in trace.states) for s in trace.states)
        return Drive(rows, self.entry[trace.number], self.x[trace.number])


@dataclasses.dataclass(frozen=True)
class Window:
    """What a window of steps does to one trace."""

    trace: Trace
    all_steps: Jacobians
    """Of every step, stacked along time."""
    whole: Jacobians
    """Of the window, composed."""

    @property
    def composed(self) -> Drive:
        """As one step: D over all of it, dh/dy of every step carried to its end."""
        return self.whole.drive(self.trace)

    @property
    def steps(self) -> Drive:
        """Step by step, stacked along time."""
        return jax.vmap(lambda step: step.drive(self.trace))(self.all_steps)


def lanes(drive: Drive) -> tuple[Bool[Array, "*t b m"], Bool[Array, "*t b m"]]:
    """In which lanes a step holds every unit's states as they are, and in which it cuts them off from their past.

    Of a weight that has features. A held step is the identity, and nothing enters. A step cuts where D is zero: in a
    reset by value, and always where it is zero by structure.
    """
    entering = [any_unit(rows != 0) for rows in drive.entry if rows is not None]
    decays = [(int(s == r), d) for s, row in enumerate(drive.decay) for r, d in enumerate(row)]
    is_held = ~functools.reduce(jnp.logical_or, [*entering, *(any_unit(d != i) for i, d in decays if d is not None)])
    reaching = [any_unit(d != 0) for _, d in decays if d is not None]
    is_cut = ~functools.reduce(jnp.logical_or, reaching, jnp.zeros_like(is_held))
    return is_held & all(d is not None or not i for i, d in decays), is_cut


def compose(analysis: Analysis, traces: tuple[Trace, ...], steps: Jacobians) -> Jacobians:
    """Of a window, from those of its steps, stacked along time."""
    length = jax.tree.leaves(steps)[0].shape[0] if traces else 0
    composed = [
        _products(analysis.groups[g], decay, _dtype(traces, g), length) if decay else ((), ())
        for g, decay in enumerate(steps.decay)
    ]
    entry = tuple(_carried(trace, composed[trace.group][1], steps.entry[trace.number]) for trace in traces)
    return Jacobians(tuple(product for product, _ in composed), entry, steps.x)


def _dtype(traces: tuple[Trace, ...], group: int) -> np.dtype:
    """That of D, which is real."""
    return jnp.finfo(widest(*(trace.dtype for trace in traces if trace.group == group))).dtype


def _carried(
    trace: Trace, after: Matrix, entry: tuple[Inexact[Array, "t ..."] | None, ...]
) -> tuple[Inexact[Array, "t ..."] | None, ...]:
    """What every step put in, carried on to the end of the window."""

    def end(s: int) -> Array | None:
        onward = {r: jax.vmap(lambda row, r=r: trace.folded(row.__getitem__, r))(after[s]) for r in trace.states}
        terms = [
            times(p, d)
            for r, d in zip(trace.states, entry, strict=True)
            if d is not None and (p := onward[r]) is not None
        ]
        return sum(terms[1:], terms[0]) if terms else None

    return tuple(end(s) for s in trace.states)


def _products(group: HiddenGroup, decay: Matrix, dtype: np.dtype, length: int) -> tuple[Matrix, Matrix]:
    """D_K ... D_1, and D_K ... D_{t+1} for every t."""
    positions = group.positions
    states = range(group.num_states)
    reach = _reachable(decay)

    def before(after: Matrix, now: Matrix) -> tuple[Matrix, Matrix]:
        def dot(s: int, c: int) -> Array | None:
            if not reach[s][c]:
                return None
            terms = [
                times(_between(positions[r], positions[c], p), d.astype(dtype))
                for r in states
                if (p := after[s][r]) is not None and (d := now[r][c]) is not None
            ]
            return sum(terms[1:], terms[0]).astype(dtype) if terms else jnp.zeros(positions[c].shape, dtype)

        return tuple(tuple(dot(s, c) for c in states) for s in states), after

    identity = tuple(
        tuple(jnp.full(positions[c].shape, float(s == c), dtype) if reach[s][c] else None for c in states)
        for s in states
    )
    return jax.lax.scan(before, identity, decay, length, reverse=True)


def _between(source: Positions, target: Positions, values: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
    """Values in the layout of one state, in the layout of another."""
    if source.shape == target.shape and (source == target).all():
        return values
    return pick(values, elements(source, target))


def _reachable(decay: Matrix) -> list[list[bool]]:
    """Which state can reach which, in any number of steps; each reaches itself in none."""
    size = range(len(decay))
    reach = [[decay[s][r] is not None or s == r for r in size] for s in size]
    for through in size:
        reach = [[reach[s][r] or (reach[s][through] and reach[through][r]) for r in size] for s in size]
    return reach

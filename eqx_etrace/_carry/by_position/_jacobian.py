"""What steps do to the traces by position: D and dh/dy, of one step, of many stacked, of a window composed.

D belongs to a hidden group and is shared by its traces; it is kept in the layout of the states, and each trace reads it
row by row. Over a window of K steps the recursion e <- D e + dh/dy (x) x is linear, so that it is one step of the same
form, with

    D  =  D_K ... D_1          dh_t/dy  <-  D_K ... D_{t+1} dh_t/dy   for every t,

and learning signals g_t of the states meet it as one signal of the first state, and one of every new state:

    mu_t  =  g_t + mu_{t+1} D_{t+1}          sum_t g_t . J_t  =  mu_0 . J_0  +  sum_t (mu_t dh_t/dy) (x) x_t .
"""

import dataclasses
import enum
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Inexact

from ..._read import elements, pick, Positions, Tail
from ..._sharding import scan
from ..._times import times
from .._dtype import widest
from .._status import any_unit
from ._layout import TraceLayout

Matrix = tuple[tuple[Inexact[Array, "..."] | None, ...], ...]
"""[s][s'], in the layout of the state s' or by row; None where it is zero by structure."""
Rows = tuple[Inexact[Array, "..."] | None, ...]
"""[s], by row; None where the site does not enter the state in the same step."""


_MANY = 8
"""States of a group whose products are not written out one by one."""

OfTail = tuple[Inexact[Array, "..."], ...]
"""[s], of every state and filter of a group, in its layout."""


class When(enum.Enum):
    """Which trace the learning signal of a step meets."""

    BEFORE = "that before the step"
    AFTER = "that after it"
    PAST = "that after it, but for what the step itself put in"


class Drive(eqx.Module):
    """What one step does to one trace, laid out by the rows of its head; over many steps stacked along time."""

    decay: Matrix
    """[s][s'] D, for the states of the trace: [b, m, n] each, or None where it is zero by structure."""
    response: Rows
    """[s] dh_s/dy: [b, m, n] each, or None where the site does not enter that state in the same step."""
    x: Inexact[Array, "..."] | None
    """[b, m, k], what the weight met; None for an elementwise parameter."""

    @property
    def is_coupled(self) -> bool:
        """Can a new state depend on an old one, by structure?"""
        return bool(_pairs(self.decay))

    @property
    def first_rows(self) -> Inexact[Array, "..."]:
        """dh_s/dy of the first state that the site enters in the same step; the others are laid out as it is."""
        return next(rows for rows in self.response if rows is not None)

    @property
    def held_rows(self) -> Bool[Array, "..."]:
        """Where the step holds a unit's states as they are: D is the identity, and nothing enters."""
        moves = [rows != 0 for rows in self.response if rows is not None]
        moves += [d != int(s == r) for s, r, d in _pairs(self.decay)]
        is_kept = all(row[s] is not None for s, row in enumerate(self.decay))
        return ~functools.reduce(jnp.logical_or, moves) & is_kept

    @property
    def cut_rows(self) -> Bool[Array, "..."]:
        """Where the step cuts a unit's states off from their past: a reset, or a D that is zero by structure."""
        reaching = [d != 0 for _, _, d in _pairs(self.decay)]
        return ~functools.reduce(jnp.logical_or, reaching, jnp.zeros_like(self.held_rows))

    @property
    def held_lanes(self) -> Bool[Array, "*t b m"]:
        """Where the step holds every unit's states as they are. Of a weight that has features, as `cut_lanes`."""
        return ~any_unit(~self.held_rows)

    @property
    def cut_lanes(self) -> Bool[Array, "*t b m"]:
        """Where the step cuts every unit's states off from their past."""
        return ~any_unit(~self.cut_rows)


def _pairs(decay: Matrix) -> list[tuple[int, int, Inexact[Array, "..."]]]:
    """(s, s', D[s, s']) where it can be anything but zero."""
    return [(s, r, d) for s, row in enumerate(decay) for r, d in enumerate(row) if d is not None]


class Jacobians(eqx.Module):
    """What one step does to every trace that is kept; over many steps stacked along time."""

    decay: dict[int, Matrix]
    """By hidden group: D in the layout of the old state."""
    response: dict[int, Rows]
    """By the number of a site: dh_s/dy by row."""
    x: dict[int, Inexact[Array, "..."] | None]
    """By the number of a site."""

    def drive(self, layout: TraceLayout) -> Drive:
        """What it does to one trace."""
        decay = self.decay[layout.group]
        rows = tuple(_folded(layout, decay[s]) for s in layout.states)
        return Drive(rows, self.response[layout.number], self.x[layout.number])


def _folded(layout: TraceLayout, row: Sequence[Inexact[Array, "..."] | None]) -> Rows:
    """One row of a matrix over the states of a group, for the states of a trace and by its rows."""
    return tuple(layout.folded(row.__getitem__, r) for r in layout.states)


@dataclasses.dataclass(frozen=True, eq=False)
class Window:
    """What a window of steps does to one trace."""

    layout: TraceLayout
    all_steps: Callable[[], Jacobians]
    """Those of every step, stacked along time; found when they are asked for."""
    whole: Callable[[], Jacobians]
    """Those of the window, composed."""

    @functools.cached_property
    def composed(self) -> Drive:
        """As one step by the true D: D over all of it; dh/dy of every step, carried to the end, stacked along time."""
        return self.whole().drive(self.layout)

    @functools.cached_property
    def steps(self) -> Drive:
        """Step by step, stacked along time."""
        return jax.vmap(lambda step: step.drive(self.layout))(self.all_steps())


def compose(tail_of: Callable[[int], Tail], layouts: Sequence[TraceLayout], steps: Jacobians) -> Jacobians:
    """Of a window, from those of its steps, stacked along time."""
    length = jax.tree.leaves(steps)[0].shape[0] if layouts else 0
    dtypes = {group: _dtype(layouts, group) for group in steps.decay}
    composed = {g: _products(tail_of(g), decay, dtypes[g], length) for g, decay in steps.decay.items()}
    response = {
        layout.number: _carried(layout, composed[layout.group][1], steps.response[layout.number]) for layout in layouts
    }
    return Jacobians({group: whole for group, (whole, _) in composed.items()}, response, steps.x)


def carry_back(
    tail_of: Callable[[int], Tail],
    layouts: Sequence[TraceLayout],
    steps: Jacobians,
    signals: Mapping[int, OfTail],
    when: When,
) -> tuple[dict[int, OfTail], dict[int, OfTail]]:
    """Signals by hidden group, stacked along time: mu_0, and mu_t of every step, stacked."""
    dtypes = {group: _dtype(layouts, group) for group in signals}

    def back(later: dict[int, OfTail], now: tuple[Any, dict[int, OfTail]]) -> tuple[Any, dict[int, OfTail]]:
        """From what later steps put on a new state to the same of the old state, and what is to meet dh/dy."""
        decay, here = now[0], {group: _cast(g, dtypes[group]) for group, g in now[1].items()}
        on_new = later if when is When.BEFORE else _sum(later, here)
        on_old = {group: _pulled(tail_of(group).positions, on_new[group], decay[group]) for group in signals}
        return _sum(on_old, here) if when is When.BEFORE else on_old, later if when is When.PAST else on_new

    def nothing(group: int) -> OfTail:
        return tuple(jnp.zeros(positions.shape, dtypes[group]) for positions in tail_of(group).positions)

    decay = {group: steps.decay[group] for group in signals}
    return scan(back, {group: nothing(group) for group in signals}, (decay, dict(signals)), reverse=True)


def _cast(arrays: OfTail, dtype: np.dtype) -> OfTail:
    return tuple(array.astype(dtype) for array in arrays)


def _sum(first: dict[int, OfTail], second: dict[int, OfTail]) -> dict[int, OfTail]:
    return jax.tree.map(jnp.add, first, second)


def _pulled(positions: Sequence[Positions], on_new: OfTail, decay: Matrix) -> OfTail:
    """mu D, in the layout of every old state."""

    def one(r: int) -> Array:
        rows = [(s, row[r]) for s, row in enumerate(decay)]
        pairs = [(_between(positions[s], positions[r], on_new[s]), d) for s, d in rows if d is not None]
        terms = [times(m, d.astype(m.dtype)) for m, d in pairs]
        return sum(terms[1:], terms[0]) if terms else jnp.zeros_like(on_new[r])

    return tuple(map(one, range(len(positions))))


def _dtype(layouts: Sequence[TraceLayout], group: int) -> np.dtype:
    """That of D, which is real."""
    return jnp.finfo(widest(*(layout.dtype for layout in layouts if layout.group == group))).dtype


def _carried(layout: TraceLayout, onward: Matrix, response: Rows) -> Rows:
    """What every step put in, carried on to the end of the window."""

    def end(s: int) -> Array | None:
        by_row = jax.vmap(lambda row: _folded(layout, row))(onward[s])
        terms = [times(p, d) for p, d in zip(by_row, response, strict=True) if p is not None and d is not None]
        return sum(terms[1:], terms[0]) if terms else None

    return tuple(end(s) for s in layout.states)


def _products(tail: Tail, decay: Matrix, dtype: np.dtype, length: int) -> tuple[Matrix, Matrix]:
    """D_K ... D_1, and D_K ... D_{t+1} for every t."""
    positions, states = tail.positions, range(len(tail.numbers))
    reach = reachable(decay)
    if len(states) > _MANY and all(np.array_equal(positions[0], other) for other in positions):
        return _products_together(decay, dtype, reach)

    def before(onward: Matrix, now: Matrix) -> tuple[Matrix, Matrix]:
        def dot(s: int, c: int) -> Array | None:
            pairs = [(r, onward[s][r], now[r][c]) for r in states]
            terms = [
                times(_between(positions[r], positions[c], p), d.astype(dtype))
                for r, p, d in pairs
                if p is not None and d is not None
            ]
            return sum(terms[1:], terms[0]).astype(dtype) if terms else jnp.zeros(positions[c].shape, dtype)

        return matrix_of(dot, reach), onward

    def identity(s: int, c: int) -> Array:
        return jnp.full(positions[c].shape, float(s == c), dtype)

    return scan(before, matrix_of(identity, reach), decay, length, reverse=True)


def _products_together(decay: Matrix, dtype: np.dtype, reach: list[list[bool]]) -> tuple[Matrix, Matrix]:
    """The same of many states with the same positions, as arrays [s, c]: written out it is cubic in their number."""
    shape = next(d.shape for _, _, d in _pairs(decay))
    nothing = jnp.zeros(shape, dtype)
    steps = jnp.stack([_stacked(row, nothing) for row in decay], 1)
    one = jnp.eye(len(decay), dtype=dtype).reshape(*steps.shape[1:3], *(1,) * (len(shape) - 1))

    def before(onward: Array, now: Array) -> tuple[Array, Array]:
        def add(total: Array, both: tuple[Array, Array]) -> tuple[Array, None]:
            return total + times(*jnp.broadcast_arrays(both[0][:, None], both[1][None])), None

        whole, _ = scan(add, jnp.zeros_like(onward), (jnp.moveaxis(onward, 1, 0), now))
        return whole, onward

    whole, onward = scan(before, jnp.broadcast_to(one, steps.shape[1:]), steps, reverse=True)
    return matrix_of(lambda s, c: whole[s, c], reach), matrix_of(lambda s, c: onward[:, s, c], reach)


def _stacked(row: Sequence[Inexact[Array, "..."] | None], nothing: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
    """One row of D of every step, stacked along time, with the states as the second axis."""
    return jnp.stack([nothing if d is None else d.astype(nothing.dtype) for d in row], 1)


def matrix_of(of: Callable[[int, int], Array | None], reach: list[list[bool]]) -> Matrix:
    """[s][c], None where the state c reaches s in no number of steps."""
    size = range(len(reach))

    def row(s: int) -> tuple[Array | None, ...]:
        return tuple(of(s, c) if reach[s][c] else None for c in size)

    return tuple(map(row, size))


def _between(start: Positions, end: Positions, values: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
    """Values in the layout of one state, in the layout of another."""
    if start.shape == end.shape and (start == end).all():
        return values
    return pick(values, elements(start, end))


def reachable(decay: Matrix) -> list[list[bool]]:
    """Which state can reach which, in any number of steps; each reaches itself in none."""
    here = np.eye(len(decay), dtype=bool)
    for s, r, _ in _pairs(decay):
        here[s, r] = True
    return np.linalg.matrix_power(here, len(decay)).tolist()

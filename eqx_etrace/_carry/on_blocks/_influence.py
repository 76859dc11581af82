"""Influence on blocks of the state: how it is stored, and its recursion.

Rows of a source (see `_analysis._influence`) that influence the same scalars of the state form a group. With g groups
of r scalars and q rows, and k features,

    e[g, i, q, k]  <-  sum_j J[g, i, j] e[g, j, q, k]  +  dh_i/dy_q x[q, k] ,

where J is the Jacobian of the step between the r scalars. Groups are padded to one size. All entries of J and of dh/dy
are read from one reverse pass per colour. What a weight that is complex, or meets complex data, influences is complex,
in JAX's convention of cotangents: dh = Re(e dw).
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Inexact, Int

from ..._read import Analysis, Matrix, Reach, Source, Structure
from .._dtype import widest
from .._head import Head, make_head
from .._status import entering_any, finite, lane_status, met, Stored, worst
from ..xla import after, apply_blocks, for_each, scale_blocks, take, take_rows, through_blocks, written_out


@dataclasses.dataclass(frozen=True, eq=False)
class Influence:
    """The layout of the influence of one source."""

    source: Source
    head: Head
    reach: Reach
    order: Int[np.ndarray, " q"]
    """The rows of the source in the layout of its head, by their numbers among those that `reach` has."""
    nonzero: Bool[np.ndarray, "b n k"] | None
    """Which elements of the weight can be anything but zero, in the layout of its head; None for all."""
    structure: Structure
    is_whole: bool
    """Is nothing dropped: do the scalars hold all that can ever be influenced?"""
    dtype: np.dtype

    @functools.cached_property
    def _counts(self) -> tuple[int, int]:
        """Groups, and rows of the largest.

        Rows that reach the same scalars are together, if they fall in groups of about one size; else each is by itself.
        """
        kinds = self.reach.kinds[self.order]
        _, counts = np.unique(kinds[kinds >= 0], return_counts=True)
        most, count = int(counts.max(initial=0)), int(counts.sum())
        return (count, 1) if most * counts.size > 1.2 * count else (counts.size, most)

    @functools.cached_property
    def _members(self) -> list[list[int]]:
        """The rows of every group."""
        found: dict[int, list[int]] = {}
        for row, kind in enumerate(self.reach.kinds[self.order].tolist()):
            if kind >= 0:
                found.setdefault(kind, []).append(row)
        if self._counts[1] > 1:
            return list(found.values())
        return [[row] for rows in found.values() for row in rows]

    @functools.cached_property
    def slots(self) -> Int[np.ndarray, "g r"]:
        """The scalars of the state; -1 where a group has fewer."""
        one_of_each = np.array([self.order[rows[0]] for rows in self._members], int)
        return _padded(self.reach.written_out(one_of_each))

    @functools.cached_property
    def rows(self) -> Int[np.ndarray, "g q"]:
        """The rows of the source, in the layout of its head; -1 where a group has fewer."""
        return _padded(self._members)

    @functools.cached_property
    def columns(self) -> Int[np.ndarray, "g q k"] | None:
        """Which features are kept of each row, -1 for none; None for all, and for a source without features."""
        if self.nonzero is None or self._features_kept == self.head.shape[-1]:
            return None
        return _padded([np.flatnonzero(kept) for kept in self._kept]).reshape(*self.rows.shape, -1)

    @functools.cached_property
    def _kept(self) -> Bool[np.ndarray, "rows k"]:
        """For every row in the groups, the features that its weights are not zero for."""
        assert self.nonzero is not None
        _, m, n, _ = self.head.shape
        lane, unit = np.divmod(np.maximum(self.rows, 0), n)
        return self.nonzero[(lane // m).ravel(), unit.ravel()]

    @functools.cached_property
    def _features_kept(self) -> int:
        return self.head.shape[-1] if self.nonzero is None else int(self._kept.sum(-1).max(initial=0))

    @functools.cached_property
    def leaves(self) -> frozenset[int]:
        """The hidden states that it reaches."""
        return self.reach.leaves(self.order, self.structure.leaf)

    @functools.cached_property
    def within(self) -> Bool[np.ndarray, "g r r"]:
        """Which entries of J can be anything but zero."""
        at, valid = np.maximum(self.slots, 0), self.slots >= 0
        found = _look_up(self.structure.jacobian, at[:, :, None], at[:, None, :])
        return found & valid[:, :, None] & valid[:, None, :]

    @functools.cached_property
    def entering(self) -> Bool[np.ndarray, "g r q"]:
        """Which rows enter which scalars in the same step."""
        first = self.structure.first[self.order].T.tocsr()
        found = _look_up(first, np.maximum(self.slots, 0)[:, :, None], np.maximum(self.rows, 0)[:, None, :])
        return found & (self.slots >= 0)[:, :, None] & (self.rows >= 0)[:, None, :]

    @functools.cached_property
    def shape(self) -> tuple[int, ...]:
        """Known without the scalars themselves: (groups, scalars, rows, features)."""
        g, q = self._counts
        r = int(self.reach.sizes[self.order].max(initial=0))
        return (g, r, q, self._features_kept) if self.head.has_features else (g, r, q)

    @property
    def bytes(self) -> int:
        scalars = math.prod(self.shape[:2]) if self.head.has_features else 0
        return math.prod(self.shape) * self.dtype.itemsize + scalars * self._real.itemsize

    @property
    def _real(self) -> np.dtype:
        return jnp.finfo(self.dtype).dtype

    def init(self) -> "Inexact[Array, '...'] | Stored":
        """Before the first step."""
        e = jnp.zeros(self.shape, self.dtype)
        return Stored(e, jnp.zeros(self.shape[:2], self._real)) if self.head.has_features else e

    @property
    def work(self) -> int:
        """Multiply-adds of one step: J e, what enters, and the contraction."""
        return math.prod(self.shape) * (self.shape[1] + 2)

    def advance(
        self,
        value: "Inexact[Array, 'g r q'] | Stored",
        jacobian: Inexact[Array, "g r r"],
        entry: Inexact[Array, "g r q"],
        x: Inexact[Array, "b m k"] | None,
    ) -> "Inexact[Array, 'g r q'] | Stored":
        if not isinstance(value, Stored):
            return apply_blocks(jacobian, value) + entry
        assert x is not None
        first = self._lanes[:, :1]
        lanes = take(lane_status(x).reshape(-1), first if (self._lanes == first).all() else self._lanes)
        new = finite(entry)[..., None] * self._features(finite(x))[:, None]
        status = through_blocks(jacobian, value.status[..., None])[..., 0], entering_any(entry, lanes[:, None])
        return Stored(scale_blocks(finite(jacobian), value.e) + new, worst(status, self._real))

    def contract(
        self, value: "Inexact[Array, 'g r q'] | Stored", signal: Inexact[Array, " n"]
    ) -> Inexact[Array, "..."]:
        """The cotangent of the effective weight, from one of every scalar of the state."""
        on_slots = _where(self.slots >= 0, take(signal, np.maximum(self.slots, 0))).astype(self.dtype)[:, None]
        if isinstance(value, Stored):
            per_row = jnp.einsum("gr,gr...->g...", met(on_slots[:, 0], value.status), value.e)
        else:
            per_row = apply_blocks(on_slots, value)[:, 0]
        if not self.head.has_features:
            return self.head.to_weight(self._by_row(per_row).reshape(self.head.shape))
        b, m, n, k = self.head.shape
        if self.columns is None:
            return self.head.to_weight(self._by_row(per_row).reshape(b, m, n, k).sum(1))
        at = ((self._lanes // m) * n + np.maximum(self.rows, 0) % n)[..., None] * k + np.maximum(self.columns, 0)
        kept = jnp.where((self.rows >= 0)[..., None] & (self.columns >= 0), per_row, 0)
        return self.head.to_weight(jnp.zeros(b * n * k, self.dtype).at[at.ravel()].add(kept.ravel()).reshape(b, n, k))

    def rows_of(self, entry: Inexact[Array, "g r q"], signal: Inexact[Array, " n"]) -> Inexact[Array, "..."]:
        """The cotangent of the head's output by what one step put in."""
        on_slots = _where(self.slots >= 0, take(signal, np.maximum(self.slots, 0)))
        by_row = self._by_row(apply_blocks(on_slots.astype(entry.dtype)[:, None], entry)[:, 0])
        return by_row.reshape(self.head.shape[:-1] if self.head.has_features else self.head.shape)

    def _by_row(self, values: Inexact[Array, "g q ..."]) -> Inexact[Array, "rows ..."]:
        """From groups to rows in order; zero for rows that influence nothing."""
        where = np.full(self.source.rows, -1)
        flat = self.rows.ravel()
        where[flat[flat >= 0]] = np.flatnonzero(flat >= 0)
        picked = values.reshape(flat.size, *values.shape[2:])
        if where.size == flat.size and (where == np.arange(flat.size)).all():
            return picked
        here = (where >= 0).reshape(-1, *(1,) * (values.ndim - 2))
        return jnp.where(here, picked[np.maximum(where, 0)], 0)

    @property
    def _lanes(self) -> Int[np.ndarray, "g q"]:
        """The lane of every row."""
        return np.maximum(self.rows, 0) // self.head.shape[2]

    def _features(self, x: Inexact[Array, "b m k"]) -> Inexact[Array, "g q f"]:
        per_row = take_rows(x.reshape(-1, x.shape[-1]), self._lanes)
        if self.columns is None:
            return per_row
        picked = jnp.take_along_axis(per_row, np.maximum(self.columns, 0), axis=-1)
        return jnp.where(self.columns >= 0, picked, 0)


class Entries(eqx.Module):
    """What one step does to every influence."""

    jacobian: tuple[Inexact[Array, "_ _ _"], ...]
    """By influence: [g, r, r]."""
    entry: tuple[Inexact[Array, "_ _ _"], ...]
    """[g, r, q]"""
    x: tuple[Inexact[Array, "..."] | None, ...]

    def after(self, first: Sequence[Inexact[Array, "..."]]) -> "Entries":
        """The same, known only once all of `first` is."""
        return Entries(after(first, self.jacobian), self.entry, self.x)


def make_influence(
    analysis: Analysis, source: Source, steps: int | None, nonzero: Bool[np.ndarray, "..."] | None
) -> Influence:
    """The layout of the influence of one source on what it reaches in so many steps; for None, in any number.

    `nonzero` says which elements of the weight can be anything but zero; None for all.
    """
    program = analysis.step.program
    head = make_head(program, source.weight, None if source.use is None else source.use.equation)
    order = source.start + head.to_rows(np.arange(source.rows).reshape(head.output)).ravel()
    reach, everything = analysis.structure.reach(steps), analysis.structure.reach(None)
    whole = int(reach.sizes[order].sum()) == int(everything.sizes[order].sum())
    avals, states = program.avals, analysis.step.states
    met = [source.weight] if source.use is None else [source.weight, source.use.data, source.use.output]
    dtype = widest(*(avals[v].dtype for v in (*met, *states)))
    kept = None if nonzero is None or not head.has_features else _by_row(head, nonzero)
    return Influence(source, head, reach, order, kept, analysis.structure, whole, dtype)


def _look_up(pattern: Matrix, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    rows, columns = np.broadcast_arrays(rows, columns)
    return np.asarray(pattern[rows.ravel(), columns.ravel()]).reshape(rows.shape).astype(bool)


def _padded(lists: Sequence[Sequence[int] | np.ndarray]) -> np.ndarray:
    out = np.full((len(lists), max(map(len, lists), default=0)), -1)
    for row, found in zip(out, lists, strict=True):
        row[: len(found)] = found
    return out


def _by_row(head: Head, nonzero: np.ndarray) -> Bool[np.ndarray, "b n k"]:
    """Elements of the weight in the layout of its head."""
    b, _, n, k = head.shape
    order = head.to_weight(np.arange(b * n * k).reshape(b, n, k))
    flat = np.zeros(b * n * k, bool)
    flat[order.ravel()] = np.broadcast_to(nonzero, order.shape).ravel()
    return flat.reshape(b, n, k)


def entries(
    analysis: Analysis,
    influences: tuple[Influence, ...],
    back: Callable[..., Any],
    features: dict[int, Array],
) -> Entries:
    """Read them from one reverse pass per colour.

    `back` maps cotangents of the new states to those of (effective weights, old states, heads' outputs); `features` are
    the values of what heads met, by variable.
    """
    colours = analysis.structure.colours
    on_weights, on_old, on_heads = written_out(for_each(back))(_seeds(analysis))
    old = jax.vmap(as_scalars)(on_old)
    heads = {use.output: ct for use, ct in zip(analysis.body.heads, on_heads, strict=True)}
    weights = dict(zip(analysis.body.weights, on_weights, strict=True))
    jacobian, entry, x = [], [], []
    for influence in influences:
        source, head = influence.source, influence.head
        at = np.maximum(influence.slots, 0)
        found = _where(influence.within, take(old, colours[at][:, :, None] * old.shape[1] + at[:, None, :]))
        jacobian.append(found.astype(jnp.finfo(influence.dtype).dtype))
        on_rows = weights[source.weight] if source.use is None else heads[source.use.output]
        by_row = jax.vmap(head.to_rows)(on_rows).reshape(on_rows.shape[0], -1)
        rows = np.maximum(influence.rows, 0)[:, None, :]
        found = _where(influence.entering, take(by_row, colours[at][:, :, None] * by_row.shape[1] + rows))
        entry.append(found.astype(influence.dtype))
        x.append(None if source.use is None else head.to_features(features[source.use.data]).astype(influence.dtype))
    return Entries(tuple(jacobian), tuple(entry), tuple(x))


def _where(kept: Bool[np.ndarray, "..."], values: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
    return values if kept.all() else jnp.where(kept, values, 0)


def as_scalars(leaves: list[Inexact[Array, "..."]]) -> Inexact[Array, " n"]:
    """Cotangents of a state, as those of its scalars."""
    dtype = widest(*(leaf.dtype for leaf in leaves))
    return jnp.concatenate([leaf.reshape(-1).astype(dtype) for leaf in leaves])


def _seeds(analysis: Analysis) -> list[Array]:
    colours = analysis.structure.colours
    hot = jnp.asarray(colours)[None] == jnp.arange(int(colours.max(initial=0)) + 1)[:, None]
    seeds, start = [], 0
    for var in analysis.step.new_states:
        shape, dtype = analysis.step.program.shape(var), analysis.step.program.avals[var].dtype
        size = int(np.prod(shape))
        seeds.append(hot[:, start : start + size].astype(dtype).reshape(hot.shape[0], *shape))
        start += size
    return seeds

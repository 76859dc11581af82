"""The layout of a trace on blocks of the state: which scalars of the state each row of a source is kept on.

Rows of a source (see `_read.on_blocks`) that influence the same scalars of the state form a group. With g groups of r
scalars and q rows, and k features, the trace is e[g, r, q, k]. Groups are padded to one size.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Hashable, Sequence

import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Int

from ..._read import Analysis, Matrix, Reach, Source, Structure, Zeros
from .._dtype import widest
from .._head import Head, make_head


@dataclasses.dataclass(frozen=True, eq=False)
class BlockLayout:
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
    layer: frozenset[int] | None
    """The states that it is kept on, by number, where it is kept on those of a layer alone."""
    dtype: np.dtype
    """That of its arithmetic. What a weight that is complex, or meets complex data, influences is complex, in JAX's
    convention of cotangents: dh = Re(e dw)."""

    @property
    def number(self) -> int:
        """Its own among those of all sources: that of its first row."""
        return self.source.start

    @property
    def weight(self) -> int:
        """The effective weight, as a variable of the step."""
        return self.source.weight

    @property
    def output(self) -> int | None:
        """The variable that the head makes; None where the weight is used otherwise."""
        return self.source.output

    @property
    def alike(self) -> Hashable:
        """Equal for layouts whose traces have the same arrays."""
        return self.shape, self.dtype

    @property
    def place(self) -> Sequence[np.ndarray]:
        """Which scalar of the state, row and feature each number of the trace is about."""
        return self.slots, self.rows, *([] if self.columns is None else [self.columns])

    @functools.cached_property
    def own(self) -> frozenset[int]:
        """The arrays of the state that the scalars belong to, by number."""
        return self.reach.leaves(self.order, self.structure.leaf)

    @property
    def followed(self) -> frozenset[int]:
        """The same: what it tells of is what it is kept on."""
        return self.own

    @functools.cached_property
    def shape(self) -> tuple[int, ...]:
        """Known without the scalars themselves: (groups, scalars, rows, features)."""
        g, q = self._counts
        r = self._scalars
        return (g, r, q, self._features_kept) if self.head.has_features else (g, r, q)

    @functools.cached_property
    def _counts(self) -> tuple[int, int]:
        """Groups, and rows of the largest.

        Rows that reach the same scalars are together, if they fall in groups of about one size; so are rows that reach
        nearly all of what they reach together; else each is by itself.
        """
        if self._pools is not None:
            return len(self._pools), max(len(pool.rows) for pool in self._pools)
        kinds = self.reach.kinds[self.order]
        _, counts = np.unique(kinds[kinds >= 0], return_counts=True)
        most, count = int(counts.max(initial=0)), int(counts.sum())
        # Padding to the largest group may waste a fifth of the memory.
        return (count, 1) if most * counts.size > 1.2 * count else (counts.size, most)

    @functools.cached_property
    def _scalars(self) -> int:
        """Of the largest group."""
        if self._pools is not None:
            return max(pool.scalars.size for pool in self._pools)
        return int(self.reach.sizes[self.order].max(initial=0))

    @functools.cached_property
    def _pools(self) -> "list[Pool] | None":
        """Rows on all that they reach together; None if that takes a fifth more memory than each by itself.

        Their scalars are written out only where there are more kinds of rows than lanes, and the sizes say that it may
        be so.
        """
        sizes, kinds = self.reach.sizes[self.order], self.reach.kinds[self.order]
        rows = np.flatnonzero(kinds >= 0)
        known, first, of = np.unique(kinds[rows], return_index=True, return_inverse=True)
        all_scalars = np.isin(self.structure.leaf, list(self.own)).sum() * rows.size
        if known.size <= self._lane_count or all_scalars > 1.2 * self._lane_count * sizes.max() * rows.size:
            return None
        return find_pools(rows, of, self.reach.written_out(self.order[rows[first]]))

    @property
    def _lane_count(self) -> int:
        return math.prod(self.head.shape[:2]) if self.head.has_features else 1

    @functools.cached_property
    def kept(self) -> Bool[np.ndarray, "g r q"] | None:
        """Which rows are kept on which scalars of their group, where that is not all of them."""
        if self._pools is None or self.is_whole:
            return None
        kept = np.zeros(self.shape[:3], bool)
        for g, pool in enumerate(self._pools):
            for q, held in enumerate(pool.held):
                kept[g, np.searchsorted(pool.scalars, held), q] = True
        return kept

    @functools.cached_property
    def _members(self) -> list[list[int]]:
        """The rows of every group."""
        if self._pools is not None:
            return [pool.rows for pool in self._pools]
        alike = self._alike()
        return alike if self._counts[1] > 1 else [[row] for row in itertools.chain.from_iterable(alike)]

    def _alike(self) -> list[list[int]]:
        """The rows that reach the same scalars together, without those that reach none."""
        by_kind: dict[int, list[int]] = {}
        for row, kind in enumerate(self.reach.kinds[self.order].tolist()):
            if kind >= 0:
                by_kind.setdefault(kind, []).append(row)
        return list(by_kind.values())

    @functools.cached_property
    def slots(self) -> Int[np.ndarray, "g r"]:
        """The scalars of the state; -1 where a group has fewer."""
        if self._pools is not None:
            return _padded([pool.scalars for pool in self._pools])
        one_of_each = np.array([self.order[rows[0]] for rows in self._members], int)
        return _padded(self.reach.written_out(one_of_each))

    @functools.cached_property
    def rows(self) -> Int[np.ndarray, "g q"]:
        """The rows of the source, in the layout of its head; -1 where a group has fewer."""
        return _padded(self._members)

    @property
    def lanes(self) -> Int[np.ndarray, "g q"]:
        """The lane of every row."""
        return np.maximum(self.rows, 0) // self.head.shape[2]

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
    def within(self) -> Bool[np.ndarray, "g r r"]:
        """Which entries of J can be anything but zero."""
        at, valid = np.maximum(self.slots, 0), self.slots >= 0
        is_entry = _look_up(self.structure.jacobian, at[:, :, None], at[:, None, :])
        return is_entry & valid[:, :, None] & valid[:, None, :]

    @functools.cached_property
    def entering(self) -> Bool[np.ndarray, "g r q"]:
        """Which rows enter which scalars in the same step."""
        first = self.structure.first[self.order].T.tocsr()
        is_entry = _look_up(first, np.maximum(self.slots, 0)[:, :, None], np.maximum(self.rows, 0)[:, None, :])
        return is_entry & (self.slots >= 0)[:, :, None] & (self.rows >= 0)[:, None, :]


@dataclasses.dataclass(frozen=True, eq=False)
class Pool:
    """Rows that are kept on the same scalars, though each may reach fewer."""

    rows: list[int]
    scalars: Int[np.ndarray, " r"]
    held: list[Int[np.ndarray, "_"]]
    """By row, those that it reaches."""


def find_pools(rows: np.ndarray, of: np.ndarray, reached: Sequence[np.ndarray]) -> list[Pool] | None:
    """Rows that reach a scalar in common, directly or by others, together; None if that takes a fifth more memory.

    `of` is the number of what a row reaches.
    """
    pools, by_row = [], _components(reached)[of]
    for mine in np.split(np.argsort(by_row, kind="stable"), np.cumsum(np.bincount(by_row))[:-1]):
        held = [reached[kind] for kind in of[mine].tolist()]
        pools.append(Pool(rows[mine].tolist(), np.unique(np.concatenate(held)), held))
    most = max(pool.scalars.size for pool in pools) * max(len(pool.rows) for pool in pools) * len(pools)
    alone = max(map(len, reached)) * rows.size
    return pools if most <= 1.2 * alone else None


def _components(reached: Sequence[np.ndarray]) -> Int[np.ndarray, "_"]:
    """Of sets of scalars, the number of the component of all that have a scalar in common, directly or by others."""
    count = 1 + max(int(scalars.max()) for scalars in reached)
    ends = np.cumsum([0, *map(len, reached)])
    pattern = sp.csr_array((np.ones(ends[-1], bool), np.concatenate(reached), ends), shape=(len(reached), count))
    _, labels = sp.csgraph.connected_components(pattern.astype(np.int32) @ pattern.T.astype(np.int32), directed=False)
    return np.asarray(labels)


def make_block_layout(
    analysis: Analysis, source: Source, steps: int | None, zeros: Zeros, layer: frozenset[int] | None
) -> BlockLayout:
    """The layout of the influence of one source on what it reaches in so many steps; for None, in any number.

    `layer`: the states that it is kept on; None for all.
    """
    program, use = analysis.step.program, source.use
    head = make_head(program, source.weight, None if use is None else use.equation)
    order = source.start + head.to_rows(np.arange(source.rows).reshape(head.output)).ravel()
    reach, everything = analysis.structure.reach(steps, layer), analysis.structure.reach(None)
    met = [source.weight] if use is None else [source.weight, use.data, use.output]
    nonzero = zeros.of(source.weight)
    return BlockLayout(
        source=source,
        head=head,
        reach=reach,
        order=order,
        nonzero=None if nonzero is None or not head.has_features else _by_row(head, nonzero),
        structure=analysis.structure,
        is_whole=int(reach.sizes[order].sum()) == int(everything.sizes[order].sum()),
        layer=layer,
        dtype=widest(*(program.avals[v].dtype for v in (*met, *analysis.step.states))),
    )


def _look_up(pattern: Matrix, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    rows, columns = np.broadcast_arrays(rows, columns)
    return np.asarray(pattern[rows.ravel(), columns.ravel()]).reshape(rows.shape).astype(bool)


def _padded(lists: Sequence[Sequence[int] | np.ndarray]) -> np.ndarray:
    out = np.full((len(lists), max(map(len, lists), default=0)), -1)
    for row, values in zip(out, lists, strict=True):
        row[: len(values)] = values
    return out


def _by_row(head: Head, nonzero: np.ndarray) -> Bool[np.ndarray, "b n k"]:
    """Elements of the weight in the layout of its head."""
    b, _, n, k = head.shape
    order = head.to_weight(np.arange(b * n * k).reshape(b, n, k))
    flat = np.zeros(b * n * k, bool)
    flat[order.ravel()] = np.broadcast_to(nonzero, order.shape).ravel()
    return flat.reshape(b, n, k)

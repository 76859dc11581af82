"""What rows reach, without writing it out.

A **family** is a list of sets of elements. A row of a **reach** holds some of its sets, and so all of their elements.
The sets of one term of a pattern have no element in common; of two terms, one set mostly lies within the other (a unit,
and its lane). So sizes add up, and two rows are alike if and only if their sums of random numbers, one per element, are
equal. Rows that hold two sets which overlap, with neither within the other, are written out.
"""

import dataclasses
import functools
import itertools

import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, UInt64

from ._sparse import Index, Matrix, one_of

Flags = Bool[np.ndarray, "..."]
Marks = UInt64[np.ndarray, "_ 2"]
_AT_ONCE = 2**22
"""So many entries are written out at a time."""


@dataclasses.dataclass(frozen=True, eq=False)
class Family:
    """[sets, elements]"""

    members: Matrix

    @functools.cached_property
    def sizes(self) -> Index:
        return np.diff(self.members.indptr).astype(np.int64)

    @functools.cached_property
    def element_marks(self) -> Marks:
        """Two random numbers per element. Sums of 128 bits are equal by chance once in 10^38."""
        count = (self.members.shape[1], 2)
        return np.random.default_rng(0).integers(0, 2**64, size=count, dtype=np.uint64)

    @functools.cached_property
    def marks(self) -> Marks:
        """The sums, by set."""
        return self.members.astype(np.uint64) @ self.element_marks

    @functools.cached_property
    def _overlaps(self) -> tuple[Index, Index, Index]:
        """Pairs of sets, and how many elements they share."""
        counted = self.members.astype(np.int32)
        shared = (counted @ counted.T).tocoo()
        apart = shared.row != shared.col
        return shared.row[apart], shared.col[apart], shared.data[apart]

    @functools.cached_property
    def within(self) -> Matrix:
        """[inner, outer]: which set lies within which; of two that are equal, the second within the first."""
        first, second, shared = self._overlaps
        equal = self.sizes[first] == self.sizes[second]
        return self._pairs((shared == self.sizes[first]) & (~equal | (first > second)))

    @functools.cached_property
    def straddling(self) -> Matrix:
        """Pairs that overlap with neither within the other, by the one that is in fewer."""
        first, second, shared = self._overlaps
        here = (shared < self.sizes[first]) & (shared < self.sizes[second])
        degree = np.bincount(first[here], minlength=self.sizes.size)
        rank = degree * self.sizes.size + np.arange(self.sizes.size)
        return self._pairs(here & (rank[first] < rank[second]))

    def _pairs(self, here: Flags) -> Matrix:
        first, second, _ = self._overlaps
        count = self.sizes.size
        ones = np.ones(int(here.sum()), bool)
        return sp.csr_array((ones, (first[here], second[here])), shape=(count, count))

    def without_inner(self, rows: Matrix) -> Matrix:
        """The same rows, without sets that lie within another of the same row."""
        inner = _partnered(rows, self.within)
        return _kept(rows, ~inner) if inner.any() else rows


@dataclasses.dataclass(frozen=True, eq=False)
class Reach:
    """Rows, by the sets of a family."""

    rows: Matrix
    family: Family

    @functools.cached_property
    def _found(self) -> tuple[Marks, Index]:
        """By row, its sums and its size."""
        family, rows = self.family, self.family.without_inner(self.rows)
        marks, sizes = rows.astype(np.uint64) @ family.marks, rows.astype(np.int64) @ family.sizes
        entries = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
        overlapping = np.unique(entries[_partnered(rows, family.straddling)])
        part = np.cumsum(sizes[overlapping]) // _AT_ONCE
        for some in np.split(overlapping, np.flatnonzero(np.diff(part)) + 1):
            elements = rows[some] @ family.members
            marks[some], sizes[some] = elements.astype(np.uint64) @ family.element_marks, np.diff(elements.indptr)
        return marks, sizes

    @property
    def sizes(self) -> Index:
        """By row, how many elements it holds."""
        return self._found[1]

    @functools.cached_property
    def kinds(self) -> Index:
        """By row, a number that rows with the same elements share; -1 without any."""
        marks, sizes = self._found
        order = np.lexsort(marks.T)
        kinds = np.zeros(sizes.size, int)
        kinds[order[1:]] = np.cumsum((np.diff(marks[order], axis=0) != 0).any(1))
        return np.where(sizes > 0, kinds, -1)

    def elements(self, rows: Index) -> Index:
        """Those of these rows together."""
        held = np.bincount(self.rows[rows].indices, minlength=self.family.sizes.size) > 0
        return np.unique(self.family.members.indices[np.repeat(held, self.family.sizes)])

    def leaves(self, rows: Index, leaf: Index) -> frozenset[int]:
        """To which leaves they belong."""
        return frozenset(np.unique(leaf[self.elements(rows)]).tolist())

    def written_out(self, rows: Index) -> list[Index]:
        """The elements of these rows, in order."""
        elements = (self.rows[rows] @ self.family.members).tocsr()
        elements.sort_indices()
        return [elements.indices[a:b] for a, b in itertools.pairwise(elements.indptr.tolist())]


def within_steps(start: Matrix, onward: Matrix, steps: int, family: Family) -> Matrix:
    """What is reached from each row, itself included, by fewer edges than steps."""
    return _grown(start, _without_inner_edges(onward, family), steps - 1)


def _without_inner_edges(onward: Matrix, family: Family) -> Matrix:
    """An edge to a set within the one it comes from reaches nothing that is new, now or later."""
    return without(onward, family.within.T.tocsr())


def closure(start: Matrix, onward: Matrix, family: Family) -> Reach:
    """Everything that is reached, by any number of edges: strongly connected sets are one."""
    count, labels = sp.csgraph.connected_components(onward, directed=True, connection="strong")
    of = one_of(labels, count)
    joined = Family(of.T.tocsr() @ family.members)
    between = _without_inner_edges(of.T.tocsr() @ onward @ of, joined)
    return Reach(_grown(start @ of, between, None), joined)


def _grown(start: Matrix, onward: Matrix, times: int | None) -> Matrix:
    reached = front = start
    while front.nnz and times != 0:
        front = without(front @ onward, reached)
        reached, times = reached + front, None if times is None else times - 1
    return reached


def without(first: Matrix, second: Matrix) -> Matrix:
    """The entries of the first that the second has not."""
    first.sort_indices()
    keys, others = _keys(first), np.sort(_keys(second))
    return _kept(first, ~_is_in(keys, others))


def _partnered(rows: Matrix, pairs: Matrix) -> Flags:
    """For every entry of the rows: does its row hold a partner of it, too?"""
    count = np.diff(pairs.indptr)[rows.indices]
    if not count.any():
        return np.zeros(rows.nnz, bool)
    entry = np.repeat(np.arange(rows.nnz), count)
    at = np.arange(entry.size) - np.repeat(np.cumsum(count) - count - pairs.indptr[rows.indices], count)
    row = np.repeat(np.arange(rows.shape[0], dtype=np.int64), np.diff(rows.indptr))[entry]
    held = _is_in(row * rows.shape[1] + pairs.indices[at], np.sort(_keys(rows)))
    return np.bincount(entry[held], minlength=rows.nnz) > 0


def _keys(matrix: Matrix) -> Index:
    """A number for every entry."""
    row = np.repeat(np.arange(matrix.shape[0], dtype=np.int64), np.diff(matrix.indptr))
    return row * matrix.shape[1] + matrix.indices


def _is_in(keys: Index, ordered: Index) -> Flags:
    if not ordered.size:
        return np.zeros(keys.size, bool)
    return ordered[np.minimum(np.searchsorted(ordered, keys), ordered.size - 1)] == keys


def _kept(matrix: Matrix, here: Flags) -> Matrix:
    """Some of its entries."""
    starts = np.concatenate([[0], np.cumsum(here)])[matrix.indptr]
    return sp.csr_array((np.ones(int(here.sum()), bool), matrix.indices[here], starts), shape=matrix.shape)

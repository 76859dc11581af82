"""Colours: rows of a pattern that share no column can be read together."""

import functools
import itertools
import operator
from collections.abc import Iterator

import numpy as np

from ._reach import Family
from ._sparse import Index, Matrix


def find_colours(reads: Matrix, members: Family) -> Index:
    """Greedily, by rows in order, those that have the same sets of columns together.

    `reads` are the columns of each set, `members` the rows that have it. Two rows share a column if and only if two of
    their sets do. Of the sets that share a column with a given one, those within others say nothing new.
    """
    rows = members.members.T.tocsr()
    taken = _Taken(_lists(members.without_inner(reads @ reads.T)), members.sizes)
    colours = np.zeros(rows.shape[0], int)
    for sets, alike in _alike(rows).items():
        free = _free(taken.near(sets))
        mine = [next(free) for _ in alike]
        colours[alike] = mine
        taken.add(sets, sum(1 << colour for colour in mine))
    return colours


class _Taken:
    """The colours of each set's rows, as bits, and those of all sets near one: kept where many rows ask."""

    def __init__(self, near: list[list[int]], sizes: Index):
        numbers: dict[tuple[int, ...], int] = {}
        self.number = [numbers.setdefault(tuple(sets), len(numbers)) for sets in near]
        self.lists = list(numbers)
        self.kept = dict.fromkeys((self.number[s] for s in np.flatnonzero(sizes > 1).tolist()), 0)
        self.colours = [0] * len(near)
        self.within: list[list[int]] = [[] for _ in near]
        for number in self.kept:
            for s in self.lists[number]:
                self.within[s].append(number)

    def near(self, sets: tuple[int, ...]) -> int:
        """Those of all sets near these."""
        numbers = {self.number[s] for s in sets}
        others = {s for n in numbers.difference(self.kept) for s in self.lists[n]}
        colours = functools.reduce(operator.or_, map(self.colours.__getitem__, others), 0)
        return functools.reduce(operator.or_, map(self.kept.__getitem__, numbers.intersection(self.kept)), colours)

    def add(self, sets: tuple[int, ...], colours: int) -> None:
        for s in sets:
            self.colours[s] |= colours
            for number in self.within[s]:
                self.kept[number] |= colours


def _free(taken: int) -> Iterator[int]:
    """The bits that are not set, from the lowest."""
    while True:
        bit = ~taken & (taken + 1)
        yield bit.bit_length() - 1
        taken |= bit


def _lists(matrix: Matrix) -> list[list[int]]:
    """The columns of every row."""
    matrix.sort_indices()
    ends, columns = matrix.indptr.tolist(), matrix.indices.tolist()
    return [columns[a:b] for a, b in itertools.pairwise(ends)]


def _alike(rows: Matrix) -> dict[tuple[int, ...], list[int]]:
    """Rows with the same sets together; rows without any are left out."""
    members: dict[tuple[int, ...], list[int]] = {}
    for row, sets in enumerate(_lists(rows)):
        if sets:
            members.setdefault(tuple(sets), []).append(row)
    return members

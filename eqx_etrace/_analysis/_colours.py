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
    near = _lists(members.without_inner(reads @ reads.T))
    taken = [0] * len(near)
    colours = np.zeros(rows.shape[0], int)
    for sets, alike in _alike(rows).items():
        others = {s for mine in sets for s in near[mine]}
        free = _free(functools.reduce(operator.or_, map(taken.__getitem__, others), 0))
        mine = [next(free) for _ in alike]
        colours[alike] = mine
        for s in sets:
            taken[s] |= sum(1 << colour for colour in mine)
    return colours


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

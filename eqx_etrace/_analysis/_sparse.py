"""Patterns as sparse boolean matrices, and the size beyond which none is made."""

from typing import Any

import numpy as np
import scipy.sparse as sp

Pattern = Any
"""A `scipy.sparse.csr_array` of bools, [elements of a variable, sources]."""

_MOST_ENTRIES, _MOST_WORK = 2**25, 2**28
"""The largest pattern, and the most work on one product of two. Beyond that it would take gigabytes and minutes: an
image normalised as a whole has a billion entries. Work is known before it is done."""


class TooManyEntriesError(Exception):
    """Not yet said where."""


def check_entries(count: int) -> None:
    if count > _MOST_ENTRIES:
        raise TooManyEntriesError(f"has more than {_MOST_ENTRIES:,} entries")


def times(first: Pattern, second: Pattern) -> Pattern:
    """Which sources a variable depends on, from what it depends on in between."""
    if int(np.diff(second.indptr).astype(np.int64)[first.indices].sum()) > _MOST_WORK:
        raise TooManyEntriesError(f"takes more than {_MOST_WORK:,} operations to find")
    found = first @ second
    check_entries(found.nnz)
    return found


def identity(count: int, start: int, total: int) -> Pattern:
    """The pattern of a source: its elements are the columns from `start` on."""
    columns = np.arange(start, start + count)
    return sp.csr_array((np.ones(count, bool), columns, np.arange(count + 1)), shape=(count, total))


def union(first: Pattern, second: Pattern) -> Pattern:
    return (first + second).astype(bool).tocsr()


def select(source: np.ndarray, shape: tuple[int, ...]) -> Pattern:
    """Row e picks element `source[e]`; none where it is negative."""
    flat = source.ravel()
    here = flat >= 0
    rows = np.concatenate([[0], np.cumsum(here)])
    return sp.csr_array((np.ones(here.sum(), bool), flat[here], rows), shape=(flat.size, int(np.prod(shape))))


def everything(rows: int, pattern: Pattern) -> Pattern:
    """Every element depends on whatever any element does."""
    columns = np.unique(pattern.indices)
    check_entries(rows * columns.size)
    return sp.csr_array(
        (np.ones(rows * columns.size, bool), np.tile(columns, rows), np.arange(rows + 1) * columns.size),
        shape=(rows, pattern.shape[1]),
    )

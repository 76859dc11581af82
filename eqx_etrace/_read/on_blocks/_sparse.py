"""Patterns as sparse boolean matrices, and the size beyond which none is made.

A pattern is a sum of **terms**. A term gives every row one of few *sets* of columns, and many rows share one: all units
of a dense layer read the same vector. So `h' = a * h + W @ h` is two terms, one with a set per unit, one with a single
set, and its size is that of the network, where written out it would be that of W times the batch.
"""

import dataclasses
import functools
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from jaxtyping import Int

Matrix = Any
"""A `scipy.sparse.csr_array` of bools."""
Index = Int[np.ndarray, "..."]
NO_SET = -1

_MOST_ENTRIES, _MOST_WORK = 2**25, 2**28
"""The largest pattern, and the most work on one product of two, both as if written out: so large are the arrays that
influence on blocks is kept in. Beyond that it would take gigabytes and minutes: an image normalised as a whole has a
billion entries. Work is known before it is done."""
_MOST_TERMS = 4


class TooManyEntriesError(Exception):
    """Not yet said where."""


def check_entries(count: int) -> None:
    if count > _MOST_ENTRIES:
        raise TooManyEntriesError(f"has more than {_MOST_ENTRIES:,} entries")


@dataclasses.dataclass(frozen=True, eq=False)
class Term:
    """Every row has the columns of one set."""

    of: Index
    """By row, its set; `NO_SET` for none."""
    sets: Matrix
    """[sets, columns]"""

    @property
    def sizes(self) -> Index:
        """By row, how many columns."""
        return np.append(np.diff(self.sets.indptr), 0).astype(np.int64)[self.of]


@dataclasses.dataclass(frozen=True, eq=False)
class Pattern:
    """[elements of a variable, starts]: which starts an element depends on, by any of the terms."""

    columns: int
    terms: tuple[Term, ...]

    @property
    def rows(self) -> int:
        return self.terms[0].of.size

    @functools.cached_property
    def written_out(self) -> Matrix:
        """Entry by entry."""
        return functools.reduce(operator.add, [one_of(t.of, t.sets.shape[0]) @ t.sets for t in self.terms])

    @property
    def nnz(self) -> int:
        """How many entries it has, written out."""
        joined = functools.reduce(_joined, self.terms)
        return int(joined.sizes.sum())


def one_of(of: Index, count: int) -> Matrix:
    """Row i has the entry `of[i]`; none for `NO_SET`."""
    flat = of.ravel()
    here = flat >= 0
    rows = np.concatenate([[0], np.cumsum(here)])
    return sp.csr_array((np.ones(int(here.sum()), bool), flat[here], rows), shape=(flat.size, count))


def operation(of: Index, sets: Matrix) -> Pattern:
    """The pattern of one operation: element i of the output depends on the operand's elements in the set `of[i]`."""
    return Pattern(sets.shape[1], (Term(of.ravel(), sets),))


def nothing(rows: int, columns: int) -> Pattern:
    return operation(np.full(rows, NO_SET), sp.csr_array((0, columns), dtype=bool))


def identity(count: int, start: int, total: int) -> Pattern:
    """The pattern of a start: its elements are the columns from `start` on."""
    return operation(np.arange(count), one_of(np.arange(start, start + count), total))


def everything(rows: int, pattern: Pattern) -> Pattern:
    """Every element depends on whatever any element does."""
    columns = np.unique(np.concatenate([t.sets.indices for t in pattern.terms]))
    check_entries(rows * columns.size)
    whole = sp.csr_array((np.ones(columns.size, bool), columns, [0, columns.size]), shape=(1, pattern.columns))
    return operation(np.zeros(rows, int), whole)


def take(pattern: Pattern, taken: Index) -> Pattern:
    """Row e is row `taken[e]`; empty where that is negative."""
    flat = taken.ravel()
    # Of a variable without elements there is nothing to take: all of `flat` is negative then.
    of = [np.where(flat >= 0, t.of[np.maximum(flat, 0)], NO_SET) if t.of.size else flat for t in pattern.terms]
    terms = tuple(map(_without_unused, of, [t.sets for t in pattern.terms]))
    check_entries(sum(int(t.sizes.sum()) for t in terms))
    return Pattern(pattern.columns, terms)


def merge(pattern: Pattern, target: Index, count: int) -> Pattern:
    """Row r is the union of all rows whose target is r."""
    into = one_of(target, count).T.tocsr()
    return times(operation(np.arange(count), into), pattern)


def times(first: Pattern, second: Pattern) -> Pattern:
    """Which starts a variable depends on, from what it depends on in between; `first` is that of one operation."""
    (term,) = first.terms
    met = sum(t.sizes for t in second.terms)
    if int((np.append(term.sets @ met, 0)[term.of]).sum()) > _MOST_WORK:
        raise TooManyEntriesError(f"takes more than {_MOST_WORK:,} operations to find")
    parts = [(term.sets @ one_of(t.of, t.sets.shape[0])) @ t.sets for t in second.terms]
    product = Term(term.of, functools.reduce(operator.add, parts))
    check_entries(int(product.sizes.sum()))
    return Pattern(second.columns, (product,))


def union(first: Pattern, second: Pattern) -> Pattern:
    terms = list(first.terms)
    for term in second.terms:
        at = next((i for i, mine in enumerate(terms) if _is_cheap(mine, term)), None)
        if at is None:
            terms.append(term)
        else:
            terms[at] = _joined(terms[at], term)
    while len(terms) > _MOST_TERMS:
        terms.sort(key=lambda t: -t.sets.nnz)
        terms[-2:] = [_joined(*terms[-2:])]
    return Pattern(first.columns, tuple(terms))


def stack(patterns: Sequence[Pattern]) -> Pattern:
    """One below the other."""
    columns = patterns[0].columns
    parts = [sorted(p.terms, key=lambda t: -t.sets.shape[0]) for p in patterns]
    terms = []
    for k in range(max(map(len, parts))):
        here = [p[k] if k < len(p) else nothing(p[0].of.size, columns).terms[0] for p in parts]
        terms.append(_one_below_the_other(here))
    return Pattern(columns, tuple(terms))


def _one_below_the_other(terms: Sequence[Term]) -> Term:
    starts = np.cumsum([0, *(t.sets.shape[0] for t in terms)])[:-1]
    of = [np.where(t.of >= 0, t.of + start, NO_SET) for t, start in zip(terms, starts, strict=True)]
    return Term(np.concatenate(of), sp.vstack([t.sets for t in terms]).tocsr())


def _without_unused(of: Index, sets: Matrix) -> Term:
    used = np.bincount(of[of >= 0], minlength=sets.shape[0]) > 0
    if used.all():
        return Term(of, sets)
    number = np.append(np.cumsum(used) - 1, NO_SET)
    return Term(number[of], sets[np.flatnonzero(used)])


def _is_cheap(first: Term, second: Term) -> bool:
    """Is one term about as small as the two?"""
    _, of_first, of_second = _pairs(first, second)
    sizes = [np.append(np.diff(t.sets.indptr), 0)[of].sum() for t, of in ((first, of_first), (second, of_second))]
    return bool(sum(sizes) <= 2 * (first.sets.nnz + second.sets.nnz))


def _joined(first: Term, second: Term) -> Term:
    of, of_first, of_second = _pairs(first, second)
    left = one_of(of_first, first.sets.shape[0]) @ first.sets
    return Term(of, left + one_of(of_second, second.sets.shape[0]) @ second.sets)


def _pairs(first: Term, second: Term) -> tuple[Index, Index, Index]:
    """Rows with the same pair of sets together: the number of the pair, by row, and both sets of every pair."""
    count = second.sets.shape[0] + 1
    pairs, of = np.unique((first.of + 1).astype(np.int64) * count + second.of + 1, return_inverse=True)
    return of.ravel(), pairs // count - 1, pairs % count - 1

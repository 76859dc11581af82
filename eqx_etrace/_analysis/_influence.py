"""Which scalars of the state a weight can ever influence, and how the state's Jacobian falls into blocks.

The state is one vector of real scalars. A **source** is where an effective weight enters the step, whatever follows:
the output y of a head (each element of y is one row, met by the features x), or the weight itself, used in any other
way (each element is a row). Per source and row,

    R_1      the scalars of the new state that the row can change in one step
    R_n      R_{n-1} and every scalar that the Jacobian's pattern reaches from it: n steps
    R_inf    the limit.

Nothing outside R_inf is ever influenced, so an influence kept on R_inf is exact: real-time recurrent learning at the
cost of the structure. Strongly connected components of the pattern are its finest blocks. R_n is SnAp-n.
"""

import dataclasses
import functools
import itertools

import numpy as np
import scipy.sparse as sp
from jaxtyping import Int

from ._body import Body, Use
from ._pattern import find_patterns
from ._primitive import is_collective
from ._sparse import identity, Pattern
from ._step import Step

Index = Int[np.ndarray, "..."]


@dataclasses.dataclass(frozen=True)
class Source:
    """Where one effective weight enters the step."""

    weight: int
    use: Use | None
    """The head that it enters by; None for its other uses together."""
    first: Pattern
    """[rows, scalars of the new state]: R_1."""

    @property
    def output(self) -> int | None:
        """The variable that the head makes."""
        return None if self.use is None else self.use.output

    @property
    def rows(self) -> int:
        return self.first.shape[0]


@dataclasses.dataclass(frozen=True)
class Structure:
    """The pattern of one step."""

    jacobian: Pattern
    """[new state, old state], in scalars."""
    sources: tuple[Source, ...]
    leaf: Index
    """For every scalar, its number among the real arrays of the state."""

    @property
    def size(self) -> int:
        """How many scalars the state has."""
        return self.leaf.size

    @functools.cached_property
    def blocks(self) -> Index:
        """For every scalar, its strongly connected component."""
        return sp.csgraph.connected_components(self.jacobian, directed=True, connection="strong")[1]

    @functools.cached_property
    def colours(self) -> Index:
        """Scalars of the new state of one colour share no column: one reverse pass serves them all."""
        columns: Pattern = (
            sp.hstack([self.jacobian, *(source.first.T for source in self.sources)]).tocsr().astype(np.int32)
        )
        colours = np.zeros(self.size, int)
        members = _alike(columns)
        one_of_each = columns[[rows[0] for rows in members]]
        conflicts: Pattern = (one_of_each @ one_of_each.T).tocsr()
        taken: list[Index] = []
        for i, rows in enumerate(members):
            near = conflicts.indices[conflicts.indptr[i] : conflicts.indptr[i + 1]]
            theirs = np.unique(np.concatenate([taken[j] for j in near if j < i] or [np.zeros(0, int)]))
            free = np.setdiff1d(np.arange(len(rows) + theirs.size), theirs)[: len(rows)]
            colours[rows] = free
            taken.append(free)
        return colours

    def reach(self, source: Source, steps: int | None) -> Pattern:
        """R_steps of every row; R_inf for None."""
        if steps is None:
            return self._closure(source)
        transposed = self.jacobian.T.tocsr().astype(np.int32)
        found = source.first.astype(np.int32)
        for _ in range(steps - 1):
            grown = _as_set(found + found @ transposed)
            if grown.nnz == found.nnz:
                break
            found = grown
        return found.astype(bool)

    def _closure(self, source: Source) -> Pattern:
        """By blocks: within a block everything reaches everything."""
        count = int(self.blocks.max(initial=-1)) + 1
        member = sp.csr_array((np.ones(self.size, np.int32), (np.arange(self.size), self.blocks)), (self.size, count))
        between = _as_set(member.T.tocsr() @ self.jacobian.T.tocsr().astype(np.int32) @ member)
        found = _as_set(source.first.astype(np.int32) @ member)
        while True:
            grown = _as_set(found + found @ between)
            if grown.nnz == found.nnz:
                return (found @ member.T.tocsr()).tocsr().astype(bool)
            found = grown


def _alike(pattern: Pattern) -> list[list[int]]:
    """Rows with the same entries together; rows without any are left out."""
    members: dict[bytes, list[int]] = {}
    pattern.sort_indices()
    for row in range(pattern.shape[0]):
        found = pattern.indices[pattern.indptr[row] : pattern.indptr[row + 1]]
        if found.size:
            members.setdefault(found.tobytes(), []).append(row)
    return list(members.values())


def _as_set(matrix: Pattern) -> Pattern:
    matrix = matrix.tocsr()
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def find_structure(step: Step, body: Body) -> Structure:
    """The pattern of a step's Jacobian, with respect to its old state and to its sources."""
    program = step.program
    places = [(var, None) for var in body.weights] + [(use.output, use) for use in body.heads]
    variables = [*step.states, *(var for var, _ in places)]
    sizes = [int(np.prod(program.shape(v))) for v in variables]
    starts, total = np.concatenate([[0], np.cumsum(sizes)]), sum(sizes)
    columns = {v: identity(n, int(s), total) for v, n, s in zip(variables, sizes, starts, strict=False)}
    cut = {(use.output, use.operand) for use in body.heads} | set(unfollowed_edges(step, body))
    found = find_patterns(program, body.equations, columns, cut)
    nothing = [sp.csr_array((n, total), dtype=bool) for n in sizes]
    new = [found.get(v, none) for v, none in zip(step.new_states, nothing, strict=False)]
    pattern = sp.vstack(new).tocsr()
    parts = [pattern[:, int(a) : int(b)] for a, b in itertools.pairwise(starts)]
    leaves = [np.full(n, leaf) for leaf, n in enumerate(sizes[: len(new)])]
    return Structure(
        sp.hstack(parts[: len(new)]).tocsr(),
        tuple(
            Source(use.weight if use else var, use, entering.T.tocsr())
            for (var, use), entering in zip(places, parts[len(new) :], strict=True)
            if entering.nnz
        ),
        np.concatenate(leaves),
    )


def unfollowed_edges(step: Step, body: Body) -> list[tuple[int, int]]:
    """Uses that no Jacobian can follow: by calls whose derivative rule is not linear, and by collectives."""
    calls = [eqn for eqn in body.equations if is_collective(eqn) or not step.program.links.is_linear(eqn)]
    return [(eqn.outputs[0], i) for eqn in calls for i in range(len(eqn.inputs))]

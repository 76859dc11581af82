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

import numpy as np
import scipy.sparse as sp

from .._effective_weights import Body, Use
from ..program import Equation, is_collective
from ..step import Step
from ._colours import find_colours
from ._pattern import find_patterns
from ._reach import closure, Family, Reach, within_steps
from ._sparse import identity, Index, Matrix, nothing, one_of, Pattern, stack


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """Where one effective weight enters the step."""

    weight: int
    use: Use | None
    """The head that it enters by; None for its other uses together."""
    start: int
    """Its first row, among those of all sources."""
    rows: int

    @property
    def output(self) -> int | None:
        """The variable that the head makes."""
        return None if self.use is None else self.use.output


@dataclasses.dataclass(frozen=True, eq=False)
class Structure:
    """The pattern of one step."""

    pattern: Pattern
    """[scalars of the new state, scalars of the old state and then rows of sources]"""
    sources: tuple[Source, ...]
    leaf: Index
    """For every scalar, its number among the real arrays of the state."""

    @property
    def size(self) -> int:
        """How many scalars the state has."""
        return self.leaf.size

    @functools.cached_property
    def jacobian(self) -> Matrix:
        """[new state, old state], in scalars, written out."""
        return self.pattern.written_out[:, : self.size]

    @functools.cached_property
    def first(self) -> Matrix:
        """[rows of all sources, scalars of the new state]: R_1, written out."""
        return self.pattern.written_out[:, self.size :].T.tocsr()

    @functools.cached_property
    def colours(self) -> Index:
        """Scalars of the new state of one colour share no column: one reverse pass serves them all."""
        return find_colours(self._reads, self._family)

    @functools.cached_property
    def _family(self) -> Family:
        """The scalars of the new state that have a set of columns of the pattern in common."""
        terms = [one_of(t.of, t.sets.shape[0]).T for t in self.pattern.terms]
        return Family(sp.vstack(terms).tocsr())

    @functools.cached_property
    def _reads(self) -> Matrix:
        """[sets, columns]"""
        return sp.vstack([t.sets for t in self.pattern.terms]).tocsr()

    @functools.cached_property
    def _onward(self) -> Matrix:
        """[sets, sets]: those that read a scalar of this one."""
        return (self._family.members @ self._reads[:, : self.size].T.tocsr()).tocsr()

    @functools.cached_property
    def _reached(self) -> dict[tuple[int | None, frozenset[int] | None], Reach]:
        return {}

    def reach(self, steps: int | None, within: frozenset[int] | None = None) -> Reach:
        """R_steps of every row of every source; R_inf for None. `within`: as far as these states go, by number."""
        if (steps, within) not in self._reached:
            self._reached[steps, within] = self._find_reach(steps, within)
        return self._reached[steps, within]

    def _find_reach(self, steps: int | None, within: frozenset[int] | None) -> Reach:
        first, onward, family = self._reads[:, self.size :].T.tocsr(), self._onward, self._family
        if within is not None:
            inside = sp.diags_array(np.isin(self.leaf, list(within)).astype(np.int8), dtype=np.int8).tocsr()
            family = Family(_nonzero(family.members @ inside))
            onward = _nonzero(family.members @ self._reads[:, : self.size].T.tocsr())
        if steps is None:
            return closure(first, onward, family)
        return Reach(within_steps(first, onward, steps, family), family)

    @property
    def links(self) -> tuple[Matrix, Matrix]:
        """[sets, scalars of the new state] and [sets, columns]: each scalar of a set can depend on all its columns."""
        return self._family.members, self._reads

    def fed_by_leaf(self, count: int) -> np.ndarray:
        """[new, old]: on which of so many old arrays of the state each new one can depend."""
        of = one_of(self.leaf, count)
        return ((self._family.members @ of).T @ (self._reads[:, : self.size] @ of)).toarray() != 0

    def entered_by(self, source: Source) -> frozenset[int]:
        """The arrays of the state that a source can change in one step."""
        rows = np.arange(source.start, source.start + source.rows)
        return self.reach(1).leaves(rows, self.leaf)


def _nonzero(matrix: Matrix) -> Matrix:
    matrix = matrix.tocsr()
    matrix.eliminate_zeros()
    return matrix.astype(bool)


def find_structure(step: Step, body: Body) -> Structure:
    """The pattern of a step's Jacobian, with respect to its old state and to its sources."""
    places = [(var, None) for var in body.weights] + [(use.output, use) for use in body.heads]
    variables = [*step.states, *(var for var, _ in places)]
    sizes = [int(np.prod(step.program.shape(v))) for v in variables]
    count, total = len(step.states), sum(sizes)
    starts = np.cumsum([0, *sizes])[:-1].tolist()
    columns = {v: identity(n, start, total) for v, n, start in zip(variables, sizes, starts, strict=True)}
    cut = {(use.output, use.operand) for use in body.heads} | set(unfollowed_edges(step, body))
    patterns = find_patterns(step.program, body.equations, columns, cut)
    new = [patterns.get(v, nothing(n, total)) for v, n in zip(step.new_states, sizes[:count], strict=True)]
    leaf = np.repeat(np.arange(count), sizes[:count])
    pattern = stack(new)
    is_entered = np.zeros(total, bool)
    is_entered[np.concatenate([term.sets.indices for term in pattern.terms])] = True
    sources: list[Source] = []
    for (var, use), start, size in zip(places, starts[count:], sizes[count:], strict=True):
        if is_entered[start : start + size].any():
            weight = var if use is None else use.weight
            sources.append(Source(weight, use, start=start - leaf.size, rows=size))
    return Structure(pattern, tuple(sources), leaf)


def unfollowed_edges(step: Step, body: Body) -> list[tuple[int, int]]:
    """Uses that no Jacobian can follow: by calls whose derivative rule is not linear, and by collectives.

    The derivative of a solve is linear; it is the solver that may stop early. So a solve is followed.
    """
    calls = [eqn for eqn in body.equations if is_collective(eqn) or _is_unfollowed(step, eqn)]
    return [(eqn.outputs[0], i) for eqn in calls for i in range(len(eqn.inputs))]


def _is_unfollowed(step: Step, eqn: Equation) -> bool:
    return not all(call.is_solve for call in step.program.links.unproven(eqn))

"""The layout of an eligibility trace by position, settled before numbers flow.

A site is where one effective weight enters one hidden group, w~ --head--> y --tail--> h. Its trace holds, for every
state s of the group that the site can reach, dh_s/dw~ as far as it stays in its position: one number for each row k of
y and each feature f of x.
"""

import dataclasses
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact, Int

from ..._read import Analysis, at_rows, elements, holomorphic_pairs, pick, Positions, Site, Tail
from .._dtype import widest
from .._head import Head, make_head


@dataclasses.dataclass(frozen=True, eq=False)
class TraceLayout:
    """The layout of the trace of one site: what a rule by position is told about it."""

    number: int
    """The number of the site."""
    group: int
    """The number of the tail of its hidden group."""
    leaves: tuple[int, ...]
    """The states of the group, then its filters, by number: states by theirs among the real arrays of the state."""
    filters: tuple[int, ...]
    """The filters among these."""
    followed: tuple[int, ...]
    """The states of the group, then those that its filters stand for."""
    weight: int
    """The effective weight, as a variable of the step."""
    features: int | None
    """The variable x that the weight meets; None for an elementwise parameter."""
    output: int | None
    """The variable y that the head makes; None for an elementwise parameter, which is its own output."""
    head: Head
    """How w~ and x make y."""
    states: tuple[int, ...]
    """The states and filters that the site can reach, now or later; of a holomorphic pair the real part."""
    partners: tuple[int | None, ...]
    """For each of those, the imaginary part that it stands for: e_q = -i e_p."""
    couplings: tuple[tuple[bool, ...], ...]
    """[s][s'] over those states: can D be anything but zero?"""
    enters: tuple[bool, ...]
    """[s]: does the site enter that state in the same step?"""
    elements: tuple[Positions, ...]
    """For each state and filter: which of its elements each row belongs to, NONE if none."""
    dtype: np.dtype
    """The dtype of its arithmetic. The trace of a weight that is complex, or meets complex data, is complex, in JAX's
    convention of cotangents: it stands for dh = Re(e dw)."""
    find_rows: Callable[[Mapping[Any, Any]], Int[Array, "..."]] | None = None
    """Where an index of the model decides the positions: from the values of the model to what each row names. Then
    `elements` are by what may be named."""
    named: Int[Array, "..."] | None = None
    """What each row names, in a call."""

    def bound(self, values: Mapping[Any, Any]) -> "TraceLayout":
        """The same in a call, where the values that depend on the model alone are known."""
        return self if self.find_rows is None else dataclasses.replace(self, named=self.find_rows(values))

    @property
    def own(self) -> tuple[int, ...]:
        """The states of the group; if it has none, those that its filters stand for."""
        return self.leaves[: len(self.leaves) - len(self.filters)] or self.followed

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the trace of one state: (b, m, n, k), or that of the weight for an elementwise parameter."""
        return self.head.shape

    @property
    def rows(self) -> tuple[int, ...]:
        """The shape of one value per row: (b, m, n), or that of the weight for an elementwise parameter."""
        return self.head.shape[:-1] if self.head.has_features else self.head.shape

    @property
    def features_shape(self) -> tuple[int, int, int]:
        """The shape of x; of a head that has features."""
        b, m, _, k = self.head.shape
        return b, m, k

    @property
    def alike(self) -> Hashable:
        """Equal for layouts whose traces have the same arrays under any rule."""
        head = self.head.shape, self.head.has_features, self.head.output
        return head, self.partners, self.couplings, self.enters, self.dtype

    @property
    def place(self) -> Sequence[np.ndarray]:
        """Which element of which state each number of the trace is about."""
        return np.array(self.states), *self.elements

    def zeros(self, dtype: np.dtype | None = None) -> tuple[Inexact[Array, "..."], ...]:
        """A trace that holds nothing yet: one array per state."""
        return tuple(jnp.zeros(self.shape, self.dtype if dtype is None else dtype) for _ in self.states)

    def outer(
        self, response: Inexact[Array, "..."] | None, x: Inexact[Array, "b m k"] | None
    ) -> Inexact[Array, "..."] | float:
        """dh_s/dy (x) x, what one step adds to the trace of one state; 0.0 where the site does not enter it."""
        return 0.0 if response is None else self.head.outer(response, x)

    def contract(
        self,
        signal: Sequence[Inexact[Array, "..."]],
        e: Sequence[Inexact[Array, "..."]],
        status: Sequence[Inexact[Array, "b m n"]] | None = None,
    ) -> Inexact[Array, "..."]:
        """sum_s g_s e_s, a cotangent of the effective weight. `status` is that of `_status`, if the trace has one."""
        return self.head.contract(signal, e, status)

    def signal(self, mine: Sequence[Inexact[Array, "..."]]) -> tuple[Inexact[Array, "..."], ...]:
        """The learning signal of each state of the trace, by row, from a cotangent of every state and filter."""
        folded = [self.folded(mine.__getitem__, s) for s in self.states]
        return tuple(signal for signal in folded if signal is not None)

    def folded(self, values: Callable[[int], Inexact[Array, "..."] | None], s: int) -> Inexact[Array, "..."] | None:
        """What meets e[s], by row, from what meets every state of the group, in its layout: v_p - i v_q for a pair."""
        q = self.partners[self.states.index(s)]
        first = self._at_rows(values(s), s)
        second = None if q is None else self._at_rows(values(q), s)
        if second is None:
            return first
        return -1j * second if first is None else first - 1j * second

    def _at_rows(self, values: Inexact[Array, "..."] | None, state: int) -> Inexact[Array, "..."] | None:
        """A value per element of a hidden state, as a value per row."""
        if values is None:
            return None
        picked = pick(values, self.elements[state]).astype(self.dtype)
        if self.find_rows is None:
            return picked
        assert self.named is not None, "a layout that no call has bound"
        return at_rows(picked, self.named)


def make_trace_layouts(analysis: Analysis) -> tuple[TraceLayout, ...]:
    """The layout of the trace of every site, in order."""
    pairs = [holomorphic_pairs(analysis.step, tail) for tail in analysis.tails]
    return tuple(
        _make_layout(analysis, number, site.group, pairs[site.group]) for number, site in enumerate(analysis.sites)
    )


def make_filtered_layouts(analysis: Analysis) -> tuple[TraceLayout, ...]:
    """The layout of the trace of every site of the groups with filters, in order."""
    tails = analysis.filtered.tails
    where = [len(analysis.tails) + i for i, tail in enumerate(tails) for _ in tail.sites]
    pairs = {len(analysis.tails) + i: holomorphic_pairs(analysis.step, tail) for i, tail in enumerate(tails)}
    return tuple(_make_layout(analysis, len(analysis.sites) + n, tail, pairs[tail]) for n, tail in enumerate(where))


def _make_layout(analysis: Analysis, number: int, group: int, pairs: dict[int, int]) -> TraceLayout:
    site, step = analysis.site(number), analysis.step
    tail = analysis.tail(group)
    couplings, enters = tail.couplings(step), tail.entries(step, tail.sites.index(site))
    head = make_head(step.program, site.weight, None if site.output is None else site.equation)
    decision = site.decision
    frame = head.to_rows(site.frame) if decision is None else decision.frame

    def find_rows(values: Mapping[Any, Any]) -> Int[Array, "..."]:
        assert decision is not None
        return head.to_rows(decision.rows(step.program, site.frame, values))

    dtype = _dtype(analysis, site, tail)
    pairs = pairs if jnp.issubdtype(dtype, jnp.complexfloating) else {}
    kept = tuple(sorted(_reached(couplings, enters) - set(pairs.values())))

    def is_coupled(s: int, r: int) -> bool:
        return couplings[s][r] or couplings[s][pairs.get(r, r)]

    return TraceLayout(
        number=number,
        group=group,
        leaves=tail.numbers,
        filters=tuple(one.number for one in tail.filters),
        followed=tail.followed,
        weight=site.weight,
        features=site.features,
        output=site.output,
        head=head,
        states=kept,
        partners=tuple(pairs.get(s) for s in kept),
        couplings=_matrix(is_coupled, kept),
        enters=tuple(enters[s] for s in kept),
        elements=tuple(elements(positions, frame) for positions in tail.positions),
        dtype=dtype,
        find_rows=None if decision is None else find_rows,
    )


def _matrix(of: Callable[[int, int], bool], states: tuple[int, ...]) -> tuple[tuple[bool, ...], ...]:
    """[s][s'] over some states."""

    def row(s: int) -> tuple[bool, ...]:
        return tuple(of(s, r) for r in states)

    return tuple(map(row, states))


def _reached(couplings: tuple[tuple[bool, ...], ...], enters: tuple[bool, ...]) -> set[int]:
    """The states that a site reaches, in this step or through other states in later ones."""
    states = {s for s, here in enumerate(enters) if here}
    while True:
        more = _one_step_on(couplings, states)
        if more <= states:
            return states
        states |= more


def _one_step_on(couplings: tuple[tuple[bool, ...], ...], states: set[int]) -> set[int]:
    """The states that any of these reaches in one step."""
    return {s for s, row in enumerate(couplings) if states.intersection(np.flatnonzero(row))}


def _dtype(analysis: Analysis, site: Site, tail: Tail) -> np.dtype:
    """The dtype that holds the states of the group, the weight, and what it meets and makes."""
    program = analysis.step.program
    met = [*site.equation.inputs, *([] if site.output is None else [site.output])]
    held = [program.avals[v].dtype for v in met if program.is_inexact(v)]
    return widest(state_dtype(analysis, tail), *held)


def state_dtype(analysis: Analysis, tail: Tail) -> np.dtype:
    """The dtype that holds every state of a group, and what its filters read."""
    step = analysis.step
    held = [*(step.states[leaf] for leaf in tail.group.leaves), *tail.read]
    return widest(*(step.program.avals[var].dtype for var in held))

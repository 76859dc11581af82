"""The layout of an eligibility trace, settled before numbers flow."""

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact

from ..._read import Analysis, HiddenGroup, holomorphic_pairs, NONE, Positions
from .._dtype import widest
from .._head import Head, make_head


@dataclasses.dataclass(frozen=True)
class Trace:
    """The layout of the eligibility trace of one site."""

    number: int
    group: int
    head: Head
    weight: int
    features: int | None
    """The variable x that the weight meets, and y, which it makes; None for an elementwise parameter."""
    output: int | None
    states: tuple[int, ...]
    """The states of the group that the site can reach, now or later; of a holomorphic pair the real part."""
    partners: tuple[int | None, ...]
    """For each of those, the imaginary part that it stands for: e_q = -i e_p."""
    couplings: tuple[tuple[bool, ...], ...]
    """[s][s'] over those states: can D be anything but zero?"""
    entries: tuple[bool, ...]
    """[s]: does the site enter that state in the same step?"""
    elements: tuple[Positions, ...]
    """For each state of the group: which of its elements each row belongs to, NONE if none."""
    dtype: np.dtype
    """The dtype of its arithmetic. The trace of a weight that is complex, or meets complex data, is complex, in JAX's
    convention of cotangents: it stands for dh = Re(e dw)."""

    @property
    def rows(self) -> tuple[int, ...]:
        """The shape of one value per row."""
        return self.head.shape[:-1] if self.head.has_features else self.head.shape

    @property
    def features_shape(self) -> tuple[int, int, int]:
        """The shape of x; of a head that has features."""
        b, m, _, k = self.head.shape
        return b, m, k

    def folded(self, values: Callable[[int], Inexact[Array, "..."] | None], s: int) -> Inexact[Array, "..."] | None:
        """What meets e[s], by row, from what meets every state of the group, in its layout: v_p - i v_q for a pair."""
        q = self.partners[self.states.index(s)]
        both = values(s), None if q is None else values(q)
        first, second = (None if v is None else self.at_rows(v, s).astype(self.dtype) for v in both)
        if second is None:
            return first
        return -1j * second if first is None else first - 1j * second

    def at_rows(self, values: Inexact[Array, "..."], state: int) -> Inexact[Array, "..."]:
        """A value per element of a hidden state, as a value per row."""
        return pick(values, self.elements[state])


def pick(values: Inexact[Array, "..."], index: Positions) -> Inexact[Array, "..."]:
    """The elements of `values` that `index` names, zero where it names none; without a gather where it can be."""
    flat = values.reshape(-1)
    times = index.size // max(flat.size, 1)
    if _is_tiled(index, flat.size, times):
        *lead, last = index.shape or (1,)
        once = flat.reshape(*lead, 1, last // times)
        return jnp.broadcast_to(once, (*lead, times, last // times)).reshape(index.shape)
    picked = flat[np.maximum(index, 0)]
    return jnp.where(index == NONE, 0, picked) if (index == NONE).any() else picked


def elements(positions: Positions, frame: Positions) -> Positions:
    """For each entry of `frame`, the element of a state with these `positions` that shares its position."""
    inverse = np.full(1 + max(int(positions.max(initial=-1)), int(frame.max(initial=-1))), NONE)
    inverse[positions.ravel()] = np.arange(positions.size)
    return np.where(frame >= 0, inverse[np.maximum(frame, 0)], NONE)


def make_traces(analysis: Analysis) -> tuple[Trace, ...]:
    """The layout of the trace of every site, in order."""
    pairs = [holomorphic_pairs(analysis.step, tail) for tail in analysis.tails]
    return tuple(_make_trace(analysis, number, pairs[site.group]) for number, site in enumerate(analysis.sites))


def _make_trace(analysis: Analysis, number: int, pairs: dict[int, int]) -> Trace:
    site, step = analysis.sites[number], analysis.step
    tail = analysis.tails[site.group]
    couplings, entries = tail.couplings(step), tail.entries(step, tail.sites.index(site))
    states = {s for s, enters in enumerate(entries) if enters}
    while more := {s for s, row in enumerate(couplings) if s not in states and any(row[r] for r in states)}:
        states |= more
    head = make_head(step.program, site.weight, None if site.output is None else site.equation)
    frame = head.to_rows(site.frame)
    avals = step.program.avals
    met = [*site.equation.inputs, *([] if site.output is None else [site.output])]
    held = [avals[v].dtype for v in met if step.program.is_inexact(v)]
    dtype = widest(state_dtype(analysis, tail.group), *held)
    pairs = pairs if jnp.issubdtype(dtype, jnp.complexfloating) else {}
    kept = tuple(sorted(states - set(pairs.values())))
    return Trace(
        number,
        site.group,
        head,
        site.weight,
        site.features,
        site.output,
        kept,
        tuple(pairs.get(s) for s in kept),
        tuple(tuple(couplings[s][r] or couplings[s][pairs.get(r, r)] for r in kept) for s in kept),
        tuple(entries[s] for s in kept),
        tuple(elements(positions, frame) for positions in tail.group.positions),
        dtype,
    )


def state_dtype(analysis: Analysis, group: HiddenGroup) -> np.dtype:
    """The dtype that holds every state of a group."""
    step = analysis.step
    return widest(*(step.program.avals[step.states[leaf]].dtype for leaf in group.leaves))


def _is_tiled(index: Positions, size: int, times: int) -> bool:
    """Are the elements 0 ... size-1 there in order, each row of the last axis repeated `times` times?"""
    *lead, last = index.shape or (1,)
    if times == 0 or index.size != times * size or last % times:
        return False
    once = np.arange(size).reshape(*lead, 1, last // times)
    return bool((index.reshape(*lead, times, last // times) == once).all())

"""Complex states whose new value is a holomorphic function of what the trace follows.

The state h = p + i q is two real states, and dh = Re(e dw) for each. If the new h depends on the old one, and on what
the weight makes, through complex operations alone, each of them holomorphic, then dh/dw is one complex number, and

    e_q  =  -i e_p .

One half of the trace says all (Wirtinger; a linear recurrent unit is the example).
"""

from collections.abc import Collection, Sequence

import numpy as np

from ... import _jax
from ..program import Equation
from ..step import Step
from ._tail import Tail

(_COMPLEX,) = _jax.primitives("complex")


def holomorphic_pairs(step: Step, tail: Tail) -> dict[int, int]:
    """From the number of a real part among the states of the group to that of its imaginary part."""
    number = {leaf: s for s, leaf in enumerate(tail.group.leaves)}
    pairs = [pair for pair in step.state.halves if len(pair) == 2 and number.keys() >= set(pair)]
    # A pair that fails is no longer one that the others may read.
    while failed := [pair for pair in pairs if not _is_holomorphic(step, tail, pair, pairs)]:
        pairs = [pair for pair in pairs if pair not in failed]
    return {number[p]: number[q] for p, q in pairs}


def _is_holomorphic(step: Step, tail: Tail, pair: Sequence[int], pairs: Sequence[Sequence[int]]) -> bool:
    """Is the new pair a function of old pairs and complex weights through holomorphic operations alone?"""
    first, second = (step.program.producer.get(step.new_states[leaf]) for leaf in pair)
    if first is None or second is None or (first.traits.half, second.traits.half) != ("real", "imag"):
        return False
    if first.inputs != second.inputs or not _share_positions(tail, *pair):
        return False
    halves = {(step.states[a], step.states[b]) for a, b in pairs}
    return all(_is_step(step, eqn, followed, halves) for eqn, followed in _ways(tail, first.inputs[0]))


def _share_positions(tail: Tail, p: int, q: int) -> bool:
    where = dict(zip(tail.group.leaves, tail.group.positions, strict=True))
    return np.array_equal(where[p], where[q])


def _ways(tail: Tail, start: int) -> list[tuple[Equation, list[int]]]:
    """The equations of the tail that a variable is made by, each with the operands that are followed."""
    made_by = {output: eqn for eqn in tail.equations for output in eqn.outputs}
    entering = frozenset().union(*(site.edges for site in tail.sites))
    ways: dict[int, tuple[Equation, list[int]]] = {}
    left = [start]
    while left:
        eqn = made_by.get(left.pop())
        if eqn is not None and eqn.outputs[0] not in ways:
            edges = [((eqn.outputs[0], i), v) for i, v in enumerate(eqn.inputs)]
            followed = [v for edge, v in edges if edge in entering or tail.recomputes(edge, v)]
            ways[eqn.outputs[0]] = eqn, followed
            left += followed
    return list(ways.values())


def _is_step(step: Step, eqn: Equation, followed: Collection[int], halves: Collection[tuple[int, ...]]) -> bool:
    if eqn.primitive is _COMPLEX:
        return tuple(eqn.inputs) in halves and tuple(followed) == tuple(eqn.inputs)
    everything = [*followed, *eqn.outputs]
    return eqn.traits.is_holomorphic and all(step.program.avals[v].dtype.kind == "c" for v in everything)

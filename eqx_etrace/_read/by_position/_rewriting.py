"""How else the operation at a cut could be written, so that the credit is kept: one line for each known form."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from ..primitives import Flow, Runs
from ..program import Equation, is_fixed_map, is_known, Mixed, Positions, UNKNOWN
from ..step import Step
from ._along import MOST
from ._hidden_group import HiddenGroup

_COLLECTIVES = frozenset(
    [
        *("psum", "psum_invariant", "pmax", "pmin", "ppermute", "pgather"),
        *("all_gather", "all_gather_invariant", "all_to_all", "reduce_scatter"),
    ]
)


class At(NamedTuple):
    """One use of a variable by one equation, in the tail of a group."""

    step: Step
    bits: Mapping[int, int]
    fixed: frozenset[int]
    group: HiddenGroup
    eqn: Equation
    operand: int
    labels: Positions | None
    """What falls on the variable, where the edge is cut because it disagrees with the frame."""
    frame: Positions | None

    @property
    def var(self) -> int:
        return self.eqn.inputs[self.operand]

    @property
    def is_of_the_group(self) -> bool:
        """Does the variable depend on the old states of the group?"""
        return bool(self.bits.get(self.var, 0) & self.step.state_bits(self.group.leaves))


def _is_summed_at_an_open_index(at: At) -> bool:
    return at.eqn.traits.flow is Flow.SCATTERED and at.operand == 2 and at.eqn.inputs[1] not in at.fixed


def _is_weight_of_a_branch(at: At) -> bool:
    return at.eqn.traits.runs is Runs.COND and at.var in at.fixed


def _is_weight_of_a_loop(at: At) -> bool:
    return at.eqn.traits.runs in (Runs.SCAN, Runs.WHILE) and at.var in at.fixed


def _is_second_of_two_factors(at: At) -> bool:
    """A matrix that meets, by linear maps alone, what another matrix, or a gain, made of data."""
    if at.eqn.traits.flow is not Flow.CONTRACTED:
        return False
    if not is_fixed_map(at.eqn, at.operand, at.fixed.__contains__):
        return False
    made = at.step.program.producer.get(at.var)
    while made is not None:
        moving = [i for i, var in enumerate(made.inputs) if var not in at.fixed]
        if len(moving) != 1 or not is_fixed_map(made, moving[0], at.fixed.__contains__):
            return False
        is_weighed = made.traits.is_product or made.traits.flow is Flow.CONTRACTED
        if is_weighed and at.bits.get(made.inputs[1 - moving[0]], 0):
            return True
        made = at.step.program.producer.get(made.inputs[moving[0]])
    return False


def _is_moved_along_one_axis(at: At) -> bool:
    """Do elements of a state enter others, further along one short axis?"""
    if at.labels is None or at.frame is None or not (is_known(at.labels) and is_known(at.frame)):
        return False
    differ = (at.labels >= 0) & (at.frame >= 0) & (at.labels != at.frame)
    shape = max((positions.shape for positions in at.group.positions), key=np.prod, default=())
    if len(shape) < 2 or not differ.any() or max(at.labels.max(), at.frame.max()) >= np.prod(shape):
        return False
    pairs = zip(np.unravel_index(at.labels[differ], shape), np.unravel_index(at.frame[differ], shape), strict=True)
    moved = [axis for axis, (one, other) in enumerate(pairs) if (one != other).any()]
    return len(moved) == 1 and shape[moved[0]] <= MOST


def _is_mixed_along_one_axis(at: At) -> bool:
    """Do elements of an old state meet those further along one short axis alone, and is there another axis?"""
    leaf = next((i for i, number in enumerate(at.group.leaves) if at.step.states[number] == at.var), None)
    link = at.step.program.links(at.eqn, at.operand, 0)
    if leaf is None or not isinstance(link, Mixed) or (link.into.target < 0).any():
        return False
    shape, blocks = at.group.positions[leaf].shape, link.into.target.ravel()
    wide = []
    for axis, along in enumerate(np.unravel_index(np.arange(blocks.size), shape)):
        first, last = np.full(link.blocks, shape[axis]), np.full(link.blocks, -1)
        np.minimum.at(first, blocks, along)
        np.maximum.at(last, blocks, along)
        wide += [axis] if (first < last).any() else []
    return len(wide) == 1 and len(shape) > 1 and shape[wide[0]] <= MOST


def _is_long_buffer(at: At) -> bool:
    """A slice at an index that moves, along an axis of a state that is too long to be told apart."""
    shapes = [positions.shape for positions in at.group.positions]
    is_long = any(len(shape) > 1 and max(shape) > MOST for shape in shapes)
    return is_long and at.is_of_the_group and _has_index_that_moves(at)


def _has_index_that_moves(at: At) -> bool:
    is_slice = at.eqn.traits.flow in (Flow.INDEXED, Flow.SCATTERED)
    return is_slice and any(v not in at.fixed and not at.step.program.is_inexact(v) for v in at.eqn.inputs)


def _is_number_in_a_rule(at: At) -> bool:
    """One weight for all elements of a call with a derivative rule of its own."""
    shape = at.step.program.shape
    return at.eqn.is_custom and at.var in at.fixed and not shape(at.var) and any(shape(v) for v in at.eqn.outputs)


def _is_between_lanes(at: At) -> bool:
    """A collective, by the name of an axis."""
    return at.eqn.name in _COLLECTIVES


def _comes_to_vary(at: At) -> bool:
    return at.eqn.name == "pvary"


def _is_unknown(at: At) -> bool:
    return at.eqn.primitive is UNKNOWN and not at.eqn.is_custom


_FORMS: tuple[tuple[Callable[[At], bool], str], ...] = (
    (
        _is_summed_at_an_open_index,
        "its index may be another at every step: hold it in the model, if it stands still, or give every unit as many "
        "inputs, `(w * x[index]).sum(-1)`",
    ),
    (_is_weight_of_a_branch, "compute what both branches make of the weight, and choose with `jnp.where`"),
    (
        _is_weight_of_a_loop,
        "compute what the weight makes before the loop; loops of a known number of rounds, up to 64, are written out",
    ),
    (
        _is_second_of_two_factors,
        "the product of the weights, computed first, has a trace: `(A @ B) @ x` for `A @ (B @ x)`, `(A * gain) @ x` "
        "for `A @ (gain * x)`",
    ),
    (
        _is_moved_along_one_axis,
        "it moves along one axis: if several states of a unit lie there, keep them as a tuple of arrays",
    ),
    (
        _is_mixed_along_one_axis,
        "it mixes along one axis: if several states of a unit lie there, keep them as a tuple of arrays",
    ),
    (_is_number_in_a_rule, "give each unit its own copy before the call: `jnp.broadcast_to(a, v.shape)`"),
    (_is_long_buffer, f"a buffer is told apart up to {MOST} slots"),
    (
        _comes_to_vary,
        "a state that is the same on all devices comes to vary over them: begin with one that varies, "
        "`jax.lax.pcast(state, axis, to='varying')`",
    ),
    (_is_between_lanes, "what lanes of another device, or of a `vmap` around the step, did is not followed"),
    (
        _is_unknown,
        "nothing is known of this operation: write it with JAX's own, such as a sparse product with "
        "`jax.ops.segment_sum` or `BCOO`",
    ),
)


def rewriting(at: At) -> str:
    """What to say of it; empty where no other way is known."""
    return next((told for is_met, told in _FORMS if is_met(at)), "")

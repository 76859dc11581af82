"""How the output reads the new state: where each new state is computed, and what runs from there to the output."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence, Set

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ._effective_weights import Body, find_fixed
from .primitives import Flow
from .program import dependence, Equation, indices, Mixed, Mixing, Positions, Runnable, union
from .step import Step


@dataclasses.dataclass(frozen=True)
class NewState:
    """Where a new state is computed: before it is cast, copied, reshaped or permuted for the next step.

    A loss that reads it there reads the new state, too.
    """

    variable: int
    order: Positions
    """For each element of the new state, the element of the variable."""
    half: str | None = None
    """Which part of a complex variable it is, `real` or `imag`; None if all of a real one."""
    is_rounded: bool = False
    """Is it cast on the way? Then the variable may say more than the new state that is kept."""

    def of(self, cotangent: Array) -> Array:
        """The part of the variable's cotangent that belongs to the new state: that of a + ib stands for Re(ct dz)."""
        return cotangent if self.half is None else (cotangent.real if self.half == "real" else -cotangent.imag)


def find_new_states(step: Step, fixed: Set[int]) -> list[NewState]:
    """Of every new state, in order."""
    taken = {*step.states, *step.new_states, *step.wholes, *fixed}
    states: list[NewState] = []
    for leaves in step.state.parts:
        states += _of_halves(step, leaves, taken) or _of_parts(step, leaves, taken)
    return states


def _of_halves(step: Step, leaves: Sequence[int], taken: set[int]) -> list[NewState]:
    """Of a complex array that has its halves from one variable; nothing of any other."""
    whole = _whole(step, leaves, taken)
    if whole is None:
        return []
    taken.add(whole)
    (state,) = _before_copies(step, [_in_order(step, whole)], taken)
    return [dataclasses.replace(state, half=half) for half in ("real", "imag")]


def _of_parts(step: Step, leaves: Sequence[int], taken: set[int]) -> list[NewState]:
    """Of an array that is taken out whole, or in parts; each is where it is computed by itself, or all are together."""
    states: list[NewState] = []
    for whole, half in itertools.groupby(leaves, key=step.wholes.__getitem__):
        parts = list(half)
        if len(parts) > 1 and _are_sliced(step, parts, whole):
            together = [NewState(whole, step.state.order_of(leaf)) for leaf in parts]
            states += _before_copies(step, together, taken)
        else:
            for leaf in parts:
                states += _before_copies(step, [_in_order(step, step.new_states[leaf])], taken)
    return states


def _are_sliced(step: Step, leaves: Sequence[int], whole: int) -> bool:
    return all(_is_sliced(step, step.new_states[leaf], whole) for leaf in leaves)


def _is_sliced(step: Step, var: int, whole: int) -> bool:
    """Is it a part of this array by movements alone?"""
    while var != whole:
        eqn = step.program.producer.get(var)
        if eqn is None or eqn.traits.flow is not Flow.REARRANGED:
            return False
        (var,) = eqn.inputs
    return True


def _in_order(step: Step, var: int) -> NewState:
    return NewState(var, indices(step.program.shape(var)))


def _before_copies(step: Step, states: Sequence[NewState], taken: set[int]) -> list[NewState]:
    """Go back from the parts of a variable to where they are computed; what is passed on the way is taken."""
    eqn = step.program.producer[states[0].variable]
    moved = _moved(step, eqn, taken)
    if moved is not None:
        taken.update(eqn.inputs)
        return _before_copies(step, [_before_move(eqn, moved, state) for state in states], taken)
    joined = _joined(step, eqn, states, taken)
    if joined is None:
        return list(states)
    taken.update(eqn.inputs)
    found: dict[int, NewState] = {}
    for var in {state.variable for state in joined}:
        here = [number for number, state in enumerate(joined) if state.variable == var]
        found |= zip(here, _before_copies(step, [joined[number] for number in here], taken), strict=True)
    return [found[number] for number in range(len(joined))]


def _before_move(eqn: Equation, moved: Positions, state: NewState) -> NewState:
    order = np.asarray(moved[state.order])  # of no axes NumPy makes a scalar
    return NewState(eqn.inputs[0], order, is_rounded=eqn.traits.rounds or state.is_rounded)


def _joined(step: Step, eqn: Equation, states: Sequence[NewState], taken: Set[int]) -> list[NewState] | None:
    """The parts of a concatenation as parts of its operands; None if an operand has more, or there is no such thing."""
    is_free = taken.isdisjoint(eqn.inputs) and step.program.producer.keys() >= {*eqn.inputs}
    if eqn.traits.flow is not Flow.JOINED or not is_free or len({*eqn.inputs}) < len(eqn.inputs):
        return None
    operands = [_in_operand(step, eqn, state) for state in states]
    found = [operand for operand in operands if operand is not None]
    held = sum(state.order.size for state in found)
    needed = sum(indices(step.program.shape(var)).size for var in eqn.inputs)
    return found if len(found) == len(states) and held == needed else None


def _in_operand(step: Step, eqn: Equation, state: NewState) -> NewState | None:
    """The part of one operand of a concatenation that this state is; None if it is of several."""
    for i, var in enumerate(eqn.inputs):
        link, numbers = step.program.links(eqn, i, 0), indices(step.program.shape(var))
        if link is not None:
            order = np.asarray(link.forward(numbers, step.program.shape(eqn.outputs[0])).ravel()[state.order])
            if (order >= 0).all():
                return dataclasses.replace(state, variable=var, order=order)
    return None


def _moved(step: Step, eqn: Equation, taken: Set[int]) -> Positions | None:
    """By element of the output, the element of the operand; None if the equation does more than put them in order."""
    program = step.program
    if len(eqn.inputs) != 1 or len(eqn.outputs) != 1 or eqn.is_custom or _computes(eqn):
        return None
    (before,), (after,) = eqn.inputs, eqn.outputs
    becomes_complex = jnp.iscomplexobj(program.avals[before]) != jnp.iscomplexobj(program.avals[after])
    if before in taken or before not in program.producer or becomes_complex:
        return None
    link, numbers = program.links(eqn, 0, 0), indices(program.shape(before))
    if link is None or isinstance(link, Mixed | Mixing):
        return None
    moved = link.forward(numbers, program.shape(after)).ravel()
    return moved if np.array_equal(np.sort(moved), numbers.ravel()) else None


def read_as_new(step: Step) -> list[int]:
    """The new states that the output reads, by number."""
    variables = [state.variable for state in find_new_states(step, find_fixed(step))]
    order = list(dict.fromkeys(variables))  # the halves of a complex state have one variable
    seen = union(dependence(step.program, order), step.out_inexact)
    return [leaf for leaf, var in enumerate(variables) if seen >> order.index(var) & 1]


def _computes(eqn: Equation) -> bool:
    """Is it elementwise, and no copy?"""
    return eqn.traits.flow is Flow.ALIGNED and not eqn.traits.copies


def _whole(step: Step, leaves: Sequence[int], taken: Set[int]) -> int | None:
    """The complex variable that the halves of a new state were taken from; None if there is no such thing."""
    if len(leaves) != 2:
        return None
    eqns = [step.program.producer[step.new_states[leaf]] for leaf in leaves]
    (whole, *more) = {v for eqn in eqns for v in eqn.inputs}
    is_taken = more or whole in taken or whole not in step.program.producer
    are_halves = [eqn.traits.half for eqn in eqns] == ["real", "imag"]
    return whole if are_halves and not is_taken else None


@dataclasses.dataclass(frozen=True)
class ReadOut:
    """The part of a step that makes the output from the new state, which is taken as given."""

    states: tuple[NewState, ...]
    equations: tuple[Runnable, ...]
    """What the output needs and the new state does not already hold."""
    heads: frozenset[int]
    """The outputs of the heads among them."""
    past_new: Mapping[int, int]
    """The old states that each variable depends on other than through a new one: one bit per state."""
    is_closed: bool
    """Does the output depend on the old state through the new one alone, as it is kept?"""

    def given(self, step: Step, new_state: Sequence[Array]) -> dict[int, Array]:
        """The values of the variables that hold a new state, from its leaves."""
        parts: dict[int, dict[str | None, list[tuple[Positions, Array]]]] = {}
        for state, h in zip(self.states, new_state, strict=True):
            parts.setdefault(state.variable, {}).setdefault(state.half, []).append((state.order, h))
        values = {}
        for var, by_half in parts.items():
            shape, dtype = step.program.avals[var].shape, step.program.avals[var].dtype
            halves = [_assembled(held).reshape(shape) for held in by_half.values()]
            value = halves[0] if len(halves) == 1 else jax.lax.complex(*halves)
            values[var] = value.astype(dtype)
        return values

    def by_leaf(self, cotangents: Mapping[int, Array], new_state: Sequence[Array]) -> list[Array]:
        """From cotangents of those variables to those of the leaves."""
        flat = [_rearranged(state.of(cotangents[state.variable]), state.order) for state in self.states]
        return [g.astype(h.dtype) for g, h in zip(flat, new_state, strict=True)]


def _rearranged(values: Array, order: Positions) -> Array:
    """`values.reshape(-1)[order]`; a read in order is none, and one of what lies in a row is a slice."""
    first = int(order.flat[0]) if order.size else 0
    if (order.ravel() == first + np.arange(order.size)).all():
        return jax.lax.slice_in_dim(values.reshape(-1), first, first + order.size).reshape(order.shape)
    return values.reshape(-1)[order]


def _assembled(parts: Sequence[tuple[Positions, Array]]) -> Array:
    """The elements of a variable in order, from parts of it."""
    order = np.concatenate([order.ravel() for order, _ in parts])
    flat = [h.reshape(-1) for _, h in parts]
    return _rearranged(flat[0] if len(flat) == 1 else jnp.concatenate(flat), np.argsort(order))


def find_read_out(step: Step, fixed: Set[int], body: Body) -> ReadOut:
    """What makes the output from the new state."""
    states = find_new_states(step, fixed)
    held = {state.variable for state in states}
    equations = _leading_to_output(step, body, held)
    uses = {use.output: use for use in body.heads}
    past_new = dependence(step.program, step.states, held)
    return ReadOut(
        states=tuple(states),
        equations=tuple(uses.get(eqn.outputs[0], eqn) for eqn in equations),
        heads=frozenset(uses).intersection(eqn.outputs[0] for eqn in equations),
        past_new=past_new,
        is_closed=not _says_more(states, equations) and not union(past_new, step.out_inexact),
    )


def _says_more(states: Sequence[NewState], equations: Sequence[Equation]) -> bool:
    """Is there more to the output than what the new state says as it is kept?"""
    return any(state.is_rounded for state in states) or any(eqn.has_effects for eqn in equations)


def _leading_to_output(step: Step, body: Body, held: Set[int]) -> list[Equation]:
    """The equations that the output needs if these variables are given."""
    needed = set(step.out_inexact)
    equations: list[Equation] = []
    for eqn in reversed(body.equations):
        if needed.intersection(eqn.outputs) - held:
            equations.append(eqn)
            needed.update(eqn.inputs)
    return equations[::-1]

"""Credit that leads nowhere, and states that bring none.

BPTT pulls nothing back through either. A state is a dead end if nothing that gets a cotangent depends on it, in this
step or through later ones. It is still if no parameter can ever reach it, such as a filter of the inputs.
"""

from collections.abc import Collection, Mapping, Sequence

from ._new_states import read_as_new
from .program import dependence, union
from .step import Step


def without_dead_ends(step: Step) -> tuple[Step, Mapping[int, int]]:
    """The step without credit into dead ends, and what depends on what in it.

    What BPTT would multiply by zero (the slope of a norm at zero) may be infinite.
    """
    bits = dependence(step.program, step.starts)
    dead = _dead(step, bits, ())
    dead = dead and _dead(step, bits, read_as_new(step))
    if not dead:
        return step, bits
    step = step.without_credit_into(dead)
    return step, dependence(step.program, step.starts)


def without_still_states(step: Step, bits: Mapping[int, int]) -> tuple[Step, Mapping[int, int]]:
    """The step, not differentiated by states that are still, and what depends on what in it.

    They have no tangent in BPTT: a `while_loop` may run over them, and a rule that asks is told so.
    """
    moved = with_later_states(step, bits, (1 << len(step.parameters)) - 1)
    still = [leaf for leaf in range(len(step.states)) if not moved & step.state_bits([leaf])]
    if not still:
        return step, bits
    step = step.without_credit_from(still)
    return step, dependence(step.program, step.starts)


def _dead(step: Step, bits: Mapping[int, int], read: Collection[int]) -> list[int]:
    """The dead ends that credit enters, if the output reads these new states."""
    pulled = range(len(step.states)) if step.pulls_state else read
    needed = union(bits, [*step.pulled, *(step.new_states[leaf] for leaf in pulled)])
    live = {*pulled, *live_parts(step, bits, needed, [[leaf] for leaf in range(len(step.states))])}
    dead = [pair for pair in step.state.halves if live.isdisjoint(pair)]
    return [leaf for pair in dead for leaf in pair if bits.get(step.new_states[leaf], 0)]


def live_parts(step: Step, bits: Mapping[int, int], needed: int, parts: Sequence[Sequence[int]]) -> list[int]:
    """Which parts of the old state are needed, in this step or through later ones, if these bits are in this one."""
    live: set[int] = set()
    while True:
        more = [i for i, part in enumerate(parts) if i not in live and step.state_bits(part) & needed]
        if not more:
            return sorted(live)
        live.update(more)
        needed |= union(bits, [step.new_states[leaf] for i in more for leaf in parts[i]])


def with_later_states(step: Step, bits: Mapping[int, int], credit: int) -> int:
    """These bits, and those of all states that they can ever reach."""
    while True:
        reached = [leaf for leaf, new in enumerate(step.new_states) if bits.get(new, 0) & credit]
        more = credit | step.state_bits(reached)
        if more == credit:
            return credit
        credit = more

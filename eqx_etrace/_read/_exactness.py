"""What is exact, and what is dropped where.

D-RTRL keeps, of the true influence recursion

    J_H' = sum_G (dh_H'/dh_G) J_G + dh_H'/dtheta ,

the aligned part of the diagonal blocks and the immediate terms of the sites. Whatever else there is enters
the tail of some group H over a cut edge. So for a parameter theta nothing is missing if and only if no
cut edge into the tail of a group that matters carries theta, or the old state of a group that theta has
a trace in. A group matters if its old state reaches what gets a cotangent (the output, and under `etrace_vjp` the
new state), or another group that matters. All of it is structure, no numbers.

An influence on blocks keeps all of J. It misses what no Jacobian can follow: calls whose derivative rule is not linear.
A gradient is zero, under any rule, if no path with a derivative leads from the parameter to what gets a cotangent.
"""

from collections.abc import Iterable, Mapping, Sequence

from ._dead_ends import live_parts, with_later_states
from ._effective_weights import Body
from ._new_states import read_as_new
from .by_position import Cut, Edge, Tail
from .on_blocks import unfollowed_edges
from .program import Equation, has_no_derivative, is_collective, leading_to, Program, union
from .step import Step

Bits = Mapping[int, int]


UNUSED = "is used by no step"
"""Why the gradient of a parameter is zero that the step does not take."""


def find_dropped(step: Step, bits: Bits, tails: Sequence[Tail]) -> tuple[tuple[Cut, ...], ...]:
    """For each parameter, the cut edges that carry its credit, if it has a trace at every site of these tails."""
    # A group whose old states nobody needs may still be read by one that is needed, through filters.
    parts = [tail.followed for tail in tails]
    live = live_parts(step, bits, union(bits, step.pulled), parts)
    cuts = [(cut.operand, cut) for i in live for cut in tails[i].cuts]
    return tuple(_carried(bits, cuts, mine) for mine in _credit_with_traces(step, bits, tails))


def _credit_with_traces(step: Step, bits: Bits, tails: Sequence[Tail]) -> list[int]:
    """For each parameter, itself and the old states that it has a trace in, as bits."""
    credit = [1 << p for p in range(len(step.parameters))]
    for tail in tails:
        held = step.state_bits(tail.followed)
        for site in tail.sites:
            credit = [mine | held if bits[site.weight] >> p & 1 else mine for p, mine in enumerate(credit)]
    return credit


def _carried(bits: Bits, cuts: Iterable[tuple[int, Cut]], credit: int) -> tuple[Cut, ...]:
    """The cuts at operands that carry some of this credit."""
    return tuple(cut for operand, cut in cuts if bits.get(operand, 0) & credit)


def cut_before_the_output(step: Step, tails: Sequence[Tail]) -> list[int]:
    """The operands of cut edges into new states that the output reads, or that get a cotangent of their own."""
    read = set(range(len(step.states)) if step.pulls_state else read_as_new(step))
    return [cut.operand for tail in tails if read.intersection(tail.group.leaves) for cut in tail.cuts]


def find_zero(step: Step, bits: Bits) -> tuple[str | None, ...]:
    """For each parameter, why no path that has a derivative leads to anything that gets a cotangent; None if one does.

    The path may go through later steps.
    """
    needed = union(bits, step.pulled)
    reasons: list[str | None] = []
    for p, var in enumerate(step.parameters):
        credit = with_later_states(step, bits, 1 << p)
        reasons.append(None if needed & credit else _why_zero(step, bits, var, credit))
    return tuple(reasons)


def _why_zero(step: Step, bits: Bits, parameter: int, credit: int) -> str:
    """With the first operation that the credit ends at, such as the comparison of a spike without a surrogate."""
    if parameter not in step.program.read:
        return UNUSED
    first = _first_silent(step.program, bits, credit)
    why = "reaches the output of no step by a path that has a derivative"
    return why if first is None else f"{why}; `{first.name}` at {first.source} has none"


def _first_silent(program: Program, bits: Bits, credit: int) -> Equation | None:
    """The first operation that this credit ends at, but for those by which somebody stops it."""
    silent = (e for e in program.equations if not e.traits.stops_gradient and has_no_derivative(program, e))
    return next((eqn for eqn in silent if union(bits, eqn.inputs) & credit), None)


def find_unfollowed(step: Step, bits: Bits, body: Body) -> tuple[tuple[Cut, ...], ...]:
    """For each parameter, calls with a rule that is not linear, and collectives, on its way into a later step.

    And solves that may stop early, which are followed all the same.
    """
    cuts = _unfollowed_cuts(step, body)
    if not cuts:
        return ((),) * len(step.parameters)
    credit = [with_later_states(step, bits, 1 << p) for p in range(len(step.parameters))]
    return tuple(tuple(dict.fromkeys(_carried(bits, cuts, mine))) for mine in credit)


def _unfollowed_cuts(step: Step, body: Body) -> list[tuple[int, Cut]]:
    """Of every such edge with a way into a new state, the operand, and what to say of it."""
    program, cut = step.program, unfollowed_edges(step, body)
    followed = _edges_of_unproven(step, body)
    onward = leading_to(program, step.new_states) if cut or followed else frozenset()
    cuts: list[tuple[int, Cut]] = []
    for first, i in dict.fromkeys([*cut, *followed]):
        eqn = program.producer[first]
        if onward.intersection(eqn.outputs):
            cuts.append((eqn.inputs[i], _unfollowed_cut(eqn, (first, i) not in cut)))
    return cuts


def _edges_of_unproven(step: Step, body: Body) -> list[Edge]:
    """All that enters an equation that could not be shown to be linear backward."""
    unproven = [eqn for eqn in body.equations if step.program.links.unproven(eqn)]
    return [(eqn.outputs[0], i) for eqn in unproven for i in range(len(eqn.inputs))]


def _unfollowed_cut(eqn: Equation, is_followed: bool) -> Cut:
    why = f"the rule of {eqn.name} could not be shown to be linear"
    if is_collective(eqn):
        why = f"{eqn.name} reaches over an axis around the step (map over the batch inside it instead)"
    elif is_followed:
        why = eqn.name
    return Cut(group=0, operand=eqn.outputs[0], what=why, source=eqn.source, is_followed=is_followed)

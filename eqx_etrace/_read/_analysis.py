"""Stage 4: parameter relations, and what is exact.

D-RTRL keeps, of the true influence recursion

    J_H' = sum_G (dh_H'/dh_G) J_G + dh_H'/dtheta ,

the aligned part of the diagonal blocks and the immediate terms of the sites. Whatever else there is enters
the tail of some group H over a cut edge. So for a parameter theta nothing is missing if and only if no
cut edge into the tail of a group that matters carries theta, or the old state of a group that theta has
a trace in. A group matters if its old state reaches what gets a cotangent (the output, and under `etrace_vjp` the
new state), or another group that matters. All of it is structure, no numbers.
"""

import dataclasses
import functools
from collections.abc import Collection, Mapping, Sequence

from ._effective_weights import Body, find_body
from ._new_states import find_new_states, find_read_out, ReadOut
from .by_position import Cut, find_arrivals, find_hidden_groups, find_tail, HiddenGroup, Knowledge, Site, Tail
from .on_blocks import find_structure, PatternTooLargeError, Structure, unfollowed_edges
from .program import dependence, Equation, fixed_by, has_no_derivative, is_collective, union
from .step import check_loops, check_references, Path, Step


@dataclasses.dataclass(frozen=True)
class ParamRelation:
    """One place where one parameter enters one hidden group."""

    path: Path
    """The path of the parameter in the model."""
    group: int
    """The index of the hidden group."""
    kind: str
    """`dense`, `convolution` or `elementwise`: the operation at which the parameter meets data."""
    source: str
    """The user's line of that operation."""
    site: int = dataclasses.field(repr=False)
    """The trace that serves it; parameters behind one effective weight share it."""
    parameter: int = dataclasses.field(repr=False)
    """Its number among the parameters."""


@dataclasses.dataclass(frozen=True, eq=False)
class Analysis:
    """Everything known about a step from its structure."""

    step: Step
    bits: Mapping[int, int]
    """What each variable depends on, differentiably: one bit per parameter, then one per hidden state."""
    fixed: frozenset[int]
    body: Body
    groups: tuple[HiddenGroup, ...]
    tails: tuple[Tail, ...]
    sites: tuple[Site, ...]
    """All sites, in data-flow order; a trace is kept for each."""
    relations: tuple[ParamRelation, ...]
    dropped: tuple[tuple[Cut, ...], ...]
    """For each parameter, the credit that a position-diagonal trace drops; empty if it is exact."""

    @property
    def structure(self) -> Structure:
        """The pattern of the step's Jacobian; found when a rule needs it.

        **Raises** `PatternTooLargeError` if it cannot be written down.
        """
        found = self._structure
        if isinstance(found, PatternTooLargeError):
            raise found
        return found

    @functools.cached_property
    def _structure(self) -> Structure | PatternTooLargeError:
        try:
            return find_structure(self.step, self.body)
        except PatternTooLargeError as error:
            return error

    @functools.cached_property
    def read_out(self) -> ReadOut:
        """How the output reads the new state."""
        return find_read_out(self.step, self.fixed, self.body)

    @functools.cached_property
    def past_new(self) -> int:
        """The old states, as bits, from which the output takes something other than through a new state."""
        return union(self.read_out.past_new, self.step.out_inexact)

    @functools.cached_property
    def past_tails(self) -> int:
        """These, and those from which a new state that the output reads takes something over a cut edge."""
        return self.past_new | union(self.read_out.past_new, _cut_before_the_output(self))

    @functools.cached_property
    def zero(self) -> tuple[str | None, ...]:
        """For each parameter, why its gradient is zero whatever the numbers; None if it is not."""
        return _zero(self.step, self.bits)

    @functools.cached_property
    def unfollowed(self) -> tuple[tuple[Cut, ...], ...]:
        """For each parameter, the credit that no Jacobian follows: calls whose rule is not linear."""
        return _unfollowed(self.step, self.bits, self.body)


def analyse(step: Step) -> Analysis:
    check_references(step.program)
    step, bits = _without_still_states(*_without_dead_ends(step))
    program = step.program
    check_loops(program, bits, (*step.out_inexact, *step.new_states))
    fixed = _fixed(step)
    order = {var: i for i, eqn in enumerate(program.equations) for var in eqn.outputs}
    arrivals = find_arrivals(step)
    groups = find_hidden_groups(step, arrivals)
    known = Knowledge(bits, fixed, arrivals, order)
    tails = tuple(find_tail(step, known, group) for group in groups)
    sites = sorted((s for tail in tails for s in tail.sites), key=lambda s: (order[s.equation.outputs[0]], s.group))
    relations = tuple(_relations(step, bits, sites))
    dropped = _dropped(step, bits, tails, relations)
    body = find_body(step, bits, fixed)
    return Analysis(step, bits, fixed, body, groups, tails, tuple(sites), relations, dropped)


def _without_dead_ends(step: Step) -> tuple[Step, Mapping[int, int]]:
    """The step, without credit into new states that reach nothing that gets a cotangent, in this step or a later one.

    BPTT pulls nothing back through these; what it would multiply by zero (the slope of a norm at zero) may be infinite.
    """
    bits = dependence(step.program, [*step.parameters, *step.states])
    dead = _dead(step, bits, ())
    dead = dead and _dead(step, bits, _read_as_new(step))
    if not dead:
        return step, bits
    step = step.without_credit_into(dead)
    return step, dependence(step.program, [*step.parameters, *step.states])


def _without_still_states(step: Step, bits: Mapping[int, int]) -> tuple[Step, Mapping[int, int]]:
    """The step, not differentiated by states that carry credit of no parameter, such as a filter of the inputs.

    They have no tangent in BPTT: a `while_loop` may run over them, and a rule that asks is told so.
    """
    moved = _credit(step, bits, (1 << len(step.parameters)) - 1)
    still = [i for i in range(len(step.states)) if not moved >> (len(step.parameters) + i) & 1]
    if not still:
        return step, bits
    step = step.without_credit_from(still)
    return step, dependence(step.program, [*step.parameters, *step.states])


def _dead(step: Step, bits: Mapping[int, int], read: Collection[int]) -> list[int]:
    """The states with credit that reach nothing which gets a cotangent, if the output reads these new states."""
    pulled = range(len(step.states)) if step.pulls_state else read
    live, needed = set(pulled), union(bits, [*step.pulled, *(step.new_states[i] for i in pulled)])
    while more := {i for i in range(len(step.states)) if needed >> (len(step.parameters) + i) & 1} - live:
        live |= more
        needed |= union(bits, [step.new_states[i] for i in more])
    return [i for part in step.state.parts if live.isdisjoint(part) for i in part if bits.get(step.new_states[i], 0)]


def _read_as_new(step: Step) -> list[int]:
    """The new states that the output reads."""
    states = [state.variable for state in find_new_states(step, _fixed(step))]
    order = list(dict.fromkeys(states))  # the halves of a complex state have one variable
    seen = union(dependence(step.program, order), step.out_inexact)
    return [leaf for leaf, var in enumerate(states) if seen >> order.index(var) & 1]


def _fixed(step: Step) -> frozenset[int]:
    """What depends on the model alone. A new state does not count, nor what is made of it: a weight enters it."""
    new = frozenset(step.new_states)
    return fixed_by(
        step.program,
        (*step.parameters, *step.model_rest),
        lambda eqn: not step.program.links.unproven(eqn) and new.isdisjoint(eqn.outputs),
    )


def _relations(step: Step, bits: Mapping[int, int], sites: Sequence[Site]) -> list[ParamRelation]:
    paths = step.model.inexact_paths
    return [
        ParamRelation(paths[p], site.group, site.kind, site.equation.source, number, p)
        for number, site in enumerate(sites)
        for p in range(len(paths))
        if bits[site.weight] >> p & 1
    ]


def _dropped(
    step: Step, bits: Mapping[int, int], tails: Sequence[Tail], relations: Sequence[ParamRelation]
) -> tuple[tuple[Cut, ...], ...]:
    old = [_old_state_bits(step, tail.group) for tail in tails]
    cuts = [cut for tail in _tails_that_matter(step, bits, tails, old) for cut in tail.cuts]
    found = []
    for p in range(len(step.parameters)):
        credit = 1 << p
        for relation in relations:
            credit |= old[relation.group] if relation.parameter == p else 0
        found.append(tuple(cut for cut in cuts if bits.get(cut.operand, 0) & credit))
    return tuple(found)


def _old_state_bits(step: Step, group: HiddenGroup) -> int:
    return sum(1 << (len(step.parameters) + leaf) for leaf in group.leaves)


def _tails_that_matter(step: Step, bits: Mapping[int, int], tails: Sequence[Tail], old: Sequence[int]) -> list[Tail]:
    """Those whose old state reaches what gets a cotangent, in this step or through later ones."""
    needed = union(bits, step.pulled)
    live: set[int] = set()
    while True:
        more = [i for i in range(len(tails)) if i not in live and old[i] & needed]
        if not more:
            return [tails[i] for i in sorted(live)]
        live.update(more)
        needed |= union(bits, [step.new_states[leaf] for i in more for leaf in tails[i].group.leaves])


def _cut_before_the_output(analysis: Analysis) -> list[int]:
    """The operands of cut edges into new states that the output reads, or that get a cotangent of their own."""
    step = analysis.step
    read = range(len(step.states)) if step.pulls_state else _read_as_new(step)
    return [cut.operand for tail in analysis.tails if set(read) & set(tail.group.leaves) for cut in tail.cuts]


def _zero(step: Step, bits: Mapping[int, int]) -> tuple[str | None, ...]:
    """No path that has a derivative, in this step or through later ones, leads to anything that gets a cotangent."""
    needed = union(bits, step.pulled)
    used = {v for eqn in step.program.equations for v in eqn.inputs}.union(step.program.outputs)
    found: list[str | None] = []
    for p, var in enumerate(step.parameters):
        credit = _credit(step, bits, 1 << p)
        why = _why_zero(step, bits, credit) if var in used else "is used by no step"
        found.append(None if needed & credit else why)
    return tuple(found)


def _why_zero(step: Step, bits: Mapping[int, int], credit: int) -> str:
    """With the first operation that the credit ends at, such as the comparison of a spike without a surrogate."""
    program = step.program
    silent = (eqn for eqn in program.equations if not eqn.traits.stops_gradient and has_no_derivative(program, eqn))
    first = next((eqn for eqn in silent if union(bits, eqn.inputs) & credit), None)
    why = "reaches the output of no step by a path that has a derivative"
    return why if first is None else f"{why}; `{first.name}` at {first.source} has none"


def _unfollowed_cut(eqn: Equation, is_followed: bool) -> Cut:
    why = f"the rule of {eqn.name} could not be shown to be linear"
    if is_collective(eqn):
        why = f"{eqn.name} reaches over an axis around the step (map over the batch inside it instead)"
    elif is_followed:
        why = eqn.name
    return Cut(0, eqn.outputs[0], why, eqn.source, is_followed)


def _unfollowed(step: Step, bits: Mapping[int, int], body: Body) -> tuple[tuple[Cut, ...], ...]:
    """Calls with a rule that is not linear, and collectives, on a way from a parameter into a later step.

    And solves that may stop early, which are followed all the same.
    """
    program = step.program
    cut = unfollowed_edges(step, body)
    solves = [eqn for eqn in body.equations if program.links.unproven(eqn)]
    every = [(eqn.outputs[0], i) for eqn in solves for i in range(len(eqn.inputs))]
    edges = cut + [edge for edge in every if edge not in cut]
    outputs = sorted({v for first, _ in edges for v in program.producer[first].outputs})
    onward = union(dependence(program, outputs), step.new_states) if edges else 0
    reached = {v for i, v in enumerate(outputs) if onward >> i & 1}
    cuts = [
        (eqn.inputs[i], _unfollowed_cut(eqn, (first, i) not in cut))
        for first, i in edges
        if reached.intersection((eqn := program.producer[first]).outputs)
    ]
    found = []
    for p in range(len(step.parameters)):
        credit = _credit(step, bits, 1 << p)
        found.append(tuple(dict.fromkeys(cut for operand, cut in cuts if bits.get(operand, 0) & credit)))
    return tuple(found)


def _credit(step: Step, bits: Mapping[int, int], credit: int) -> int:
    """With the bits of all states that these can ever reach."""
    while True:
        more = credit
        for leaf, new in enumerate(step.new_states):
            more |= (1 << (len(step.parameters) + leaf)) if bits.get(new, 0) & credit else 0
        if more == credit:
            return credit
        credit = more

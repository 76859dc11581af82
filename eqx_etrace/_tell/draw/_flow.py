"""What flows where in one step, from one hidden group to the next: no further than the next new state.

A new state is read as itself by what comes after it, so that an arrow says what a group reads, and not all that it
depends on.
"""

import dataclasses
from collections.abc import Mapping

from ..._read import Analysis, Cut, union

INPUTS, OUTPUT = "inputs", "output"
Node = int | str
"""The number of a hidden group, `INPUTS` or `OUTPUT`."""


@dataclasses.dataclass(frozen=True)
class Arrow:
    """What one node reads of another."""

    source: Node
    target: Node
    is_past: bool
    """Is it the state of the step before?"""
    has_derivative: bool
    cuts: tuple[Cut, ...]
    """Where it mixes positions on its way into a group."""


@dataclasses.dataclass(frozen=True)
class Flow:
    """Arrows between nodes, and which parameters each node reads."""

    arrows: tuple[Arrow, ...]
    parameters: Mapping[Node, tuple[int, ...]]


class _Starts:
    """Bits for everything that an arrow can start from."""

    def __init__(self, analysis: Analysis):
        step = analysis.step
        self.places: list[tuple[Node, bool]] = [(INPUTS, False)]
        self.places += [(g.index, past) for past in (True, False) for g in analysis.groups]
        self.parameters = len(self.places)
        self.start = dict.fromkeys((*step.inputs_inexact, *step.inputs_rest), 1)
        self.new: dict[int, int] = {}
        for g in analysis.groups:
            for leaf in g.leaves:
                self.start[step.states[leaf]] = 1 << self.places.index((g.index, True))
                self.new[step.new_states[leaf]] = 1 << self.places.index((g.index, False))
        self.start |= {var: 1 << (self.parameters + p) for p, var in enumerate(step.parameters)}


def find_flow(analysis: Analysis) -> Flow:
    """Read it off the equations of the step."""
    starts = _Starts(analysis)
    every, into = _walk(analysis, starts, differentiable=False)
    _, differentiable = _walk(analysis, starts, differentiable=True)
    arrows, parameters = [], {}
    for target, bits in into.items():
        cuts = () if isinstance(target, str) else analysis.tails[target].cuts
        for i, (source, past) in enumerate(starts.places):
            here = tuple(cut for cut in cuts if every.get(cut.operand, 0) >> i & 1)
            is_drawn = source != target or bool(past and here)
            if bits >> i & 1 and is_drawn:
                arrows.append(Arrow(source, target, past, bool(differentiable[target] >> i & 1), here))
        count = len(analysis.step.parameters)
        parameters[target] = tuple(p for p in range(count) if bits >> (starts.parameters + p) & 1)
    return Flow(tuple(arrows), parameters)


def _walk(analysis: Analysis, starts: _Starts, *, differentiable: bool) -> tuple[dict[int, int], dict[Node, int]]:
    """Bits of every variable, read as itself where it is a new state; and of what each node reads."""
    step, program, bits = analysis.step, analysis.step.program, dict(starts.start)
    arrived: dict[int, int] = {}
    for eqn in program.equations:
        for j, output in enumerate(eqn.outputs):
            reads = [v for i, v in enumerate(eqn.inputs) if not differentiable or program.links(eqn, i, j) is not None]
            arrived[output] = union(bits, reads)
            bits[output] = starts.new.get(output, arrived[output])
    into: dict[Node, int] = {}
    for group in analysis.groups:
        into[group.index] = union(arrived, [step.new_states[leaf] for leaf in group.leaves])
    into[OUTPUT] = union(bits, (*step.out_inexact, *step.out_rest))
    return bits, into

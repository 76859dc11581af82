"""What flows where in one step, from one hidden group to the next: no further than the next new state.

A new state is read as itself by what comes after it, so that an arrow says what a group reads, and not all that it
depends on.
"""

import dataclasses
from collections.abc import Iterable, Mapping

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


class _Sources:
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
    sources = _Sources(analysis)
    every, into = _walk(analysis, sources, differentiable=False)
    _, differentiable = _walk(analysis, sources, differentiable=True)
    arrows, parameters = [], {}
    for target, found in into.items():
        own = None if isinstance(target, str) else target
        cuts = () if own is None else analysis.tails[own].cuts
        for i, (source, past) in enumerate(sources.places):
            here = tuple(cut for cut in cuts if every.get(cut.operand, 0) >> i & 1)
            if not found >> i & 1 or (source == target and not (past and here)):
                continue
            arrows.append(Arrow(source, target, past, bool(differentiable[target] >> i & 1), here))
        count = len(analysis.step.parameters)
        parameters[target] = tuple(p for p in range(count) if found >> (sources.parameters + p) & 1)
    return Flow(tuple(arrows), parameters)


def _walk(analysis: Analysis, sources: _Sources, *, differentiable: bool) -> tuple[dict[int, int], dict[Node, int]]:
    """Bits of every variable, read as itself where it is a new state; and of what each node reads."""
    step, bits, arrived = analysis.step, dict(sources.start), {}
    program = step.program
    for eqn in program.equations:
        for j, output in enumerate(eqn.outputs):
            reads = [v for i, v in enumerate(eqn.inputs) if not differentiable or program.links(eqn, i, j) is not None]
            found = union(bits, reads)
            arrived[output] = found
            bits[output] = sources.new.get(output, found)
    into: dict[Node, int] = {
        g.index: union(arrived, (step.new_states[leaf] for leaf in g.leaves)) for g in analysis.groups
    }
    into[OUTPUT] = union(bits, _outputs(analysis))
    return bits, into


def _outputs(analysis: Analysis) -> Iterable[int]:
    return (*analysis.step.out_inexact, *analysis.step.out_rest)

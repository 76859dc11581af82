"""Stage 3: the tail of each hidden group, and where parameters enter it.

From a group's new states the step is followed backward, and every variable is given a **frame**: the
position of the group that each of its elements enters. An edge (one use of a variable by one equation)
is *kept* if what falls on it agrees with the frame of the variable it uses; a hidden state's own frame
is its positions. Every other edge is mixing: cut, and recorded with its source line. By induction
every path of kept edges stays in its position, so that the tail is position-diagonal by construction,
and reverse passes with a cotangent of ones read its Jacobian exactly.
"""

import dataclasses
import hashlib
import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from ..primitives import Flow
from ..program import (
    agree,
    Decided,
    deciding,
    either,
    Equation,
    find_lookup,
    is_known,
    Link,
    MANY,
    meets_data,
    merge,
    Merged,
    Mixed,
    Mixing,
    NONE,
    Positions,
)
from ..step import Step
from ._decision import Decision
from ._filter import Edge, Entrance, Filter
from ._hidden_group import Arrivals, HiddenGroup
from ._reached import find_reach
from ._rewriting import At, rewriting
from ._tail import Cut, Site, Tail


@dataclasses.dataclass(frozen=True)
class Knowledge:
    """What the stages before have found, by variable."""

    bits: Mapping[int, int]
    """Differentiable dependence on the parameters, then on the hidden states."""
    fixed: frozenset[int]
    """The prologue."""
    arrivals: Arrivals
    order: Mapping[int, int]


class _Search:
    """One walk backward through the tail of one group."""

    def __init__(self, step: Step, known: Knowledge, group: HiddenGroup, filters: Sequence[Filter]):
        self.step, self.known, self.group = step, known, group
        self.ends = [(step.new_states[leaf], p) for leaf, p in zip(group.leaves, group.positions, strict=True)]
        self.ends += [(one.entrance.source, one.positions) for one in filters]
        self.own = {step.states[leaf]: p for leaf, p in zip(group.leaves, group.positions, strict=True)}
        self.proposals: dict[int, list[tuple[Edge | None, Positions]]] = {}
        self.frames: dict[int, Positions] = {}
        self.kept: set[Edge] = set()
        self.cuts: list[Cut] = []
        self.elementwise: dict[tuple[int, bytes], list[tuple[Edge, Equation, Positions]]] = {}
        self.heads: list[Site] = []
        self.visited: list[Equation] = []
        self._queue: list[int] = []

    def run(self) -> None:
        """Visit every equation of the tail, and settle every frame."""
        equations = self.step.program.equations
        for var, positions in self.ends:
            self._propose(var, None, positions)
        last = -1
        while self._queue:
            # The latest comes first: all uses of what it makes are known then. Its other proposals queued it again.
            index = -heapq.heappop(self._queue)
            if index != last:
                self._visit(equations[index])
            last = index
        for var in self.own:
            self._settle(var)
        self.visited.reverse()

    def _propose(self, var: int, edge: Edge | None, labels: Positions) -> None:
        self.proposals.setdefault(var, []).append((edge, labels))
        if var not in self.own:
            heapq.heappush(self._queue, -self.known.order[var])

    def _settle(self, var: int) -> None:
        """Choose the frame of a variable, once all its uses are known; cut the edges that disagree."""
        proposals = self._own_first(var)
        if not proposals:
            return
        frame = self.own.get(var, proposals[0][1])
        for edge, labels in proposals:
            if _disagree(frame, labels):
                assert edge is not None, "the frames of two new states disagree on one variable"
                self._cut(edge, var, "is used out of its position", labels, frame)
                continue
            frame = merge(frame, labels)
            if edge is not None:
                self.kept.add(edge)
        self.frames[var] = frame

    def _own_first(self, var: int) -> list[tuple[Edge | None, Positions]]:
        """The proposals for a frame: what a new state is, then those that agree with old states that arrive here."""
        proposals = self.proposals.get(var, [])
        if var in self.own or not proposals:
            return proposals
        arrived = self._arrived(var)
        return sorted(proposals, key=lambda p: (p[0] is not None, arrived is not None and not agree(p[1], arrived)))

    def _arrived(self, var: int) -> Positions | None:
        """The positions whose old states reach each element aligned."""
        arrived = None
        for leaf, labels in self.known.arrivals.get(var, {}).items():
            if leaf in self.group.leaves:
                positions = self.group.positions[self.group.leaves.index(leaf)].ravel()
                here = np.where(labels >= 0, positions[np.maximum(labels, 0)], labels)
                arrived = either(arrived, here, merge)
        return arrived

    def _visit(self, eqn: Equation) -> None:
        for var in eqn.outputs:
            self._settle(var)
        self.visited.append(eqn)
        for i, operand in enumerate(eqn.inputs):
            if self.known.bits.get(operand, 0):
                self._follow(eqn, i, operand)

    def _follow(self, eqn: Equation, i: int, operand: int) -> None:
        """Find out what one operand is to the group: a weight at a site, a variable of the tail, or a cut."""
        edge, output = (eqn.outputs[0], i), eqn.outputs[0]
        met = self._met(eqn, i) if output in self.frames else None
        if met is not None:
            # Asked first, so that no array of the size of the weight is made.
            frame = self.frames[output]
            decision = self._decision(frame)
            self.heads.append(Site(self.group.index, operand, eqn, output, frozenset(), frame, met, decision))
            return
        labels = self._fallen(eqn, i, operand)
        if labels is None:
            return
        if (labels == MANY).any() or deciding(labels) == NONE or self._mixes_others(eqn, i):
            self._cut(edge, operand, "mixes positions")
        elif operand in self.known.fixed:
            key = hashlib.blake2b(labels.tobytes()).digest()
            self.elementwise.setdefault((operand, key), []).append((edge, eqn, labels))
        elif operand in self.own or operand in self.known.order:
            self._propose(operand, edge, labels)
        else:
            self._cut(edge, operand, "brings in the state of another group")

    def _fallen(self, eqn: Equation, i: int, operand: int) -> Positions | None:
        """The frames of the outputs as they fall on one operand; None where nothing flows."""
        fallen = None
        shape = self.step.program.shape(operand)
        for j, output in enumerate(eqn.outputs):
            link = self._link(eqn, i, j)
            if link is not None and output in self.frames:
                fallen = either(fallen, link.backward(self.frames[output], shape), merge)
        return None if fallen is None or (fallen == NONE).all() else fallen

    def _link(self, eqn: Equation, i: int, j: int) -> Link | None:
        """As of the program, but what an index of the model's decides is told by the equation."""
        link = self.step.program.links(eqn, i, j)
        if self._is_decided(eqn, i) and not isinstance(link, Merged):
            return Decided(1 + self.known.order[eqn.outputs[j]])
        return link

    def _mixes_others(self, eqn: Equation, i: int) -> bool:
        """Does it mix what is not the group's own, even if all of it enters one position?"""
        is_mixed = isinstance(self.step.program.links(eqn, i, 0), Mixed)
        return is_mixed and not self.known.bits.get(eqn.inputs[i], 0) & self.step.state_bits(self.group.leaves)

    def _is_decided(self, eqn: Equation, i: int) -> bool:
        """Is it added to elements at an index that the model holds?"""
        return eqn.traits.flow is Flow.SCATTERED and i == 2 and eqn.inputs[1] in self.known.fixed

    def _decision(self, frame: Positions) -> Decision | None:
        number = deciding(frame)
        if number == 0:
            return None
        eqn = self.step.program.equations[number - 1]
        return Decision(eqn, self.frames[eqn.outputs[0]])

    def _met(self, eqn: Equation, i: int) -> int | None:
        """The variable that an effective weight meets in a head: data, or the index of a lookup; None if it is none."""
        if eqn.inputs[i] not in self.known.fixed or self.known.fixed.issuperset(eqn.inputs):
            return None
        if meets_data(eqn, i):
            return eqn.inputs[1 - i]
        lookup = find_lookup(self.step.program, eqn, i)
        return None if lookup is None else lookup.index

    def _cut(
        self, edge: Edge, operand: int, how: str, labels: Positions | None = None, frame: Positions | None = None
    ) -> None:
        eqn = self.step.program.producer[edge[0]]
        link = self.step.program.links(eqn, edge[1], 0) if len(eqn.outputs) == 1 else None
        how = "mixes positions" if isinstance(link, Mixed | Mixing) else how
        known = self.known
        why = rewriting(At(self.step, known.bits, known.fixed, self.group, eqn, edge[1], labels, frame))
        self.cuts.append(Cut(self.group.index, operand, f"{eqn.name} {how}", eqn.source, why=why, edge=edge))

    def sites(self) -> Iterator[Site]:
        for (operand, _), uses in self.elementwise.items():
            edges = frozenset(edge for edge, _, _ in uses)
            frame = uses[0][2]
            decision = self._decision(frame)
            yield Site(self.group.index, operand, uses[-1][1], None, edges=edges, frame=frame, decision=decision)
        yield from self.heads

    def entrances(self, edges: Sequence[Edge]) -> tuple[Entrance, ...]:
        """Over these edges, each once, where the frame that they lead to is known."""
        known = dict.fromkeys(edge for edge in edges if is_known(self.frames[edge[0]]))
        producer = self.step.program.producer
        return tuple(Entrance(producer[first], i, self.frames[first]) for first, i in known)


def _disagree(frame: Positions, labels: Positions) -> bool:
    """Are two frames of one variable different, or decided by different indices?"""
    return not agree(frame, labels) or deciding(merge(frame, labels)) == NONE


def find_tail(
    step: Step,
    known: Knowledge,
    group: HiddenGroup,
    filters: Sequence[Filter] = (),
    enters: Callable[[Edge], bool] = lambda _: False,
) -> Tail:
    """Walk backward from the new states of a group, and from what its filters read.

    At the cuts that `enters` names filters of other groups may enter.
    """
    search = _Search(step, known, group, filters)
    search.run()
    sites = sorted(search.sites(), key=lambda site: known.order[site.equation.outputs[0]])
    cuts = sorted(search.cuts, key=lambda cut: known.order.get(cut.operand, -1))
    entrances = search.entrances([cut.edge for cut in cuts if cut.edge is not None and enters(cut.edge)])
    equations, reach = find_reach(step, group, search.visited, search.kept, [*sites, *entrances])
    return Tail(
        group=group,
        equations=equations,
        kept=frozenset(search.kept),
        sites=tuple(sites),
        cuts=tuple(cuts),
        reach=reach,
        entrances=entrances,
        filters=tuple(filters),
    )

"""What a rule gives each parameter, and what it costs: found from the structure, before anything runs."""

import dataclasses
import itertools
from collections.abc import Hashable, Sequence
from typing import NamedTuple

from .._carry import AbstractKeeper, AbstractRule, Layouts, ProductLayout
from .._read import Analysis, Cut, Path, Program
from .._spend import assign, Assignment, Part, places


@dataclasses.dataclass(frozen=True)
class Row:
    """One parameter in one hidden group, or one parameter without a trace."""

    path: Path
    group: int | None
    """The hidden group; None without a trace."""
    exact: bool
    """Is the parameter's gradient equal to BPTT, in exact arithmetic and at any window from 1?"""
    exact_at_window_0: bool
    """And at window 0, where the learning signal is the derivative by the new states that its traces are of?"""
    missed_at_window_0: bool
    """Does the output take credit past these new states, so that window 0 misses it?"""
    zero: str | None
    """Why its gradient is zero whatever the numbers, and so that of BPTT, too; None if it is not."""
    dropped: tuple[Cut, ...]
    """The credit that the rule drops for this parameter: the operation and the user's line."""
    trace_shape: tuple[tuple[int, ...], ...]
    """The shape of each array of its trace. For D-RTRL, one per state: (weights side by side, lanes, units, features).
    For influences: (blocks, scalars of a block, rows, features)."""
    trace_bytes: int
    """The memory of its trace, 0 where it shares the trace of an earlier row."""
    work: int
    """Multiply-adds of one step on its trace, by which it advances and is contracted; counted where the memory is. Of a
    call per step: `scan` takes whole influences through many steps at once, for less."""
    rule: str

    @property
    def unbiased(self) -> bool:
        """Is the gradient that of BPTT in the mean over the rule's random key, though not exactly?"""
        return not self.exact and all(cut.is_random for cut in self.dropped)


class Ledger:
    """What keepers of a step keep: counted once for all that are alike, whatever rules are asked."""

    def __init__(self, analysis: Analysis):
        self.analysis, self.layouts = analysis, Layouts(analysis)
        self._sizes: dict[Hashable, tuple[Sequence[tuple[int, ...]], int]] = {}

    def shapes(self, keeper: AbstractKeeper) -> Sequence[tuple[int, ...]]:
        """Of the trace itself, without what is counted or noted beside it."""
        return self._size(keeper)[0]

    def bytes(self, keeper: AbstractKeeper) -> int:
        """Of all that is kept."""
        return self._size(keeper)[1]

    def _size(self, keeper: AbstractKeeper) -> tuple[Sequence[tuple[int, ...]], int]:
        if keeper not in self._sizes:
            # What a rule of the user's keeps may depend on anything.
            alike = keeper.alike if keeper.is_ours else keeper
            if alike not in self._sizes:
                self._sizes[alike] = keeper.shapes, keeper.bytes
            self._sizes[keeper] = self._sizes[alike]
        return self._sizes[keeper]


class Account:
    """What each parameter's traces are and cost; shared ones count once."""

    def __init__(self, assignment: Assignment, ledger: Ledger):
        self.assignment, self.analysis, self.ledger = assignment, assignment.analysis, ledger
        self._counted: set[AbstractKeeper] = set()

    def alone(self, p: int) -> "Price":
        """Of one parameter, as if no other shared its traces."""
        keepers = dict.fromkeys(keeper for part in self._parts(p) for keeper in part.keepers)
        path, is_exact = self.analysis.step.model.inexact_paths[p], not self._dropped(p, self._weights(p))
        return Price(path, is_exact, sum(map(self.ledger.bytes, keepers)), sum(keeper.work for keeper in keepers))

    def _weights(self, p: int) -> list[int]:
        return [w for w in self.analysis.body.weights if self.analysis.bits.get(w, 0) >> p & 1]

    def _parts(self, p: int) -> list[Part]:
        return list(itertools.chain.from_iterable(map(self.assignment.parts_of, self._weights(p))))

    def rows(self, p: int) -> list[Row]:
        """Of one parameter: one per group, or one without a trace."""
        weights, parts = self._weights(p), self._parts(p)
        keepers = [keeper for part in parts for keeper in part.keepers]
        sites = [site.group for part in parts for site in part.weight.sites]
        groups = sorted(set(sites).union(*(keeper.groups for keeper in keepers)))
        dropped = self._dropped(p, weights)
        exact = self._exactness(keepers, dropped)
        return [self._row(p, group, parts, exact, dropped) for group in groups or [None]]

    def _exactness(self, keepers: Sequence[AbstractKeeper], dropped: tuple[Cut, ...]) -> tuple[bool, bool, bool]:
        """Is it exact, and at window 0, and is credit missed there?"""
        at_window_0 = not dropped and not any(keeper.is_missed_at_window_0 for keeper in keepers)
        past = {leaf for keeper in keepers for leaf in keeper.layout.followed if self.analysis.past_new >> leaf & 1}
        return not dropped, at_window_0, bool(past) if dropped else not at_window_0

    def _row(
        self, p: int, group: int | None, parts: Sequence[Part], exact: tuple[bool, bool, bool], dropped: tuple[Cut, ...]
    ) -> Row:
        """In one group."""
        here = [keeper for part in parts for keeper in part.keepers if group in keeper.groups]
        new = [keeper for keeper in dict.fromkeys(here) if keeper not in self._counted]
        self._counted.update(new)
        return Row(
            path=self.analysis.step.model.inexact_paths[p],
            group=group,
            exact=exact[0],
            exact_at_window_0=exact[1],
            missed_at_window_0=exact[2],
            zero=self.analysis.zero[p],
            dropped=dropped,
            trace_shape=tuple(itertools.chain.from_iterable(map(self.ledger.shapes, here))),
            trace_bytes=sum(map(self.ledger.bytes, new)),
            work=sum(keeper.work for keeper in new),
            rule=_rules(parts, here, group),
        )

    def _dropped(self, p: int, weights: Sequence[int]) -> tuple[Cut, ...]:
        """The credit of one parameter that is dropped on its way through any of its effective weights."""
        cuts: list[Cut] = []
        for weight in weights:
            parts = self.assignment.parts_of(weight)
            cuts += [] if parts else self.analysis.dropped[p]
            for part in parts:
                cuts += part.rule.drops(part.weight, p)
        return tuple(dict.fromkeys(cuts))


def _rules(parts: Sequence[Part], keepers: Sequence[AbstractKeeper], group: int | None) -> str:
    """Those that keep something in a group; and those that keep nothing, though they were chosen for it."""
    rules = [keeper.rule for keeper in keepers]
    for part in parts:
        is_here = any(site.group == group for site in part.weight.sites)
        rules += [part.rule] if is_here and not part.keepers else []
    return ", ".join(sorted({type(rule).__name__ for rule in rules}))


class Price(NamedTuple):
    """What a rule would give one parameter, and take for it alone."""

    path: Path
    exact: bool
    trace_bytes: int
    work: int
    """Multiply-adds of one step."""


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a rule would give and take."""

    rule: str
    exact: int
    """How many parameters would have the gradient of BPTT."""
    trace_bytes: int
    work: int
    """Multiply-adds of one step on all traces."""
    passes: int
    """Reverse passes of one step, or of a tail, that read its Jacobian."""
    over_limit: bool
    """Would `init` refuse the rule, because its traces take more than its limit?"""
    prices: tuple[Price, ...] = dataclasses.field(repr=False)
    """What it takes for each parameter alone."""


def cost_of(ledger: Ledger, rule: AbstractRule) -> Cost:
    """Of one rule for everything."""
    assignment = assign(ledger.layouts, rule)
    rows, account = all_rows(assignment, ledger), Account(assignment, ledger)
    approximate = {row.path for row in rows if not row.exact}
    return Cost(
        rule=str(rule),
        exact=len({row.path for row in rows} - approximate),
        trace_bytes=sum(row.trace_bytes for row in rows),
        work=sum(row.work for row in rows),
        passes=passes_of(assignment),
        over_limit=assignment.refusal is not None,
        prices=tuple(map(account.alone, range(len(assignment.analysis.step.parameters)))),
    )


def all_rows(assignment: Assignment, ledger: Ledger) -> tuple[Row, ...]:
    """Of every parameter, in order."""
    account = Account(assignment, ledger)
    return tuple(row for p in range(len(assignment.analysis.step.parameters)) for row in account.rows(p))


def passes_of(assignment: Assignment) -> int:
    """Passes: one per colour for influences, one per state of every group with traces, two for every product."""
    analysis, (sites, sources) = assignment.analysis, places(assignment.keepers)
    products = [source for source in sources if isinstance(source, ProductLayout)]
    colours = 1 + int(analysis.structure.colours.max(initial=-1)) if len(sources) > len(products) else 0
    tails = map(analysis.tail, sorted({site.group for site in sites}))
    return colours + 2 * len(products) + sum(len(tail.group.leaves) + len(tail.read) for tail in tails)


def held_without_traces(analysis: Analysis) -> int:
    """Bytes of the model, the state, the inputs, a gradient for every parameter, and what the step has at once."""
    step = analysis.step
    given = (*step.model_rest, *step.states, *step.states_rest, *step.inputs_inexact, *step.inputs_rest)
    return sum(_bytes(step.program, var) for var in (*step.parameters, *step.parameters, *given)) + _at_once(
        step.program
    )


def _at_once(program: Program) -> int:
    """The most bytes that wait at one time to be read by an equation, as the equations stand."""
    last = {var: i for i, eqn in enumerate(program.equations) for var in eqn.inputs}
    made, now, most = set[int](), 0, 0
    for i, eqn in enumerate(program.equations):
        made.update(eqn.outputs)
        now += sum(_bytes(program, var) for var in eqn.outputs)
        most = max(most, now)
        read = {var for var in (*eqn.inputs, *eqn.outputs) if last.get(var, i) == i}
        now -= sum(_bytes(program, var) for var in read & made)
    return most


def _bytes(program: Program, var: int) -> int:
    aval = program.avals[var]
    return aval.size * aval.dtype.itemsize

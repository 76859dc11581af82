"""Everything that is settled before numbers flow: what the step is, and what is kept of its past."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jaxtyping import Array, Bool, PyTree, UInt32

from .._carry import (
    AbstractKeeper,
    BlockKeeper,
    BlockLayout,
    check_limits,
    Layouts,
    make_span,
    ProductLayout,
    Span,
    taps_of,
    TraceLayout,
)
from .._read import analyse, Analysis, stage_step, unfollowed_edges
from .._sharding import Varying, varying_as, varying_type
from ._assignment import assign, Assignment, RuleOrChoice
from ._closed_over import fingerprint, is_same
from ._etrace import ETrace, inputs_of, Purpose


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """A step, read and ready to run."""

    assignment: Assignment
    varies: Varying
    """A type that varies over all axes of a mesh that states and inputs do."""

    @property
    def analysis(self) -> Analysis:
        """All that is known about the step from its structure."""
        return self.assignment.analysis

    @property
    def keepers(self) -> tuple[AbstractKeeper, ...]:
        """All that is kept of the past; the values of a trace are in this order."""
        return self.assignment.keepers

    @functools.cached_property
    def taps(self) -> tuple[int, ...]:
        """The variables of the body that are read beside the step: for its Jacobians, and what its heads met."""
        analysis, (sites, _) = self.analysis, places(self.keepers)
        read = {use.data for use in analysis.body.heads}.union(taps_of(analysis, sites))
        constants = analysis.step.program.constants
        return tuple(sorted(v for v in read if v not in analysis.fixed and v not in constants))

    @functools.cached_property
    def unfollowed(self) -> frozenset[int]:
        """Outputs of calls that no Jacobian follows: derivatives stop there, where an influence on blocks is read."""
        step = self.analysis.step
        edges = unfollowed_edges(step, self.analysis.body)
        outputs = [step.program.producer[first].outputs for first, _ in edges]
        return frozenset().union(*outputs)

    @functools.cached_property
    def span(self) -> Span | None:
        """The influences that are carried through many steps at once, if any."""
        return make_span(self.analysis, [k.layout for k in self.keepers if isinstance(k, BlockKeeper)])

    @functools.cached_property
    def purpose(self) -> Purpose:
        """What its traces are made for."""
        titles = [*(keeper.title for keeper in self.keepers), *self.assignment.titles_of_nothing]
        return Purpose(tuple(titles), inputs_of(self.analysis.step), tuple(keeper.meaning for keeper in self.keepers))

    def init(self) -> ETrace:
        """The traces before the first step."""
        step = self.analysis.step
        return self.purpose.trace(self._values(), step.program.avals[step.states[0]].dtype, self.closed_over)

    def _values(self) -> tuple[PyTree[Array], ...]:
        return jax.tree.map(lambda x: varying_as(x, self.varies), tuple(keeper.init() for keeper in self.keepers))

    @functools.cached_property
    def closed_over(self) -> tuple[UInt32[Array, ""], ...]:
        """A fingerprint of the arrays that the step closes over and weights are made of, if there are any."""
        return (fingerprint(self._watched),) if self._watched else ()

    @property
    def _watched(self) -> list[Any]:
        return [self.analysis.step.program.constants[var] for var in self.analysis.watched]

    def check(self, trace: ETrace) -> Bool[Array, ""] | None:
        """Is this a trace of this graph and this rule? And of the arrays that the step closes over: where any are."""
        titles = [keeper.title for keeper in self.keepers]
        self.purpose.check(trace, list(zip(titles, jax.eval_shape(self._values), strict=True)))
        return is_same(trace.closed_over, self.closed_over, self._watched)


def places(
    keepers: Sequence[AbstractKeeper],
) -> tuple[tuple[TraceLayout, ...], tuple[BlockLayout | ProductLayout, ...]]:
    """What keepers ask of a step: sites by position, and sources on the whole state."""
    layouts = [keeper.layout for keeper in keepers]
    sites = tuple(layout for layout in layouts if isinstance(layout, TraceLayout))
    return sites, tuple(layout for layout in layouts if not isinstance(layout, TraceLayout))


def make_plan(
    step: Callable[..., Any],
    rule: RuleOrChoice,
    model: PyTree,
    state: PyTree,
    inputs: tuple[Any, ...],
    *,
    has_aux: bool = False,
    pulls_state: bool = False,
) -> Plan:
    """Read a step, and settle what is kept of its past.

    **Raises** `TraceTooLargeError` if that takes more than the rule allows.
    """
    varies = varying_type((state, inputs))
    here = jax.tree.map(lambda leaf: varying_as(leaf, varies) if isinstance(leaf, jax.Array) else leaf, model)
    staged = stage_step(step, here, state, inputs, has_aux=has_aux)
    staged.check_trained()
    analysis = analyse(dataclasses.replace(staged, pulls_state=pulls_state))
    assignment = assign(Layouts(analysis), rule)
    check_limits(assignment.keepers)
    return Plan(assignment, varies)

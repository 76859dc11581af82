"""The learning signal of window 0: dl/dh at the new states, each with the group's other new states held fixed.

A shift is added to every new state where it is computed, and the output is differentiated with respect to the shifts.
"""

import dataclasses
from collections.abc import Callable, Sequence, Set
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ._analysis._dependence import dependence
from ._analysis._link import indices, Mixing, Positions
from ._analysis._primitive import COPIES, ELEMENTWISE, HALVES, Links
from ._analysis._step import Step
from ._plan import Plan
from ._run import Arguments, Arrays, run_step, Values


@dataclasses.dataclass(frozen=True)
class Source:
    """Where a new state is computed: before it is cast, copied, reshaped or permuted for the next step.

    A loss that reads it there reads the new state, too.
    """

    variable: int
    order: Positions
    """For each element of the new state, the element of the variable."""
    half: str | None = None
    """Which part of a complex variable it is, `real` or `imag`; None if all of a real one."""

    def of(self, cotangent: Array) -> Array:
        """The part of the variable's cotangent that belongs to the new state: that of a + ib stands for Re(ct dz)."""
        return cotangent if self.half is None else (cotangent.real if self.half == "real" else -cotangent.imag)


def find_sources(plan: Plan) -> list[Source]:
    """Of every new state, in order."""
    step = plan.analysis.step
    links = Links(step.program)
    taken = {*step.states, *step.new_states, *plan.analysis.fixed}

    def found(new: int) -> Source:
        var, order = new, indices(step.program.shape(new))
        while True:
            eqn = step.program.producer[var]
            edge = links(eqn, 0, 0) if len(eqn.inputs) == len(eqn.outputs) == 1 else None
            if edge is None or isinstance(edge, Mixing) or eqn.is_custom or eqn.primitive in ELEMENTWISE - COPIES:
                return Source(var, order)
            (before,) = eqn.inputs
            if before in taken or before not in step.program.producer:
                return Source(var, order)
            moved = edge.forward(indices(step.program.shape(before)), step.program.shape(var)).ravel()
            if not np.array_equal(np.sort(moved), np.arange(np.prod(step.program.shape(before)))):
                return Source(var, order)
            taken.add(before)
            var, order = before, moved[order]

    sources: list[Source] = []
    for leaves in step.state.parts:
        whole = _whole(step, leaves, taken)
        if whole is None:
            sources += [found(step.new_states[leaf]) for leaf in leaves]
        else:
            taken.add(whole)
            source = found(whole)
            sources += [dataclasses.replace(source, half=half) for half in ("real", "imag")]
    return sources


def _whole(step: Step, leaves: Sequence[int], taken: Set[int]) -> int | None:
    """The complex variable that the halves of a new state were taken from; None for a real state."""
    if len(leaves) == 1:
        return None
    eqns = [step.program.producer[step.new_states[leaf]] for leaf in leaves]
    (whole, *more) = {v for eqn in eqns for v in eqn.inputs}
    is_taken = more or whole in taken or whole not in step.program.producer
    return None if is_taken or [eqn.primitive for eqn in eqns] != HALVES else whole


def new_state_signal(
    plan: Plan, fixed: Values, arguments: Arguments, new_state: Arrays, *, hold_all: bool = False
) -> Callable[[Arrays], Arrays]:
    """From output cotangents to the learning signal of every new state.

    Groups in which one new state reads another are taken one at a time, with their new states replaced by their values,
    so that no credit is counted twice. With `hold_all` every new state has all the others held fixed, whatever its
    group, as influence on the whole state needs it.
    """
    body, avals = plan.analysis.body, plan.analysis.step.program.avals
    sources = find_sources(plan)
    values: dict[int, Array] = {}
    for source, h in zip(sources, new_state, strict=True):
        shape, dtype = avals[source.variable].shape, avals[source.variable].dtype
        value = h.reshape(-1)[np.argsort(source.order, axis=None)].reshape(shape)
        if source.half == "imag":
            value = jax.lax.complex(values[source.variable].real, value.astype(h.dtype))
        values[source.variable] = value.astype(dtype)

    def outputs(shifts: dict[int, Array], held: frozenset[int]) -> Arrays:
        def edit(var: int, value: Any) -> Any:
            return (values[var] if var in held else value) + shifts[var] if var in shifts else value

        inputs = (arguments.inputs, arguments.inputs_rest)
        return run_step(plan, body.equations, fixed, arguments.state, inputs, edit)[0][0]

    pulls = []
    everything = [(list(range(len(sources))), True)]
    for leaves, hold in everything if hold_all else _passes(plan, [source.variable for source in sources]):
        variables = [sources[leaf].variable for leaf in leaves]
        shifts = {var: jnp.zeros_like(values[var]) for var in variables}
        held = frozenset(variables) if hold else frozenset()
        pulls.append(jax.vjp(lambda shifts, held=held: outputs(shifts, held), shifts)[1])

    def signal(out_cotangents: Arrays) -> Arrays:
        found: dict[int, Array] = {}
        for pull in pulls:
            found |= pull(out_cotangents)[0]
        flat = [source.of(found[source.variable]).reshape(-1)[source.order] for source in sources]
        return [g.astype(h.dtype) for g, h in zip(flat, new_state, strict=True)]

    return signal


def _passes(plan: Plan, sources: list[int]) -> list[tuple[list[int], bool]]:
    """Which new states are shifted together, and whether they are held at their values."""
    step = plan.analysis.step
    bits = dependence(step.program, Links(step.program), sources)
    own = {var: sum(1 << i for i, other in enumerate(sources) if other == var) for var in sources}
    together, alone = [], []
    for group in plan.analysis.groups:
        mine = sum(1 << leaf for leaf in group.leaves)
        if any(bits[sources[leaf]] & mine & ~own[sources[leaf]] for leaf in group.leaves):
            alone.append((list(group.leaves), True))
        else:
            together += group.leaves
    return ([(together, False)] if together else []) + alone

"""The learning signal of window 0: dl/dh at the new states, each with the group's other new states held fixed.

A shift is added to every new state where it is computed, and what gets a cotangent, the output and in `etrace_vjp` the
new state, is differentiated with respect to the shifts: one new state may be made of another.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from .._read import dependence
from ._plan import Plan
from ._run import Arguments, Arrays, run_step, Values


def new_state_signal(
    plan: Plan, fixed: Values, arguments: Arguments, new_state: Arrays, *, hold_all: bool = False
) -> Callable[[Arrays, Arrays], Arrays]:
    """From cotangents of the output, and of the new state if it may have any, to the signal of every new state.

    Groups in which one new state reads another are taken one at a time, with their new states replaced by their values,
    so that no credit is counted twice. With `hold_all` every new state has all the others held fixed, whatever its
    group, as influence on the whole state needs it.
    """
    body, sources = plan.analysis.body, plan.analysis.read_out.states
    values = plan.analysis.read_out.given(plan.analysis.step, new_state)
    still = {sources[leaf].variable for leaf in plan.analysis.step.still}

    def outputs(shifts: dict[int, Array], held: frozenset[int]) -> tuple[Arrays, Arrays]:
        shifts = {v: jax.lax.stop_gradient(x) if v in still else x for v, x in shifts.items()}

        def edit(var: int, value: Any) -> Any:
            return (values[var] if var in held else value) + shifts[var] if var in shifts else value

        inputs = (arguments.inputs, arguments.inputs_rest)
        (out, new), _ = run_step(plan, body.equations, fixed, arguments.state, inputs, edit)
        return out, new if plan.analysis.step.pulls_state else []

    pulls = []
    everything = [(list(range(len(sources))), True)]
    for leaves, hold in everything if hold_all else _passes(plan, [source.variable for source in sources]):
        variables = [sources[leaf].variable for leaf in leaves]
        shifts = {var: jnp.zeros_like(values[var]) for var in variables}
        held = frozenset(variables) if hold else frozenset()
        pulls.append(jax.vjp(lambda shifts, held=held: outputs(shifts, held), shifts)[1])

    def signal(on_out: Arrays, on_new: Arrays) -> Arrays:
        found: dict[int, Array] = {}
        for pull in pulls:
            found |= pull((on_out, on_new if plan.analysis.step.pulls_state else []))[0]
        return plan.analysis.read_out.by_leaf(found, new_state)

    return signal


def _passes(plan: Plan, sources: list[int]) -> list[tuple[list[int], bool]]:
    """Which new states are shifted together, and whether they are held at their values."""
    step = plan.analysis.step
    bits = dependence(step.program, sources)
    own = {var: sum(1 << i for i, other in enumerate(sources) if other == var) for var in sources}
    together, alone = [], []
    for group in plan.analysis.groups:
        mine = sum(1 << leaf for leaf in group.leaves)
        if any(bits[sources[leaf]] & mine & ~own[sources[leaf]] for leaf in group.leaves):
            alone.append((list(group.leaves), True))
        else:
            together += group.leaves
    return ([(together, False)] if together else []) + alone

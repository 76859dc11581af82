"""The learning signal of window 0: dl/dh at the new states, each with the group's other new states held fixed.

A shift is added to every new state where it is computed, and what gets a cotangent, the output and in `etrace_vjp` the
new state, is differentiated with respect to the shifts: one new state may be made of another.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from .._carry import Signal
from .._read import dependence
from ._call import Arrays, Call
from ._evaluate import run_step
from ._plan import places, Plan

Pass = tuple[list[int], bool]
"""New states that are shifted together, and whether they are held at their values."""


def new_state_signal(call: Call, new_state: Arrays) -> Callable[[Arrays, Arrays], Signal]:
    """From cotangents of the output, and of the new state if it may have any, to the signal of every new state.

    Groups in which one new state reads another are taken one at a time, with their new states replaced by their values,
    so that no credit is counted twice. Influence on the whole state needs every new state with all others held fixed,
    whatever their group.
    """
    sites, sources = places(call.plan.keepers)
    by_group = _pulled(call, new_state, _passes(call.plan))
    followed = {s.group: s.followed for s in sites if s.filters}
    by_tail = {group: _pulled(call, new_state, [(list(leaves), True)]) for group, leaves in followed.items()}
    alone = _pulled(call, new_state, [(list(range(len(new_state))), True)]) if sources else by_group
    layers = dict.fromkeys(source.layer for source in sources if source.layer is not None)
    by_layer = {layer: _pulled(call, new_state, [(sorted(layer), True)]) for layer in layers}

    def signal(on_out: Arrays, on_new: Arrays) -> Signal:
        on_new = on_new if call.step.pulls_state else []
        on_states = by_group(on_out, on_new)
        apart = {layer: pull(on_out, on_new) for layer, pull in by_layer.items()}
        together = {group: pull(on_out, on_new) for group, pull in by_tail.items()}
        whole = alone(on_out, on_new) if sources else on_states
        return Signal(on_states, whole, apart, together, call.on_filter)

    return signal


def _pulled(call: Call, new_state: Arrays, passes: list[Pass]) -> Callable[[Arrays, Arrays], Arrays]:
    """By these passes over the step."""
    body, read_out = call.plan.analysis.body, call.plan.analysis.read_out
    values = read_out.given(call.step, new_state)

    def outputs(shifts: dict[int, Array], held: frozenset[int]) -> tuple[Arrays, Arrays]:
        shifts = call.new_without_still(shifts)

        def edit(var: int, value: Any) -> Any:
            return (values[var] if var in held else value) + shifts[var] if var in shifts else value

        env = call.env(call.weights, call.state, call.inputs)
        (out, new), _ = run_step(call, body.equations, env, edit)
        return out, new if call.step.pulls_state else []

    pulls = []
    for leaves, hold in passes:
        variables = [read_out.states[leaf].variable for leaf in leaves]
        shifts = {var: jnp.zeros_like(values[var]) for var in variables}
        held = frozenset(variables) if hold else frozenset()
        pulls.append(jax.vjp(lambda shifts, held=held: outputs(shifts, held), shifts)[1])

    def pull(on_out: Arrays, on_new: Arrays) -> Arrays:
        nothing = {state.variable: jnp.zeros_like(values[state.variable]) for state in read_out.states}
        on_states = read_out.by_leaf(nothing, new_state)
        for (leaves, _), one in zip(passes, pulls, strict=True):
            # A variable may hold states of several groups: each has its signal from the pass of its own.
            found = read_out.by_leaf({**nothing, **one((on_out, on_new))[0]}, new_state)
            on_states = [found[leaf] if leaf in leaves else g for leaf, g in enumerate(on_states)]
        return on_states

    return pull


def _passes(plan: Plan) -> list[Pass]:
    """Together what no other new state of its group reads; else one group at a time."""
    variables = [state.variable for state in plan.analysis.read_out.states]
    bits = dependence(plan.analysis.step.program, variables)

    def is_read(leaf: int, leaves: tuple[int, ...]) -> bool:
        """By another of these: the halves of a complex state have one variable."""
        others = [other for other in leaves if variables[other] != variables[leaf]]
        return any(bits[variables[leaf]] >> other & 1 for other in others)

    together: list[int] = []
    alone: list[Pass] = []
    for group in plan.analysis.groups:
        if any(is_read(leaf, group.leaves) for leaf in group.leaves):
            alone.append((list(group.leaves), True))
        else:
            together += group.leaves
    return ([(together, False)] if together else []) + alone

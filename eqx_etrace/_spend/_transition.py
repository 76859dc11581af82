"""What a step did to all that is kept: its Jacobians, from the values and the pullback that it left behind."""

from collections.abc import Sequence
from typing import Any

import jax

from .._carry import AbstractKeeper, block_drives, for_each, linearise, PullNew, Transition, Transitions
from ._call import Arrays, Call, Carry, Inputs
from ._etrace import check_kept
from ._evaluate import Aside, new_state_function
from ._plan import places

Values = tuple[Any, ...]
"""What every keeper keeps."""


def transition_of(call: Call, keepers: Sequence[AbstractKeeper], pull_new: PullNew, taps: Arrays) -> Transition:
    """Of one step, as far as these keepers ask. `pull_new` pulls cotangents of its new state back."""
    plan, values = call.plan, dict(zip(call.plan.taps, taps, strict=True))
    sites, sources = places(keepers)
    if sources and plan.unfollowed:
        # What no Jacobian follows must not enter it: the step is run again, its derivatives stopped there.
        _, pull_new, _ = pull_from_new_state(call, plan.unfollowed)
    by_position = linearise(plan.analysis, sites, {**call.fixed, **values})
    return Transition(by_position, block_drives(plan.analysis, sources, pull_new, values))


def pull_from_new_state(call: Call, stops: frozenset[int] = frozenset()) -> tuple[Arrays, PullNew, Aside]:
    """One step, to be pulled back from its new state alone; derivatives stop at the variables in `stops`."""
    variables = call.weights, call.state.inexact, call.no_shifts()
    return jax.vjp(new_state_function(call, stops), *variables, has_aux=True)


def transitions_of(call: Call, taps: Arrays) -> Transitions:
    """Of a window of steps, from their stacked taps."""
    plan = call.plan
    sites, _ = places(call.keepers)

    def one(taps: Arrays) -> Any:
        return linearise(plan.analysis, sites, {**call.fixed, **dict(zip(plan.taps, taps, strict=True))})

    return Transitions(plan.analysis, sites, lambda: for_each(one)(taps))


def advance(call: Call, values: Values, transition: Transition) -> Values:
    """All that is kept, through one step."""
    return tuple(_advanced(call.keepers, values, transition))


def _advanced(keepers: Sequence[AbstractKeeper], values: Sequence[Any], transition: Transition) -> list[Any]:
    advanced = [keeper.advance(value, transition) for keeper, value in zip(keepers, values, strict=True)]
    _check(keepers, values, advanced, "advance")
    return advanced


def _check(keepers: Sequence[AbstractKeeper], values: Sequence[Any], advanced: Sequence[Any], method: str) -> None:
    for keeper, before, after in zip(keepers, values, advanced, strict=True):
        check_kept(f"{type(keeper.rule).__name__}.{method}", before, after)


def advance_window(call: Call, values: Values, transitions: Transitions) -> Values:
    """All that is kept, through the steps of a window."""
    keepers = call.keepers
    advanced = [k.advance_window(value, transitions) for k, value in zip(keepers, values, strict=True)]
    rolled = [i for i, value in enumerate(advanced) if value is None]
    if rolled:
        for i, value in zip(rolled, _rolled(call, rolled, [values[i] for i in rolled]), strict=True):
            advanced[i] = value
    _check(keepers, values, advanced, "advance_window")
    return tuple(advanced)


def _rolled(call: Call, which: list[int], values: list[Any]) -> list[Any]:
    """These keepers through the steps of a window one by one, which are run again for that."""
    keepers = [call.keepers[i] for i in which]

    def body(carry: tuple[Carry, list[Any]], inputs: Inputs) -> tuple[tuple[Carry, list[Any]], None]:
        state, values = carry
        here = call.at(state, inputs)
        new, pull_new, aside = pull_from_new_state(here)
        transition = transition_of(here, keepers, pull_new, aside.taps)
        return (Carry(new, aside.state_rest), _advanced(keepers, values, transition)), None

    return jax.lax.scan(body, (call.state, values), call.inputs)[0][1]

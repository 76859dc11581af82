"""What a step did to all that is kept: its Jacobians, from the values and the pullback that it left behind."""

from collections.abc import Sequence
from typing import Any

from .._carry import (
    AbstractKeeper,
    block_drives,
    BlockLayout,
    for_each,
    linearise,
    Passes,
    PullNew,
    Transition,
    Transitions,
)
from .._sharding import scan
from ._call import Arrays, Call, Carry, Inputs
from ._etrace import check_kept
from ._evaluate import pull_from_new_state
from ._plan import places
from ._span import in_span, Kept, through_span

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
    blocks = [source for source in sources if isinstance(source, BlockLayout)]
    passes = Passes(plan.analysis, pull_new, values) if len(blocks) < len(sources) else None
    return Transition(by_position, block_drives(plan.analysis, blocks, pull_new, values), passes)


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
    if in_span(call):
        for i, value in through_span(call, values, transitions.first, _rolled).items():
            advanced[i] = value
    rolled = [i for i, value in enumerate(advanced) if value is None]
    for i, value in (_rolled(call, {i: values[i] for i in rolled}) if rolled else {}).items():
        advanced[i] = value
    _check(keepers, values, advanced, "advance_window")
    return tuple(advanced)


def _rolled(call: Call, values: Kept) -> Kept:
    """These, by the number of a keeper, through the steps of a window one by one, which are run again for that."""
    keepers = [call.keepers[i] for i in values]

    def body(carry: tuple[Carry, list[Any]], inputs: Inputs) -> tuple[tuple[Carry, list[Any]], None]:
        state, values = carry
        here = call.at(state, inputs)
        new, pull_new, aside = pull_from_new_state(here)
        transition = transition_of(here, keepers, pull_new, aside.taps)
        return (Carry(new, aside.state_rest), _advanced(keepers, values, transition)), None

    advanced = scan(body, (call.state, list(values.values())), call.inputs)[0][1]
    return dict(zip(values, advanced, strict=True))

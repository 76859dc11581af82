"""Many learning signals, which meet a trace at once.

At fixed parameters a trace that follows D is linear in what it was, over any number of steps. So learning signals g_t
of many steps need no trace of their own each. Carried back by D, in the size of the state,

    mu_t  =  g_t + mu_{t+1} D_{t+1} ,          sum_t g_t . J_t  =  mu_0 . J_0  +  sum_t (mu_t dh_t/dy) (x) x_t ,

they are one signal, which meets the trace before the steps, and cotangents of what heads made, which join those that
the heads have anyway (`HeadFactors`). The trace is read once, and written once by `advance_window`.
"""

from typing import NamedTuple

import jax
from jaxtyping import Array, Inexact

from .._carry import AbstractKeeper, OfTail, Signal, TraceLayout, Transition, Transitions, When
from ._call import Arrays, Call
from ._gradient import as_dtype, Gradient, multiplied
from ._hand_over import hand_over
from ._transition import Values


class Met(NamedTuple):
    """What keepers that are told of many steps together must know of them: of one step, or stacked along time."""

    taps: Arrays
    signals: dict[int, OfTail]
    """By hidden group."""


def met(call: Call, taps: Arrays, signal: Signal) -> Met:
    """Of one step, or of a window that its signal meets before."""
    layouts = [keeper.layout for keeper in call.told]
    signals = {layout.group: signal.on_tail(layout) for layout in layouts if isinstance(layout, TraceLayout)}
    return Met(taps if signals else [], signals)


def meet_at_once(
    call: Call, gradient: Gradient, values: Values, transitions: Transitions, signals: dict[int, OfTail], when: When
) -> Gradient:
    """A gradient of many steps, with what these signals add to it, of keepers that follow D.

    Where a head has a cotangent already, that of the trace joins it. A closed step has none of the heads that make its
    new state.
    """
    start, along = transitions.carry_back(signals, when)
    handed = multiplied(call, hand_over(call, gradient, values, Signal([], [], carried=start)))
    direct, heads = dict(zip(call.plan.analysis.body.weights, handed.direct, strict=True)), dict(handed.heads)
    for keeper in call.keepers:
        layout, rows = keeper.layout, _rows(keeper, transitions, along)
        if layout.output in heads:
            heads[layout.output] = heads[layout.output].plus(jax.vmap(layout.head.from_rows)(rows))
        else:
            x = transitions.all_steps.x[layout.number]
            share = layout.head.over_time(rows, x)
            direct[layout.weight] = direct[layout.weight] + as_dtype(share, direct[layout.weight].dtype)
    return Gradient(list(direct.values()), heads)


def _rows(keeper: AbstractKeeper, transitions: Transitions, along: dict[int, OfTail]) -> Inexact[Array, "t ..."]:
    """mu_t dh_t/dy, of every step."""

    def one(step: tuple) -> Array:
        jacobians, signals = step
        return keeper.rows(Transition(jacobians, {}), Signal([], [], carried=signals))

    return jax.vmap(one)((transitions.all_steps, along))

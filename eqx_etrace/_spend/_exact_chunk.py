"""Windows 0 and 1 where all is exact: a chunk of steps as one window.

If the traces hold all credit, then what a window gives and hands over to J_0,

    sum_t (g_theta,t + g_s,t . J_t-1)           with the true J,

is BPTT's, whatever the window. So one reverse pass over a chunk takes the place of a product with J at every step.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from .._carry import rarely
from ._at_once import Met
from ._call import Arrays, Call
from ._closed_step import holds_all, is_closed
from ._estimate import aux_of, Estimate, pull_window
from ._gradient import Gradient, settle
from ._span import advance_span, any_spoiled, in_span, span_drives
from ._transition import transitions_of, Values


def is_exact(call: Call, window: int) -> bool:
    """Is the sum over steps the same at any window? At window 0 the learning signal must see all credit, too."""
    spanned = in_span(call)
    others = [keeper for i, keeper in enumerate(call.keepers) if i not in spanned]
    if not spanned or not all(keeper.follows_d for keeper in others):
        return False
    return is_closed(call.plan) if window == 0 else holds_all(call.plan)


def exact_chunk(call: Call, values: Values, size: int, one_by_one: Callable[[Values], Estimate]) -> Estimate:
    """So many steps as one window. If that would spoil anything, `one_by_one` takes them."""
    assert call.plan.span is not None
    window = pull_window(call, values, size)
    direct, (drives, _) = settle(call, window.gradient), span_drives(call, call.plan.span)
    infinite = [~jnp.isfinite(ct).all() for ct in direct]
    spoiled = functools.reduce(jnp.logical_or, infinite, any_spoiled(call, values, drives))

    def again(before: tuple[Arrays, Values]) -> tuple[Arrays, Values]:
        found = one_by_one(before[1])
        return settle(call, found.gradient), found.advance([])

    direct, before = rarely(spoiled, (direct, values), again)

    def after(first: Arrays) -> Values:
        transitions = transitions_of(call, window.aside.taps).after(first)
        kept = advance_span(call, before, drives, spoiled, first)
        for i, keeper in enumerate(call.keepers):
            if i not in kept:
                # A trace by position is small: both are made.
                advanced = keeper.advance_window(values[i], transitions)
                kept[i] = jax.tree.map(lambda slow, fast: jnp.where(spoiled, slow, fast), before[i], advanced)
        return tuple(kept[i] for i in range(len(values)))

    return Estimate(window.losses, aux_of(window.aside), Gradient(direct), window.state, after, Met([], {}))

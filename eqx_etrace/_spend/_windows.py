"""Many steps: windows that are differentiated exactly, one after the other, each handing credit over to the traces.

Over a window of K steps from the state s_0 with trace J_0,

    (g_theta, g_s) = VJP of the window with respect to (theta, s_0)       # exact, reverse mode
    gradient       = g_theta + g_s . J_0                                   # hand-over to the trace
    J_K            = J_0 advanced through the K steps                      # the rule's recursion

The window is a plain VJP of the step, so every parameter has its exact within-window gradient. Windows 0 and 1 go step
by step; the factors of their products are kept over a chunk of steps.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .._carry import DRTRL, rarely, TraceLayout, Transition
from ._call import Arrays, Call, Carry, Inputs
from ._closed_step import holds_all, is_closed, take_closed_step
from ._evaluate import Aside, window_function
from ._gradient import add, factors_of, Gradient, Left, settle, steps_to_keep, unrolled
from ._hand_over import hand_over, same_signal
from ._one_step import at_window_0, at_window_1, take_step
from ._span import advance_span, any_spoiled, in_span, span_drives
from ._transition import advance, advance_window, transitions_of, Values


class Estimate(NamedTuple):
    """What one step, or many, give."""

    loss: jax.Array
    aux: tuple[Arrays, Arrays]
    gradient: Gradient
    """Factors of heads are stacked along time, but for those of a single step."""
    state: Carry
    advance: Callable[[Arrays], Values]
    """The traces after it; to be called with arrays that must be known first, such as the sum of all gradients."""
    left: dict[int, Left] | None = None
    """What a single step leaves to be multiplied later, by the number of a keeper; None for more steps."""


def _aux(aside: Aside) -> tuple[Arrays, Arrays]:
    return aside.aux_inexact, aside.aux_rest


def one_step(call: Call, values: Values, window: int) -> Estimate:
    """The gradient of one loss, at window 0 or 1."""
    if is_closed(call.plan):
        done = take_closed_step(call, values)
        return Estimate(done.out[0], _aux(done.aside), done.gradient, done.new, lambda _: done.values, {})
    step = take_step(call)
    on_out, on_new = [jnp.ones_like(step.out[0])], [jnp.zeros_like(s) for s in step.new.inexact]
    own, on_old, _ = step.pull(on_out, on_new)
    if window == 0:
        advanced = advance(call, values, step.transition)
        gradient = at_window_0(call, step, advanced)(own, on_out, on_new)
        left = _left(call, gradient, step.transition)
        return Estimate(step.out[0], _aux(step.aside), gradient, step.new, lambda _: advanced, left)

    def after(first: Arrays) -> Values:
        return advance(call, values, step.transition.after(first))

    gradient = at_window_1(call, own, on_old, values)
    left = _left(call, gradient, step.transition)
    return Estimate(step.out[0], _aux(step.aside), gradient, step.new, after, left)


def _left(call: Call, gradient: Gradient, transition: Transition) -> dict[int, Left]:
    """What one step leaves to be multiplied later, of factored traces."""
    left = {}
    for number, share in gradient.factored.items():
        layout = call.plan.keepers[number].layout
        assert isinstance(layout, TraceLayout), "an influence on blocks has no factors"
        left[number] = Left(share.rows, *share.discount(transition.drive(layout)))
    return left


def many_steps(call: Call, values: Values, window: int, length: int) -> Estimate:
    """The gradient of the sum of `length` losses, at fixed parameters; inputs have a leading time axis."""
    if window > 1:
        return _chunked(call, values, window, length, _one_window)
    span = call.plan.span
    if span is not None and _is_exact(call, window):

        def at_once(chunk: Call, values: Values, size: int) -> Estimate:
            return _exact_chunk(chunk, values, size, window)

        return _chunked(call, values, span.steps(length), length, at_once)

    def steps(chunk: Call, values: Values, size: int) -> Estimate:
        del size
        return _step_by_step(chunk, values, window)

    return _chunked(call, values, steps_to_keep(call.plan, length), length, steps)


def _one_window(call: Call, values: Values, size: int) -> Estimate:
    """A window of steps, differentiated as one, and handed over to the traces of its first state."""
    loss, gradient, state, aside = _pulled_window(call, values, size)

    def after(first: Arrays) -> Values:
        return advance_window(call, values, aside.taps, first)

    return Estimate(loss, _aux(aside), gradient, state, after)


def _pulled_window(call: Call, values: Values, size: int) -> tuple[jax.Array, Gradient, Carry, Aside]:
    """The losses of a window, its gradient with what it hands over, and the state after it."""
    variables = call.weights, call.state.inexact, call.no_shifts(size)
    (out, new), pull, aside = jax.vjp(window_function(call), *variables, has_aux=True)
    direct, on_old, on_heads = pull(([jnp.ones_like(out[0])], [jnp.zeros_like(s) for s in new]))
    own = Gradient(direct, factors_of(call, aside.taps, on_heads))
    return out[0], hand_over(call, own, values, same_signal(call, on_old)), Carry(new, aside.state_rest), aside


def _is_exact(call: Call, window: int) -> bool:
    """Is the sum over steps the same at any window? If the traces hold all credit, and at window 0 if it sees it all.

    Then what a window gives and hands over to J_0 is sum_t (g_theta,t + g_s,t . J_t-1) with the true J, all of it
    BPTT, whatever the window.
    """
    spanned = in_span(call)
    others = [keeper for i, keeper in enumerate(call.plan.keepers) if i not in spanned]
    if not spanned or not all(isinstance(keeper.rule, DRTRL) for keeper in others):
        return False
    return is_closed(call.plan) if window == 0 else holds_all(call.plan)


def _exact_chunk(call: Call, values: Values, size: int, window: int) -> Estimate:
    """Windows 0 and 1 where all is exact: a chunk of steps as one window; one by one if that would spoil anything."""
    assert call.plan.span is not None
    loss, gradient, state, aside = _pulled_window(call, values, size)
    direct, (drives, _) = settle(call, gradient), span_drives(call, call.plan.span)
    infinite = [~jnp.isfinite(ct).all() for ct in direct]
    spoiled = functools.reduce(jnp.logical_or, infinite, any_spoiled(call, values, drives))

    def one_by_one(before: tuple[Arrays, Values]) -> tuple[Arrays, Values]:
        found = _step_by_step(call, before[1], window)
        return settle(call, found.gradient), found.advance([])

    direct, before = rarely(spoiled, (direct, values), one_by_one)

    def after(first: Arrays) -> Values:
        transitions, kept = transitions_of(call, aside.taps, first), advance_span(call, before, drives, spoiled, first)
        for i, keeper in enumerate(call.plan.keepers):
            if i not in kept:
                # A trace by position is small: both are made.
                advanced = keeper.advance_window(values[i], transitions)
                kept[i] = jax.tree.map(lambda slow, fast: jnp.where(spoiled, slow, fast), before[i], advanced)
        return tuple(kept[i] for i in range(len(values)))

    return Estimate(loss, _aux(aside), Gradient(direct), state, after)


def _step_by_step(call: Call, start: Values, window: int) -> Estimate:
    """Windows 0 and 1; what stays factors is stacked along time."""

    def body(carry: tuple[Arrays, Carry, Values], now: Inputs) -> Any:
        direct, state, values = carry
        step = one_step(call.at(state, now), values, window)
        direct = add(direct, step.gradient.direct)
        kept = step.loss, step.aux, step.gradient.heads, step.left
        return (direct, step.state, step.advance(direct)), kept

    begin = ([jnp.zeros_like(w) for w in call.weights], call.state, start)
    (direct, state, values), (losses, aux, heads, left) = jax.lax.scan(body, begin, call.inputs)
    nothing = same_signal(call, [jnp.zeros_like(s) for s in state.inexact])
    before = hand_over(call, Gradient(direct), start, nothing).factored
    gradient = unrolled(call, Gradient(direct, heads), left, before, advanced=window == 0)
    return Estimate(losses, aux, gradient, state, lambda _: values)


def _chunked(
    call: Call, values: Values, size: int, length: int, run: Callable[[Call, Values, int], Estimate]
) -> Estimate:
    """Chunk by chunk, gradients settled and summed; the last chunk may be shorter."""
    count, left = divmod(length, size)

    def body(carry: tuple[Arrays, Carry, Values], start: jax.Array) -> Any:
        total, state, values = carry
        here = jax.tree.map(lambda x: jax.lax.dynamic_slice_in_dim(x, start, size), call.inputs)
        chunk = run(call.at(state, here), values, size)
        total = add(total, settle(call, chunk.gradient))
        return (total, chunk.state, chunk.advance(total)), (chunk.loss, chunk.aux)

    begin = ([jnp.zeros_like(w) for w in call.weights], call.state, values)
    (total, state, values), kept = jax.lax.scan(body, begin, jnp.arange(0, count * size, size))
    losses, aux = jax.tree.map(lambda x: x.reshape(count * size, *x.shape[2:]), kept)
    if not left:
        return Estimate(losses, aux, Gradient(total), state, lambda _: values)
    last = run(call.at(state, jax.tree.map(lambda x: x[count * size :], call.inputs)), values, left)
    losses, aux = jax.tree.map(lambda x, y: jnp.concatenate([x, y]), (losses, aux), (last.loss, last.aux))
    more = last.gradient
    gradient = Gradient(add(total, more.direct), more.heads, more.factored)
    return Estimate(losses, aux, gradient, last.state, last.advance)

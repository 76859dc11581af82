"""Many steps: windows that are differentiated exactly, one after the other, each handing credit over to the traces.

Over a window of K steps from the state s_0 with trace J_0,

    (g_theta, g_s) = VJP of the window with respect to (theta, s_0)       # exact, reverse mode
    gradient       = g_theta + g_s . J_0                                   # hand-over to the trace
    J_K            = J_0 advanced through the K steps                      # the rule's recursion

The window is a plain VJP of the step, so every parameter has its exact within-window gradient. Windows 0 and 1 go step
by step.

Many windows make a chunk. What can wait until its end is done there, for all its steps at once: the products of heads,
whose factors are kept (`_gradient`), and all that concerns a trace which follows D (`_at_once`). Other traces go
through it window by window. Where the traces are exact and on whole blocks, a chunk is one window itself
(`_exact_chunk`). At fixed parameters the length of a chunk changes no number.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from .._carry import TraceLayout, Transition, When
from .._sharding import scan
from ._at_once import meet_at_once, Met, met
from ._call import Arrays, Call, Carry, Inputs
from ._chunk_length import chunks, exact_steps
from ._closed_step import is_closed, take_closed_step
from ._estimate import aux_of, Estimate, pull_window
from ._exact_chunk import exact_chunk, is_exact
from ._gradient import add, Gradient, Left, multiplied, settle, unrolled
from ._hand_over import hand_over, same_signal
from ._one_step import at_window_0, at_window_1, take_step
from ._transition import advance, advance_window, transitions_of, Values


def one_step(call: Call, values: Values, window: int) -> Estimate:
    """The gradient of one loss, at window 0 or 1."""
    if is_closed(call.plan):
        done = take_closed_step(call, values)
        known = met(call, done.aside.taps, done.signal)
        return Estimate(done.out[0], aux_of(done.aside), done.gradient, done.new, lambda _: done.values, known, {})
    step = take_step(call)
    on_out, on_new = [jnp.ones_like(step.out[0])], [jnp.zeros_like(s) for s in step.new.inexact]
    own, on_old, _ = step.pull(on_out, on_new)

    def after(first: Arrays) -> Values:
        return advance(call, values, step.transition.after(first))

    if window == 0:
        advanced = advance(call, values, step.transition)
        (gradient, signal), then = at_window_0(call, step, advanced)(own, on_out, on_new), lambda _: advanced
    else:
        (gradient, signal), then = at_window_1(call, own, on_old, values), after
    known, left = met(call, step.aside.taps, signal), _left(call, gradient, step.transition)
    return Estimate(step.out[0], aux_of(step.aside), gradient, step.new, then, known, left)


def _left(call: Call, gradient: Gradient, transition: Transition) -> dict[int, Left]:
    """What one step leaves to be multiplied later, of factored traces."""
    left = {}
    for number, share in gradient.factored.items():
        layout = call.keepers[number].layout
        assert isinstance(layout, TraceLayout), "an influence on blocks has no factors"
        left[number] = Left(share.rows, *share.discount(transition.drive(layout)))
    return left


def many_steps(call: Call, values: Values, window: int, length: int) -> Estimate:
    """The gradient of the sum of `length` losses, at fixed parameters; inputs have a leading time axis."""
    size, run = _chunks(call, window, length)

    def chunk(here: Call, values: Values, size: int) -> tuple[Estimate, Arrays, Any]:
        found = run(here, values, size)
        return found, settle(here, found.gradient), (found.loss, found.aux)

    (total, state, values), (losses, aux) = _in_pieces(call, values, size, length, chunk)
    return Estimate(losses, aux, Gradient(total), state, lambda _: values, Met([], {}))


def _chunks(call: Call, window: int, length: int) -> tuple[int, Callable[[Call, Values, int], Estimate]]:
    """How many steps make a chunk, and what takes one."""
    exact = exact_steps(call.plan, length) if window <= 1 and is_exact(call, window) else None
    if exact is not None:

        def at_any_window(here: Call, values: Values, size: int) -> Estimate:
            return exact_chunk(here, values, size, lambda values: _step_by_step(here, values, window, size))

        return exact, at_any_window
    size, at_once = chunks(call.plan, window, length)
    return size, lambda here, values, size: _chunk(here, values, window, size, at_once)


def _chunk(call: Call, values: Values, window: int, length: int, at_once: Sequence[bool]) -> Estimate:
    """Windows, of which the last may be shorter; or steps, at window 0 or 1."""
    if window > 1 and length <= window:
        return _one_window(call, values, length)
    run = _step_by_step if window <= 1 else _windows
    if not any(at_once):
        return run(call, values, window, length)
    told, others = (_those(at_once, wanted) for wanted in (True, False))
    mine, before = call.of(told(call.keepers)), told(values)
    rest = call.of(others(call.keepers), mine.keepers)
    found = run(rest, others(values), window, length)
    own, transitions = multiplied(rest, found.gradient), transitions_of(mine, found.met.taps)
    gradient = meet_at_once(mine, own, before, transitions, found.met.signals, _when(call, window))

    def after(first: Arrays) -> Values:
        advanced = iter(advance_window(mine, before, transitions.after(first))), iter(found.advance(first))
        return tuple(next(advanced[0] if is_told else advanced[1]) for is_told in at_once)

    return found._replace(gradient=gradient, advance=after)


def _those(at_once: Sequence[bool], wanted: bool) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
    """Of one thing per keeper, those of the keepers that are told at once, or of the others."""
    return lambda things: tuple(thing for thing, is_told in zip(things, at_once, strict=True) if is_told == wanted)


def _when(call: Call, window: int) -> When:
    """Which trace the learning signal of a step is for."""
    if window > 1:
        return When.BEFORE
    if is_closed(call.plan):
        return When.AFTER
    return When.BEFORE if window == 1 else When.PAST


def _one_window(call: Call, values: Values, size: int) -> Estimate:
    """A window of steps, differentiated as one, and handed over to the traces of its first state."""
    window = pull_window(call, values, size)

    def after(first: Arrays) -> Values:
        return advance_window(call, values, transitions_of(call, window.aside.taps).after(first))

    def at_the_first_step(g: jax.Array) -> jax.Array:
        return jnp.concatenate([g[None], jnp.zeros((size - 1, *g.shape), g.dtype)])

    known = met(call, window.aside.taps, window.signal)
    known = known._replace(signals=jax.tree.map(at_the_first_step, known.signals))
    return Estimate(window.losses, aux_of(window.aside), window.gradient, window.state, after, known)


def _windows(call: Call, values: Values, window: int, length: int) -> Estimate:
    """One after the other; what stays factors is stacked along time."""

    def one(here: Call, values: Values, size: int) -> tuple[Estimate, Arrays, Any]:
        found = _one_window(here, values, size)
        gradient = multiplied(here, found.gradient)
        return found, gradient.direct, (found.loss, found.aux, gradient.heads, found.met)

    (direct, state, values), (losses, aux, heads, known) = _in_pieces(call, values, window, length, one)
    return Estimate(losses, aux, Gradient(direct, heads), state, lambda _: values, known)


def _step_by_step(call: Call, start: Values, window: int, length: int) -> Estimate:
    """Windows 0 and 1; what stays factors is stacked along time."""

    def body(carry: tuple[Arrays, Carry, Values], now: Inputs) -> Any:
        direct, state, values = carry
        step = one_step(call.at(state, now), values, window)
        direct = add(direct, step.gradient.direct)
        kept = step.loss, step.aux, step.gradient.heads, step.left, step.met
        return (direct, step.state, step.advance(direct)), kept

    begin = ([jnp.zeros_like(w) for w in call.weights], call.state, start)
    (direct, state, values), (losses, aux, heads, left, known) = scan(body, begin, call.inputs, length)
    nothing = same_signal(call, [jnp.zeros_like(s) for s in state.inexact])
    before = hand_over(call, Gradient(direct), start, nothing).factored
    gradient = unrolled(call, Gradient(direct, heads), left, before, advanced=window == 0)
    return Estimate(losses, aux, gradient, state, lambda _: values, known)


Pieces = Callable[[Call, Values, int], tuple[Estimate, Arrays, Any]]
"""A piece of time of some length, the cotangents that it adds, and what is kept of every step."""


def _in_pieces(call: Call, values: Values, size: int, length: int, run: Pieces) -> Any:
    """Piece by piece, of which the last may be shorter; what is kept of every step is joined along time."""
    count, left = divmod(length, size)

    def body(carry: tuple[Arrays, Carry, Values], start: jax.Array | int, size: int = size) -> Any:
        total, state, values = carry
        here = jax.tree.map(lambda x: jax.lax.dynamic_slice_in_dim(x, start, size), call.inputs)
        found, direct, kept = run(call.at(state, here), values, size)
        total = add(total, direct)
        return (total, found.state, found.advance(total)), kept

    begin = ([jnp.zeros_like(w) for w in call.weights], call.state, values)
    if length == size:
        return body(begin, 0)
    carry, kept = scan(body, begin, jnp.arange(0, count * size, size))
    kept = jax.tree.map(lambda x: x.reshape(count * size, *x.shape[2:]), kept)
    if left:
        carry, more = body(carry, count * size, left)
        kept = jax.tree.map(lambda x, y: jnp.concatenate([x, y]), kept, more)
    return carry, kept

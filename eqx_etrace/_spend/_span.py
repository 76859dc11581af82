"""Influences on whole blocks through many steps at once: what the steps do together, by reverse mode.

The steps are run forward once, and their states are kept. Then ones on the last state, a pass for every colour, are
pulled back through one step after the other. What they give is in `_carry.on_blocks`.

A step knows that zero times anything is nothing, and a product over many steps does not: where one of them is infinite,
what was cut off long ago may come back as NaN. So a window that holds such a step is taken step by step.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from .._carry import (
    after,
    BlockDrive,
    BlockKeeper,
    for_each,
    is_spoiled,
    rarely,
    Span,
    Transitions,
    window_drives,
    written_out,
)
from .._sharding import scan
from ._call import Arrays, Call, Carry, Inputs
from ._evaluate import new_state_function, pull_from_new_state

Drives = dict[int, BlockDrive]
Kept = dict[int, Any]
"""What keepers keep, by the number of a keeper."""


def in_span(call: Call) -> dict[int, BlockKeeper]:
    """The keepers, by number, whose influences are carried through many steps at once."""
    layouts = () if call.plan.span is None else call.plan.span.layouts
    keepers = [(i, k) for i, k in enumerate(call.keepers) if isinstance(k, BlockKeeper)]
    return {i: keeper for i, keeper in keepers if keeper.layout in layouts}


def span_drives(call: Call, span: Span) -> tuple[Drives, Carry]:
    """What the steps of a window do together, by the number of a source; and the state after them."""
    body, avals = call.plan.analysis.body, call.step.program.avals
    alone = {layout.weight for layout in span.layouts if layout.source.use is None}
    uses = {layout.source.use.output: layout.source.use for layout in span.layouts if layout.source.use is not None}

    same: dict[int, int] = {}

    def forward(state: Carry, inputs: Inputs) -> tuple[Carry, Carry]:
        new, aside = new_state_function(call.at(state, inputs))(call.weights, state.inexact, call.no_shifts())
        return Carry(new, aside.state_rest), state

    def back(later: tuple[Arrays, dict[int, Array]], now: tuple[Carry, Inputs]) -> Any:
        (on_new, total), here = later, call.at(*now)
        _, pull, aside = pull_from_new_state(here, call.plan.unfollowed)
        on_weights, on_old, on_heads = written_out(for_each(pull))(on_new)
        by_weight = dict(zip(body.weights, on_weights, strict=True))
        by_output = {use.output: ct for use, ct in zip(body.heads, on_heads, strict=True)}
        # Heads that are added have one cotangent, which is kept once.
        first: dict[int, int] = {}
        same.update((y, first.setdefault(id(by_output[y]), y)) for y in uses)
        values = {**call.fixed, **dict(zip(call.plan.taps, aside.taps, strict=True))}
        left = {y: by_output[y] for y in same.values()}, {use.data: values[use.data] for use in uses.values()}
        return (on_old, {weight: ct + by_weight[weight] for weight, ct in total.items()}), left

    last, states = scan(forward, call.state, call.inputs)
    nothing = {weight: jnp.zeros((span.passes, *avals[weight].shape), avals[weight].dtype) for weight in alone}
    start = span.seeds(), nothing
    (on_old, on_weights), (on_heads, met) = scan(back, start, (states, call.inputs), reverse=True)
    return window_drives(span, on_old, on_weights, {y: on_heads[same[y]] for y in uses}, met), last


def any_spoiled(call: Call, values: Sequence[Any], drives: Drives) -> Bool[Array, ""]:
    """Must the window be taken step by step?"""
    spoiled = [is_spoiled(values[i], drives[keeper.layout.number]) for i, keeper in in_span(call).items()]
    return functools.reduce(jnp.logical_or, spoiled)


def advance_span(
    call: Call, values: Sequence[Any], drives: Drives, idle: Bool[Array, ""], first: Sequence[Array]
) -> Kept:
    """Through a window, once `first` is known; where `idle`, as they are."""
    jacobians = after(first, {number: drive.jacobian for number, drive in drives.items()})
    ready = {n: BlockDrive(jacobians[n], drive.response, drive.x) for n, drive in drives.items()}
    transitions = Transitions(call.plan.analysis, (), _nothing, (), ready, idle)
    return {i: keeper.advance_window(values[i], transitions) for i, keeper in in_span(call).items()}


def _nothing() -> Any:
    raise AssertionError("an influence on blocks asks for nothing by position")


def through_span(call: Call, values: Sequence[Any], first: Sequence[Array], roll: Callable[[Call, Kept], Kept]) -> Kept:
    """Those in the span through the steps of a window; `roll` takes the steps one by one.

    In chunks, for what a chunk leaves until its end grows with it.
    """
    span = call.plan.span
    assert span is not None
    length = jax.tree.leaves(call.inputs)[0].shape[0]
    size = span.steps(length)
    count, left = divmod(length, size)

    def chunk(state: Carry, kept: Kept, inputs: Inputs) -> tuple[Carry, Kept]:
        here = call.at(state, inputs)
        drives, last = span_drives(here, span)
        spoiled = any_spoiled(here, _listed(call, kept), drives)
        kept = rarely(spoiled, kept, lambda kept: roll(here, kept))
        return last, advance_span(here, _listed(call, kept), drives, spoiled, first)

    def body(carry: tuple[Carry, Kept], start: Array) -> tuple[tuple[Carry, Kept], None]:
        return chunk(*carry, jax.tree.map(lambda x: jax.lax.dynamic_slice_in_dim(x, start, size), call.inputs)), None

    kept = {i: values[i] for i in in_span(call)}
    if length == size:
        return chunk(call.state, kept, call.inputs)[1]
    state, kept = scan(body, (call.state, kept), jnp.arange(0, count * size, size))[0]
    return chunk(state, kept, jax.tree.map(lambda x: x[count * size :], call.inputs))[1] if left else kept


def _listed(call: Call, kept: Kept) -> list[Any]:
    return [kept.get(i) for i in range(len(call.keepers))]

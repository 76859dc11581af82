"""Hand-over: what the traces add to a gradient.

Over a window of K steps from the state s_0 with the influence J_0 of all the past,

    (g_theta, g_s)  =  VJP of the window with respect to (theta, s_0)       exact, reverse mode
    gradient        =  g_theta  +  g_s . J_0                                hand-over
"""

from typing import Any

from jax import Array

from .._carry import AbstractKeeper, FactoredShare, Signal, TraceLayout, Transition
from ._call import Arrays, Call
from ._gradient import as_dtype, Gradient
from ._transition import Values


def same_signal(call: Call, on_states: Arrays) -> Signal:
    """Cotangents of the first state of a window, which every keeper meets as they are."""
    return Signal(on_states, on_states, on_filter=call.on_filter)


def hand_over(call: Call, gradient: Gradient, values: Values, signal: Signal) -> Gradient:
    """g_theta + g_s . J: a gradient with the shares of all that is kept."""
    keepers = call.keepers
    shares = [keeper.contract(value, signal) for keeper, value in zip(keepers, values, strict=True)]
    direct = dict(zip(call.plan.analysis.body.weights, gradient.direct, strict=True))
    factored: dict[int, FactoredShare] = {}
    heads = {use.output for use in call.plan.analysis.body.heads}
    for number, (keeper, share) in enumerate(zip(keepers, shares, strict=True)):
        weight = keeper.layout.weight
        if isinstance(share, FactoredShare) and keeper.layout.output in heads:
            factored[number] = share
        elif share is not None:
            share = _checked(keeper, _multiplied_out(keeper, share), direct[weight])
            direct[weight] = direct[weight] + as_dtype(share, direct[weight].dtype)
    return Gradient(list(direct.values()), gradient.heads, factored)


def _multiplied_out(keeper: AbstractKeeper, share: Any) -> Any:
    """Of a lookup, the factors of a share are multiplied out: no head holds others to join them."""
    layout = keeper.layout
    is_lookup = isinstance(layout, TraceLayout) and layout.output is not None
    return layout.head.pull(share) if is_lookup and isinstance(share, FactoredShare) else share


def _checked(keeper: AbstractKeeper, share: Any, weight: Array) -> Array:
    """A share that is multiplied out, if it is a cotangent of the weight."""
    if not isinstance(share, Array) or share.shape != weight.shape:
        shown = f"shape {list(share.shape)}" if isinstance(share, Array) else f"a `{type(share).__name__}`"
        raise TypeError(
            f"`{type(keeper.rule).__name__}.contract` must return a cotangent of the effective weight, an array of "
            f"shape {list(weight.shape)}, or a `FactoredShare` where the weight meets data, or None; for the weight of "
            f"{' and '.join(keeper.weight.names)} it returned {shown}."
        )
    return share


def with_entered(call: Call, gradient: Gradient, transition: Transition, signal: Signal) -> Gradient:
    """The gradient of one step, with g_h . (dh/dy x) added: what this very step put into all that is kept."""
    direct = dict(zip(call.plan.analysis.body.weights, gradient.direct, strict=True))
    heads = dict(gradient.heads)
    for keeper in call.keepers:
        layout, rows = keeper.layout, keeper.rows(transition, signal)
        if layout.output is None:
            weight = layout.weight
            direct[weight] = direct[weight] + as_dtype(layout.head.to_weight(rows), direct[weight].dtype)
        elif layout.output in heads:
            heads[layout.output] = heads[layout.output].plus(layout.head.from_rows(rows))
        else:  # a lookup
            assert isinstance(layout, TraceLayout)
            x = transition.drive(layout).x
            share = layout.head.over_time(rows[None], None if x is None else x[None])
            direct[layout.weight] = direct[layout.weight] + as_dtype(share, direct[layout.weight].dtype)
    return Gradient(list(direct.values()), heads, gradient.factored)

"""Layers, and the linear maps between them: what a graph of NIR can say, as a model to run and to train."""

import functools
import operator
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Float

from ..nn import AbstractNeuron, Delay, Expon, LeakyIntegrator

Layer = AbstractNeuron[Any] | Expon | LeakyIntegrator | Delay
INPUT, OUTPUT = "input", "output"


class Wire(eqx.Module):
    """From a layer, or from the input. `weight` is None where nothing is done on the way."""

    weight: Float[Array, "to from"] | None
    source: str = eqx.field(static=True)
    is_late: bool = eqx.field(static=True, default=False)
    """Does it carry what its source gave a step ago?"""


class Sum(eqx.Module):
    """What a layer hears: the sum of its wires, and a bias."""

    wires: tuple[Wire, ...]
    bias: Float[Array, " to"] | None = None


class Network(eqx.Module):
    """A network of layers: `model(x, state) -> (out, state)`.

        model = from_nir(graph, dt=1.0, reset="hard", integrator="exponential")
        out, state = model(x, model.init_state())
        online = etrace_value_and_grad(loss_step, DRTRL())     # as any other model

    It is what `from_nir` returns and what `to_nir` takes a step for. `x` may have lanes, `[*lanes, inputs]`; the
    state is then of `init_state(lanes)`. In a loop of layers, one wire carries what was there a step before.

    **Attributes**

    - `layers`: the layers with a state, by name; `order`: their names in the order in which they take a step.
    - `heard`: what each of them hears, and what `"output"` is: a sum of wires with a `weight` `[to, from]`, and a bias.
    - `sizes`: how many units the input and each layer have.
    """

    layers: dict[str, Layer]
    heard: dict[str, Sum]
    order: tuple[str, ...] = eqx.field(static=True)
    sizes: dict[str, int] = eqx.field(static=True)

    def init_state(self, lanes: int | tuple[int, ...] = ()) -> dict[str, Any]:
        """All layers at rest, by name, for these lanes."""
        front = lanes if isinstance(lanes, tuple) else (lanes,)
        return {name: self.layers[name].init_state((*front, self.sizes[name])) for name in self.order}

    def __call__(
        self, x: Float[Array, "*lanes inputs"], state: dict[str, Any]
    ) -> tuple[Float[Array, "*lanes outputs"], dict[str, Any]]:
        """One step."""
        held = jax.tree.leaves(state[self.order[0]])[0].shape if self.order else x.shape
        if x.shape[-1:] != (self.sizes[INPUT],) or x.shape[:-1] != held[: x.ndim - 1] or len(held) < x.ndim:
            raise ValueError(
                f"The input has the shape {list(x.shape)}; it must be [*lanes, {self.sizes[INPUT]}], with the lanes of "
                f"the state: make that by `init_state({x.shape[:-1]})`."
            )
        now, new = {INPUT: x}, {}
        for name in self.order:
            now[name], new[name] = self.layers[name](self._sum(name, now, state), state[name])
        return self._sum(OUTPUT, now, state), new

    def _sum(self, name: str, now: dict[str, Any], state: dict[str, Any]) -> Float[Array, "*lanes to"]:
        heard = self.heard[name]
        terms = [self._carried(wire, now, state) for wire in heard.wires]
        return functools.reduce(operator.add, terms if heard.bias is None else [*terms, heard.bias])

    def _carried(self, wire: Wire, now: dict[str, Any], state: dict[str, Any]) -> Float[Array, "*lanes to"]:
        y = before(self.layers[wire.source], state[wire.source]) if wire.is_late else now[wire.source]
        return y if wire.weight is None else y @ wire.weight.T


def before(layer: Layer, state: Any) -> Float[Array, "*lanes units"]:
    """What a layer gave in the step that made this state."""
    if isinstance(layer, Delay):
        raise ValueError(
            "What a delay gave a step before cannot be read from its line: let the loop close before the delay."
        )
    if isinstance(layer, AbstractNeuron):
        return layer.spike(state)
    return state.g if isinstance(layer, Expon) else state.V


def targets_of(network: Network, name: str, *, late: bool) -> list[str]:
    """What hears this layer, with late wires or without."""

    def hears(heard: Sum) -> bool:
        return any(wire.source == name and (late or not wire.is_late) for wire in heard.wires)

    return [target for target, heard in network.heard.items() if hears(heard)]

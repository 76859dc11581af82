"""`to_nir`: a step as a graph of NIR."""

import math
from collections.abc import Callable
from typing import Any

from jaxtyping import PyTree

from ..nn import AbstractNeuron, Delay
from ._network import INPUT, Network, OUTPUT
from ._nodes import check_numbers, node_of, number
from ._reading import read_network
from ._recipes import NoRecipeError, numbers_of
from ._targets import NO_READER, recipe_for, TARGETS
from ._writing import with_currents, with_delays, write_graph


def to_nir(
    step: Callable[..., Any],
    model: PyTree,
    state: PyTree,
    x: Any,
    *,
    for_target: str | None = None,
    unit: float | int = 1e-3,
    soft_reset: bool = False,
) -> Any:
    """A step as a graph of NIR: its layers, and the matrices between them.

        graph = to_nir(lambda model, state, x: model(x, state), model, model.init_state(), jnp.zeros(8))
        nir.write("network.nir", graph)

    The step is read; nothing of it need be declared. It may compute what it likes between layers of `nn`, as long as
    that is a sum of linear maps: masks, transposes, products of weights are multiplied out. Spikes of the step before,
    by `neuron.spike(state)` or kept in the state, close a loop.

    Without a target the graph has the equations of the layers, in seconds. NIR knows neither the length of a step nor
    how a neuron resets; that stands in the `metadata` of the nodes, and `from_nir` gives back the same layers. With a
    target it has what makes the reader of that package give the same spikes, whatever the equations say then. How to
    call that reader stands in `graph.metadata["read"]`, what to do with the module that it gives in `"then"`, and by
    how many steps its spikes are late in `"late"`. norse, snnTorch and spyx count a potential at the threshold as below
    it; here it spikes.

    **Arguments**

    - `step`: `step(model, state, x) -> (out, new_state)`, for one lane: `x` is `[inputs]`, `out` `[outputs]`.
    - `model`, `state`, `x`: its arguments, as for `compile_graph`. The state must be that of rest; of `x` only the
      shape counts.
    - `for_target`: `"norse"`, `"snntorch"`, `"sinabs"`, `"rockpool"`, `"spyx"` or `"lava"`.
    - `unit`: of the times of the model, in seconds.
    - `soft_reset`: write a neuron that subtracts its threshold though NIR's equation sets it to `v_reset`. A reader
      that does not look at the metadata gives other spikes then.

    **Returns** a `nir.NIRGraph`.

    **Raises** `ImportError` without the extra `eqx_etrace[nir]`; `ValueError` for what NIR has no words for, or where
    no recipe gives the same spikes. It names the layer and says why.

    Source: Pedersen et al., "Neuromorphic intermediate representation: a unified instruction set for interoperable
    brain-inspired computing", Nature Communications 2024.
    """
    if for_target in NO_READER:
        raise NoRecipeError(f"{for_target}: {NO_READER[for_target]}.")
    if for_target is not None and for_target not in TARGETS:
        raise ValueError(f"`for_target` is {for_target!r}; it must be one of {[*TARGETS, *NO_READER]}, or None.")
    if isinstance(unit, bool) or not isinstance(unit, float | int) or not 0 < unit < math.inf:
        raise ValueError(f"`unit` is {unit!r}; it must be a number: what the unit of the model's times is in seconds.")
    network = with_currents(with_delays(read_network(step, model, state, x)))
    check_numbers(network)
    _check_heard(network)
    _check_one_step(network)
    if for_target is not None:
        return _for_target(network, for_target)
    nodes = {name: _node(network, name, unit, soft_reset) for name in network.order}
    return write_graph(network, nodes, {}, {"writer": "eqx_etrace"})


def _node(network: Network, name: str, unit: float, soft_reset: bool) -> Any:
    layer = network.layers[name]
    if isinstance(layer, AbstractNeuron) and layer.reset == "soft" and not soft_reset:
        raise ValueError(
            f"`{name}` subtracts its threshold when it spikes, and NIR's equation sets it to `v_reset`: readers give "
            "other spikes, unless they are told. Name the reader (`for_target=`), or write it with a note in the "
            "metadata, which `from_nir` reads, by `soft_reset=True`."
        )
    dt = next(float(number(other, "dt")) for other in network.layers.values() if not isinstance(other, Delay))
    return node_of(layer, network.sizes[name], unit, dt)


def _check_heard(network: Network) -> None:
    """Does every layer reach the output?"""
    heard, left = {OUTPUT}, [OUTPUT]
    while left:
        found = {wire.source for wire in network.heard[left.pop()].wires} - heard - {INPUT}
        heard |= found
        left += found
    alone = [name for name in network.order if name not in heard]
    if alone:
        raise ValueError(
            f"Nothing that the step returns hears `{alone[0]}`. A graph has one output, and a layer that does not "
            "reach it would be lost: return what it gives, too (`jnp.concatenate`), or leave the layer out."
        )


def _check_one_step(network: Network) -> None:
    """Have all layers one step, of the same length?"""
    steps = {name: number(layer, "dt") for name, layer in network.layers.items() if not isinstance(layer, Delay)}
    first = next(iter(steps.values()), None)
    if first is None or any(dt.ndim or dt != first for dt in steps.values()):
        shown = ", ".join(f"`{name}` {dt}" for name, dt in steps.items())
        raise ValueError(f"All layers must have one and the same `dt`; found {shown or 'delays alone'}.")


def _for_target(network: Network, target: str) -> Any:
    known = TARGETS[target]
    chain = _chain(network, target)
    nodes, scale = {}, {}
    for name in chain:
        layer, size = network.layers[name], network.sizes[name]
        if isinstance(layer, Delay):
            raise NoRecipeError(f"`{name}` delays, and {target} {known.version} reads no delay.")
        hears_itself = any(wire.is_late for wire in network.heard[name].wires)
        nodes[name], scale[name] = recipe_for(target, name, layer, numbers_of(name, layer, size), hears_itself)
    if known.is_late:
        _check_no_later_bias(network, chain, target)
    neurons = [layer for layer in network.layers.values() if isinstance(layer, AbstractNeuron)]
    resets = {neuron.reset for neuron in neurons}
    if known.told_how_to_reset and len(resets) > 1:
        raise NoRecipeError(f"{target} is told once how to reset; here some neurons subtract, and others do not.")
    read = known.read + (known.told_how_to_reset if "soft" in resets else "")
    metadata = {"writer": "eqx_etrace", "read": f"{read})", "late": len(neurons) if known.is_late else 0}
    metadata |= {"target": target, "then": known.then}
    return write_graph(network, nodes, scale, metadata)


def _chain(network: Network, target: str) -> list[str]:
    """The layers, if each hears the one before and perhaps itself: how a reader orders others is not known."""
    chain, here = [], INPUT
    while len(chain) < len(network.order):
        following = [name for name in network.order if _hears(network, name) == [here]]
        if len(following) != 1:
            break
        chain.append(here := following[0])
    if len(chain) < len(network.order) or _hears(network, OUTPUT) != [here]:
        raise NoRecipeError(
            f"For {target} the layers must be a chain: each hears the one before, and perhaps itself a step before. "
            f"Found {_shown(network)}. In what order a reader takes other networks is not known."
        )
    return chain


def _hears(network: Network, name: str) -> list[str]:
    """What a layer hears, itself a step before left out."""
    return [w.source + " before" * w.is_late for w in network.heard[name].wires if not (w.is_late and w.source == name)]


def _shown(network: Network) -> str:
    def line(name: str) -> str:
        return f"`{name}` hears {' and '.join(_hears(network, name))}"

    return "; ".join(map(line, (*network.order, OUTPUT)))


def _check_no_later_bias(network: Network, chain: list[str], target: str) -> None:
    for name in chain[1:]:
        bias = network.heard[name].bias
        if bias is not None and bool((bias != 0).any()):
            raise NoRecipeError(
                f"`{name}` has a bias, and is not the first layer: in {target} spikes come a step later than here, "
                "layer by layer, and a bias does not wait. Without that bias it can be written."
            )

"""From a `Network` to a graph of NIR, and its equations as they are."""

from collections.abc import Collection
from typing import Any

import jax.numpy as jnp
import numpy as np

from ..nn import CuBaLIF, Delay, Expon, LIF
from ._network import before, INPUT, Layer, Network, OUTPUT, Sum, targets_of, Wire
from ._package import nir

_SHARED = ("V_th", "V_reset", "V_rest", "R", "dt", "surrogate", "reset", "leaky_reset", "reset_gradient")


def write_graph(network: Network, nodes: dict[str, Any], scale: dict[str, Any], metadata: dict[str, Any]) -> Any:
    """The graph of a network, its layers as these nodes; what a layer hears is multiplied by `scale`, by unit."""
    every = {INPUT: nir.Input({"input": np.array([network.sizes[INPUT]])}), **nodes}
    edges: list[tuple[str, str]] = []
    for target, heard in network.heard.items():
        for wire, bias in zip(heard.wires, _biases(heard), strict=True):
            factor = scale.get(target)
            if wire.weight is None and bias is None and factor is None and not wire.is_late:
                edges.append((wire.source, target))
                continue
            name = free(f"{wire.source}_to_{target}", [*every, OUTPUT])
            every[name] = _affine(network, wire, bias, factor)
            edges += [(wire.source, name), (name, target)]
    size = every[edges[-1][0]].output_type["output"]
    every[OUTPUT] = nir.Output({"output": np.array(size)})
    return nir.NIRGraph(every, edges, metadata=metadata)


def free(name: str, taken: Collection[str]) -> str:
    """A name that is not taken yet."""
    while name in taken:
        name += "_"
    return name


def _biases(heard: Sum) -> list[Any]:
    """By wire: the first that is not late carries the bias."""
    first = next((i for i, wire in enumerate(heard.wires) if not wire.is_late), 0)
    return [heard.bias if i == first else None for i in range(len(heard.wires))]


def _affine(network: Network, wire: Wire, bias: Any, factor: Any) -> Any:
    """Always with a bias: there are readers that drop a node without one."""
    plain = np.eye(network.sizes[wire.source]) if wire.weight is None else _known_to_files(wire.weight)
    shift = np.zeros(len(plain), plain.dtype) if bias is None else _known_to_files(bias)
    if factor is not None:
        plain, shift = plain * np.reshape(factor, (-1, 1)), shift * factor
    return nir.Affine(plain, np.broadcast_to(shift, len(plain)).copy(), metadata={"late": 1} if wire.is_late else {})


def _known_to_files(array: Any) -> np.ndarray:
    """Of a dtype that NumPy has: bfloat16 it has not, and a file would hold bytes."""
    return np.asarray(array if array.dtype in (np.float16, np.float32, np.float64) else array.astype(np.float32))


def with_currents(network: Network) -> Network:
    """The same network, a synapse and the neuron that alone hears it being one layer: NIR's `CubaLIF`."""
    for name in network.order:
        target = _only_listener(network, name)
        if target is not None:
            network = _joined(network, name, target)
    return network


def _only_listener(network: Network, name: str) -> str | None:
    """The LIF that hears this synapse and nothing else, if nothing else hears it."""
    listeners = targets_of(network, name, late=True)
    if not isinstance(network.layers[name], Expon) or len(listeners) != 1 or listeners[0] == OUTPUT:
        return None
    (target,) = listeners
    heard, synapse, neuron = network.heard[target], network.layers[name], network.layers[target]
    is_alone = len(heard.wires) == 1 and heard.bias is None and heard.wires[0] == Wire(None, name)
    if not (is_alone and isinstance(neuron, LIF) and isinstance(synapse, Expon)):
        return None
    return target if _same(neuron.dt, synapse.dt) else None


def _same(one: Any, other: Any) -> bool:
    return bool(jnp.all(jnp.asarray(one) == jnp.asarray(other)))


def _joined(network: Network, synapse: str, neuron: str) -> Network:
    joined = _with_current(network.layers[neuron], network.layers[synapse])
    layers = {name: joined if name == neuron else layer for name, layer in network.layers.items() if name != synapse}
    heard = {name: network.heard[synapse if name == neuron else name] for name in (*layers, OUTPUT)}
    sizes = {name: size for name, size in network.sizes.items() if name != synapse}
    return Network(layers, heard, tuple(n for n in network.order if n != synapse), sizes)


def _with_current(lif: Layer, expon: Layer) -> CuBaLIF:
    """A neuron and its synapse as one layer."""
    assert isinstance(lif, LIF) and isinstance(expon, Expon)
    shared = {name: getattr(lif, name) for name in (*_SHARED, "recurrent_gradient")}
    return CuBaLIF(tau=lif.tau, tau_syn=expon.tau, **shared)


def with_delays(network: Network) -> Network:
    """The same network, a wire that is late and closes no loop being a delay of one step."""
    for target, heard in list(network.heard.items()):
        for wire in heard.wires:
            if wire.is_late and not _reaches(network, target, wire.source):
                network = _delayed(network, target, wire)
    return network


def _reaches(network: Network, start: str, end: str) -> bool:
    """Does a layer hear another, by way of others, within a step?"""
    reached, left = {start}, [start]
    while left:
        found = [t for t in targets_of(network, left.pop(), late=False) if t not in reached]
        reached.update(found)
        left += found
    return end in reached


def _delayed(network: Network, target: str, wire: Wire) -> Network:
    if wire.source != INPUT:
        rest = before(
            network.layers[wire.source], network.layers[wire.source].init_state((network.sizes[wire.source],))
        )
        if bool((rest != 0).any()):
            raise ValueError(
                f"`{target}` hears what `{wire.source}` gave a step before, which is not 0 at first; a delay of NIR "
                "begins at 0. Let the layer rest at 0, below its threshold."
            )
    # Others may hear the same delay; a layer of the user's may have its name.
    made = [
        n for n in network.heard if network.heard[n] == Sum((Wire(None, wire.source),)) and _is_one_step(network, n)
    ]
    name = made[0] if made else free(f"{wire.source}_delayed", [*network.layers, INPUT, OUTPUT])
    wires = tuple(Wire(w.weight, name) if w is wire else w for w in network.heard[target].wires)
    heard = {**network.heard, target: Sum(wires, network.heard[target].bias), name: Sum((Wire(None, wire.source),))}
    layers = {**network.layers, name: Delay(1)}
    sizes = {**network.sizes, name: network.sizes[wire.source]}
    heard = {n: heard[n] for n in (*layers, OUTPUT)}
    return Network(layers, heard, ordered(heard, tuple(layers)), sizes)


def _is_one_step(network: Network, name: str) -> bool:
    layer = network.layers.get(name)
    return isinstance(layer, Delay) and layer.steps == (1,) and layer.size is None


def ordered(heard: dict[str, Sum], names: tuple[str, ...]) -> tuple[str, ...]:
    """The layers so that each comes after those that it hears in the same step."""
    done: list[str] = []
    while len(done) < len(names):
        ready = [n for n in names if n not in done and _needs(heard[n]) <= {INPUT, *done}]
        if not ready:
            raise ValueError(f"Between {[n for n in names if n not in done]} there is a loop without a delay.")
        done += ready
    return tuple(done)


def _needs(heard: Sum) -> set[str]:
    return {wire.source for wire in heard.wires if not wire.is_late}

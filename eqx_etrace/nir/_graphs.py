"""From a graph of NIR to a `Network`.

Nodes with a state are layers. What is linear between them, node after node, is multiplied out: a layer hears a sum of
matrices times what other layers give. A loop takes a step: the edge that closes it is late.
"""

import functools
from typing import Any

import jax.numpy as jnp
import numpy as np

from ._affine import Affine, Source
from ._layers import How, layer_of
from ._network import INPUT, Network, OUTPUT, Sum, Wire
from ._package import nir
from ._writing import free, ordered

_STATELESS = (nir.Input, nir.Output, nir.Affine, nir.Linear, nir.Scale, nir.Flatten)


class Graph:
    """A graph, its parts told apart."""

    def __init__(self, graph: Any):
        flat = _flattened(graph)
        self.nodes: dict[str, Any] = flat.nodes
        self.edges: list[tuple[str, str]] = list(map(tuple, flat.edges))
        twice = [edge for edge in self.edges if self.edges.count(edge) > 1]
        if twice:
            raise ValueError(f"The graph has the edge {twice[0]} twice. Is it to count twice? Then scale it.")
        unknown = [name for edge in self.edges for name in edge if name not in self.nodes]
        if unknown:
            raise ValueError(f"An edge of the graph names the node `{unknown[0]}`, which it does not have.")
        self.input = _only(self.nodes, nir.Input)
        self.output = _only(self.nodes, nir.Output)
        self.late = self._late()
        self.eyes: list[Any] = []

    def network(self, how: How) -> Network:
        """As layers, and what each of them hears."""
        reached = self._reached()
        names: dict[str, str] = {}
        for name in (name for name in self.nodes if name in reached):
            names[name] = free(name, [*names.values(), INPUT, OUTPUT])
        stateful = [name for name in names if not isinstance(self.nodes[name], _STATELESS)]
        layers = {names[name]: layer_of(name, self.nodes[name], how) for name in stateful}
        heard = {names[name]: self._sum(name, names) for name in stateful}
        heard[OUTPUT] = self._sum(self.output, names)
        sizes = {INPUT: _size(self.nodes[self.input].output_type["output"], self.input)}
        sizes |= {names[n]: _size(self.nodes[n].output_type["output"], n) for n in stateful}
        return Network(layers, heard, ordered(heard, tuple(layers)), sizes)

    # Loops

    def _late(self) -> set[tuple[str, str]]:
        """The edges that carry what was there a step before: as written, else those that close a loop."""
        written = {e for e in self.edges if (getattr(self.nodes[e[1]], "metadata", None) or {}).get("late")}
        found, done, path = set(written), set(), []

        def walk(name: str) -> None:
            path.append(name)
            for edge in self.edges:
                if edge[0] != name or edge in found:
                    continue
                if edge[1] in path:
                    found.add(edge)
                elif edge[1] not in done:
                    walk(edge[1])
            done.add(path.pop())

        walk(self.input)
        return found

    def _reached(self) -> set[str]:
        """What the input or a bias reaches, and what the output hears of: the rest is not read."""
        back, left = {self.output}, [self.output]
        while left:
            here = left.pop()
            found = [a for a, b in self.edges if b == here and a not in back]
            back.update(found)
            left += found
        return back

    # Between the layers

    def _sum(self, name: str, names: dict[str, str]) -> Sum:
        value = self._into(name, frozenset())
        wires = []
        for source, part in value.parts.items():
            weight = None if any(part is eye for eye in self.eyes) else part.T
            wires.append(Wire(weight, INPUT if source.name == self.input else names[source.name], source.is_late))
        bias = value.constant if bool((value.constant != 0).any()) else None
        return Sum(tuple(wires), bias)

    def _into(self, name: str, around: frozenset[str]) -> Affine:
        """What enters a node: the sum over its edges."""
        entering = [(a, b) for a, b in self.edges if b == name]
        if not entering:
            raise ValueError(f"Nothing enters the node `{name}`. Every node but the input must hear something.")
        return functools.reduce(_plus, [self._along(edge, around) for edge in entering])

    def _along(self, edge: tuple[str, str], around: frozenset[str]) -> Affine:
        value = self._out_of(edge[0], around)
        if edge not in self.late:
            return value
        again = next((source for source in value.parts if source.is_late), None)
        if again is not None:
            raise ValueError(f"What `{again.name}` gives closes two loops, {edge} the second, and no layer is between.")
        return value.renamed({source: Source(source.name, is_late=True) for source in value.parts})

    def _out_of(self, name: str, around: frozenset[str]) -> Affine:
        """What leaves a node, in terms of the layers and the input."""
        node = self.nodes[name]
        if name == self.input or not isinstance(node, _STATELESS):
            size = _size(node.output_type["output"], name)
            self.eyes.append(jnp.eye(size))
            return Affine(jnp.zeros(size), {Source(name): self.eyes[-1]})
        if name in around:
            raise ValueError(f"The node `{name}` is in a loop that no layer is in.")
        return _applied(name, node, self._into(name, around | {name}))


def _plus(one: Affine, other: Affine) -> Affine:
    """Where edges meet."""
    if one.constant.shape != other.constant.shape:
        raise ValueError(f"{one.constant.size} and {other.constant.size} values are added where edges meet in a node.")
    parts = dict(one.parts)
    for source, part in other.parts.items():
        parts[source] = _by(jnp.add, parts[source], part) if source in parts else part
    return Affine(_by(jnp.add, one.constant, other.constant), parts)


def _applied(name: str, node: Any, value: Affine) -> Affine:
    """What a node without a state makes of what enters it."""
    if isinstance(node, nir.Input | nir.Output | nir.Flatten):
        return value
    if isinstance(node, nir.Scale):
        scale = _as_floats(node.scale)
        return Affine(
            _by(jnp.multiply, scale, value.constant), {s: _by(jnp.multiply, p, scale) for s, p in value.parts.items()}
        )
    weight = _as_floats(node.weight)
    if weight.ndim != 2 or weight.shape[1] != value.constant.size:
        raise ValueError(
            f"The node `{name}` has a weight {list(weight.shape)}, and {value.constant.size} values enter it."
        )
    moved = Affine(_times(weight, value.constant), {s: _product(weight, part) for s, part in value.parts.items()})
    return _plus(moved, Affine(_as_floats(node.bias))) if isinstance(node, nir.Affine) else moved


def _as_floats(array: Any) -> Any:
    """Of an array of a file, which may be of integers."""
    array = jnp.asarray(array)
    return array if array.dtype in (jnp.float32, jnp.float64) else array.astype(float)


def _by(operation: Any, one: Any, other: Any) -> Any:
    """In the wider of two precisions."""
    dtype = jnp.promote_types(one.dtype, other.dtype)
    return operation(one.astype(dtype), other.astype(dtype))


def _times(weight: Any, constant: Any) -> Any:
    return _by(_matmul, weight, constant)


def _product(weight: Any, part: Any) -> Any:
    """`part` says what comes of each unit of its source, and so is the matrix transposed."""
    return _by(_matmul, part, weight.T)


_matmul = functools.partial(jnp.matmul, precision="highest")


def _only(nodes: dict[str, Any], kind: type) -> str:
    found = [name for name, node in nodes.items() if isinstance(node, kind)]
    if len(found) != 1:
        raise ValueError(f"The graph has {len(found)} nodes of the kind {kind.__name__}; it must have one.")
    return found[0]


def _size(shape: Any, name: str) -> int:
    shape = np.atleast_1d(np.asarray(shape))
    if shape.size != 1:
        raise ValueError(f"The node `{name}` has the shape {shape.tolist()}. Layers are flat here: one axis of units.")
    return int(shape[0])


def _flattened(graph: Any) -> Any:
    """Graphs inside the graph written out: a node `cell` of it is called `name.cell` then."""
    if not isinstance(graph, nir.NIRGraph):
        raise TypeError(
            f"The graph is a `{type(graph).__name__}`; it must be a `nir.NIRGraph`. `nir.read(path)` gives one."
        )
    nodes, edges = dict(graph.nodes), list(graph.edges)
    for name, node in graph.nodes.items():
        if isinstance(node, nir.NIRGraph):
            nodes, edges = _inserted(nodes, edges, name, _flattened(node))
    return nir.NIRGraph(nodes, edges, metadata=graph.metadata, type_check=False)


def _inserted(nodes: dict[str, Any], edges: list[Any], name: str, inner: Any) -> tuple[dict[str, Any], list[Any]]:
    front, back = _only(inner.nodes, nir.Input), _only(inner.nodes, nir.Output)
    called = {key: free(f"{name}.{key}", nodes) for key in inner.nodes}
    within = {called[key]: node for key, node in inner.nodes.items()}
    through = {called[key]: nir.Scale(np.ones(inner.nodes[key].output_type["output"])) for key in (front, back)}
    moved = [(called[back] if a == name else a, called[front] if b == name else b) for a, b in edges]
    kept = {key: node for key, node in nodes.items() if key != name}
    return {**kept, **within, **through}, [*moved, *((called[a], called[b]) for a, b in inner.edges)]

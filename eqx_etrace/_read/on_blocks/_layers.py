"""Layers: states that feed each other.

Hidden groups are the nodes of a graph, and so is every state without a group. An edge leads from one to another if a
new state of the second can depend on an old state of the first. What is strongly connected is a layer: a recurrent
population, several that are coupled, a readout that leaks. Between layers the graph has no cycle.
"""

from collections.abc import Iterable

import numpy as np
import scipy.sparse as sp

from ._structure import Structure


def find_layers(structure: Structure, groups: Iterable[Iterable[int]], count: int) -> list[frozenset[int]]:
    """For each of so many states, those of its layer, itself included; `groups` by their states."""
    node = np.arange(count)
    for group in groups:
        leaves = list(group)
        node[leaves] = min(leaves)
    feeds = structure.fed_by_leaf(count)
    to, source = np.nonzero(feeds)
    edges = sp.csr_array((np.ones(to.size), (node[source], node[to])), shape=(count, count))
    _, labels = sp.csgraph.connected_components(edges, directed=True, connection="strong")
    of = labels[node]
    return [frozenset(np.flatnonzero(of == of[leaf]).tolist()) for leaf in range(count)]

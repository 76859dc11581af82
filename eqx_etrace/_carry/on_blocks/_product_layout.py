"""The layout of an influence that is one product, s (x) theta: a vector of the state, and one of the weight.

Scalars of the state that no step of any length links, such as those of two lanes of a batch, make parts. Each part of
the state has a product of its own.
"""

import dataclasses
import functools
from collections.abc import Hashable, Sequence

import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Int

from ..._read import Analysis, Source, Structure
from .._dtype import widest
from .._head import Head, make_head


@dataclasses.dataclass(frozen=True, eq=False)
class ProductLayout:
    """Of the influence of one source."""

    source: Source
    head: Head
    structure: Structure
    scalars: Int[np.ndarray, " n"]
    """The part of every scalar of the state."""
    rows: Int[np.ndarray, "..."]
    """The part of every row, in the layout of the head."""
    entered: Bool[np.ndarray, " n"]
    """Which scalars the source can change in one step."""
    own: frozenset[int]
    """The arrays of the state that it reaches, by number."""
    dtype: np.dtype

    @property
    def number(self) -> int:
        """Its own among those of all sources: that of its first row."""
        return self.source.start

    @property
    def weight(self) -> int:
        """The effective weight, as a variable of the step."""
        return self.source.weight

    @property
    def output(self) -> int | None:
        """The variable that the head makes; None where the weight is used otherwise."""
        return self.source.output

    @property
    def layer(self) -> None:
        """It is kept on all of the state."""

    @property
    def followed(self) -> frozenset[int]:
        """What it tells of."""
        return self.own

    @functools.cached_property
    def parts(self) -> int:
        """How many there are."""
        return 1 + int(max(self.scalars.max(initial=-1), self.rows.max(initial=-1)))

    @property
    def alike(self) -> Hashable:
        """Equal for layouts whose products have the same arrays."""
        return self.head.shape, self.head.has_features, self.scalars.size, self.dtype

    @property
    def place(self) -> Sequence[np.ndarray]:
        """Which part each scalar and each row is of."""
        return self.scalars, self.rows


def make_product_layout(analysis: Analysis, source: Source) -> ProductLayout:
    """The layout of the product of one source."""
    program, use, structure = analysis.step.program, source.use, analysis.structure
    head = make_head(program, source.weight, None if use is None else use.equation)
    order = head.to_rows(np.arange(source.rows).reshape(head.output))
    scalars, rows = _parts(structure, source)
    met = [source.weight] if use is None else [source.weight, use.data, use.output]
    every = np.arange(source.start, source.start + source.rows)
    return ProductLayout(
        source=source,
        head=head,
        structure=structure,
        scalars=scalars,
        rows=rows[order],
        entered=np.isin(np.arange(structure.size), structure.reach(1).elements(every)),
        own=structure.reach(None).leaves(every, structure.leaf),
        dtype=widest(*(program.avals[v].dtype for v in (*met, *analysis.step.states))),
    )


def _parts(structure: Structure, source: Source) -> tuple[np.ndarray, np.ndarray]:
    """By scalar of the state, and by row of a source: what is linked, in either direction, is one part."""
    members, reads = structure.links
    mine = np.arange(structure.size + source.start, structure.size + source.start + source.rows)
    linked = sp.hstack([members.astype(np.int8) + reads[:, : structure.size].astype(np.int8), reads[:, mine]])
    sets, nodes = members.shape[0], structure.size + source.rows
    graph = sp.block_array([[None, linked], [sp.csr_array((nodes, sets), dtype=np.int8), None]])
    labels = sp.csgraph.connected_components(graph, directed=False)[1]
    numbers = np.unique(np.asarray(labels)[sets:], return_inverse=True)[1]
    return numbers[: structure.size], numbers[structure.size :]

"""Connections between numbered units, one for each pair."""

from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float32, Int, Int8, Int32, Int64, Shaped

from .._given import check_number, check_size, in_words

INHIBITORY = frozenset({"gaba", "glut", "glutamate", "histamine", "his"})
EXCITATORY = frozenset(
    {"ach", "acetylcholine", "da", "dopamine", "ser", "serotonin", "oct", "octopamine", "tyr", "tyramine"}
)
UNKNOWN = frozenset({"", "nan", "none", "unknown", "unclear"})


class Connectome(NamedTuple):
    """Units from 0 on, and the connections between them, sorted by target and then by source."""

    source: Int32[np.ndarray, " connections"]
    """Where each connection comes from."""
    target: Int32[np.ndarray, " connections"]
    """Where it goes to."""
    synapses: Int32[np.ndarray, " connections"]
    """How many synapses it has."""
    sign: Int8[np.ndarray, " units"]
    """What a unit does to its targets: 1 or -1."""
    ids: Int64[np.ndarray, " units"]
    """The number that each unit has where it comes from."""

    @property
    def units(self) -> int:
        """How many units there are."""
        return len(self.ids)

    def weights(self, gain: float = 1.0) -> Float32[np.ndarray, " connections"]:
        r"""A weight for each connection: its part of all synapses of its target, with the sign of its source.

        $$w_{ij} = g \, s_j \frac{n_{ij}}{\sum_k n_{ik}}$$

        **Arguments**

        - `gain`: g. A unit all of whose sources spike gets between -g and g.

        Source: the normalisation that whole-brain models of the fly use, where a target's size does not matter.
        """
        check_number("gain", gain, "the input of a unit all of whose sources spike")
        if not np.isfinite(gain):
            raise ValueError(f"`gain` is {gain}; it must be a number: the input of a unit all of whose sources spike.")
        received = np.bincount(self.target, self.synapses, self.units)
        return (gain * self.sign[self.source] * self.synapses / received[self.target]).astype(np.float32)


def from_pairs(
    source: Shaped[np.ndarray, " rows"],
    target: Shaped[np.ndarray, " rows"],
    count: Shaped[np.ndarray, " rows"] | None = None,
    *,
    transmitter: Shaped[np.ndarray, " rows"] | None = None,
    ids: Shaped[np.ndarray, " units"] | None = None,
    least: int = 1,
) -> Connectome:
    """Rows of a table as connections. Rows of the same pair, such as one for each neuropil, are added up.

    **Arguments**

    - `source`, `target`: the numbers of the two neurons of a row.
    - `count`: how many synapses it stands for; one if None.
    - `transmitter`: names, in any case. GABA, glutamate and histamine make a source inhibitory, as in the fly. What a
      neuron is, most of its synapses say; without names, where they are blank and where there are as many of both, it
      is excitatory.
    - `ids`: all neurons, for those that have no connection; else the units are those of the rows.
    - `least`: connections with fewer synapses are left out, after rows are added up. Their units stay.

    **Returns** a `Connectome`. Units are numbered in the order of `ids`, or of their numbers.

    **Raises** `ValueError` if no connection is left, for columns of different lengths, numbers that are not in `ids` or
    stand there twice, counts below zero, and names of no transmitter; `TypeError` for numbers that are no integers of
    NumPy: a float does not hold the 18 digits that neurons of FlyWire have, nor do the 32 bits of JAX.
    """
    source, target = _numbers("source", source), _numbers("target", target)
    weight = np.ones(len(source), np.int64) if count is None else _numbers("count", count)
    _check_lengths(source=source, target=target, count=weight, transmitter=transmitter)
    units = _units(source, target, ids)
    row, column = _places("target", target, units), _places("source", source, units)
    pair, total = _added_up(row * len(units) + column, weight, check_size("least", least))
    return Connectome(
        source=(pair % len(units)).astype(np.int32),
        target=(pair // len(units)).astype(np.int32),
        synapses=total.astype(np.int32),
        sign=_signs(column, weight, transmitter, len(units)),
        ids=units,
    )


def _added_up(pair: Int64[np.ndarray, " rows"], weight: Int64[np.ndarray, " rows"], least: int) -> tuple[Any, Any]:
    """Each pair once, in order, and the synapses of all of its rows; of pairs with as many as asked for."""
    if weight.size and weight.min() < 0:
        raise ValueError(f"`count` has {weight.min()}; a row stands for no synapse or more.")
    pairs, where = np.unique(pair, return_inverse=True)
    total = np.bincount(where, weight, len(pairs)).astype(np.int64)
    is_kept = total >= least
    if not is_kept.any():
        most = f"; the most synapses that a pair has are {total.max()}" if len(total) else ""
        raise ValueError(f"No connection is left of {len(pair)} rows with `least={least}`{most}.")
    if total.max() > np.iinfo(np.int32).max:
        raise ValueError(f"A connection has {total.max()} synapses, more than 31 bits hold. Is `count` what it says?")
    return pairs[is_kept], total[is_kept]


def _numbers(name: str, column: Any) -> Int64[np.ndarray, " rows"]:
    if isinstance(column, jax.Array):
        raise TypeError(
            f"`{name}` is an array of JAX, which cuts numbers to 32 bits where x64 is off; pass one of NumPy."
        )
    column = np.asarray(column)
    if not np.issubdtype(column.dtype, np.integer):
        raise TypeError(
            f"`{name}` is {in_words(column)}; it must be integers. A float holds 15 digits, and numbers of neurons "
            "have up to 18: read them as int64."
        )
    if column.size and column.max() > np.iinfo(np.int64).max:
        raise ValueError(f"`{name}` has {column.max()}, which has more than 63 bits.")
    return column.astype(np.int64)


def _check_lengths(**columns: Any) -> None:
    lengths = {name: len(column) for name, column in columns.items() if column is not None}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"`{name}` {length}" for name, length in lengths.items())
        raise ValueError(f"The columns have different lengths: {found}. Each has one entry per row of the table.")


def _units(source: Any, target: Any, ids: Any) -> Int64[np.ndarray, " units"]:
    if ids is None:
        return np.unique(np.concatenate([source, target]))
    ids = _numbers("ids", ids)
    number, times = np.unique(ids, return_counts=True)
    if (times > 1).any():
        raise ValueError(f"`ids` has {number[times > 1][0]} more than once; each neuron is one unit.")
    return ids


def _places(name: str, column: Any, units: Any) -> Int[np.ndarray, " rows"]:
    """Which unit each number is."""
    order = np.argsort(units, kind="stable")
    at = np.searchsorted(units, column, sorter=order)
    found = order[np.minimum(at, len(units) - 1)] if len(units) else np.zeros(len(column), int)
    missing = column[units[found] != column] if len(units) else column
    if len(missing):
        raise ValueError(f"`{name}` has the neuron {missing[0]}, which is not in `ids`. Leave such rows out.")
    return found


def _signs(source: Any, weight: Any, transmitter: Any, units: int) -> Int8[np.ndarray, " units"]:
    """By most of its synapses: -1 or 1."""
    if transmitter is None:
        return np.ones(units, np.int8)
    names, which = np.unique(np.char.lower(np.asarray(transmitter).astype(str)), return_inverse=True)
    strange = [name for name in names if name not in INHIBITORY | EXCITATORY | UNKNOWN]
    if strange:
        known = ", ".join(sorted(INHIBITORY | EXCITATORY))
        raise ValueError(f"`transmitter` has {strange[0]!r}; known names are {known}.")
    effect = np.select([np.isin(names, list(INHIBITORY)), np.isin(names, list(EXCITATORY))], [-1, 1], 0)[which]
    return np.where(np.bincount(source, weight * effect, units) < 0, -1, 1).astype(np.int8)

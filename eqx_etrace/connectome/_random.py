"""Connectomes at random."""

import numpy as np
from jaxtyping import Int64

from .._given import check_number, check_size
from ._connectome import Connectome

FLYWIRE = (139_255, 15_091_983)
"""Units and connections of FlyWire's version 783, a female brain. Connections of one synapse are among them."""
MALE_CNS = (166_700, 25_582_938)
"""Units and connections of MaleCNS 1.0, a male brain with its nerve cord."""

# So that a connection has 54.5 / 15.09 synapses in the mean, and 2.70 of 15.09 million have five or more.
_COUNT_MEAN, _COUNT_SPREAD = 0.0358, 1.469


def random(
    seed: int, units: int, connections: int, *, spread: float = 1.0, alike: float = 0.5, inhibitory: float = 0.4
) -> Connectome:
    r"""A network of this size, whose degrees and numbers of synapses are spread as in the fly's brain.

    How many connections a unit has, in and out, is lognormal; so is how many synapses a connection has, which is what
    FlyWire's totals say: 3.6 in the mean, and five or more in 18 of 100. Who is connected to whom is otherwise chance:
    there are no regions, types of cells or motifs.

    **Arguments**

    - `seed`: of the draw.
    - `units`, `connections`: how many; `*FLYWIRE` and `*MALE_CNS` are those of the two brains.
    - `spread`: $\sigma$ of the logarithm of a unit's degree. With 1 the mean is 1.65 times the median, and one unit of
      139,255 has about 45 times the mean.
    - `alike`: the correlation of the logarithms of what a unit has in and out.
    - `inhibitory`: which part of the units is inhibitory.

    **Returns** a `Connectome`, with no pair twice and no unit connected to itself.

    **Raises** `ValueError` where the connections are more than half of all pairs.

    Source: the totals of Dorkenwald et al., "Neuronal wiring diagram of an adult brain", Nature 2024. The spread is a
    choice: their degrees have a heavy tail.
    """
    units, connections = check_size("units", units), check_size("connections", connections)
    for name, value in (("spread", spread), ("alike", alike), ("inhibitory", inhibitory)):
        check_number(name, value, "see the docstring")
    if connections > units * (units - 1) // 2:
        raise ValueError(f"{units} units have {units * (units - 1)} pairs; {connections} connections are over a half.")
    rng = np.random.default_rng(seed)
    first, second = rng.standard_normal((2, units))
    gives, gets = np.exp(spread * first), np.exp(spread * (alike * first + np.sqrt(1 - alike**2) * second))
    pair = _pairs(rng, gives, gets, connections)
    synapses = np.ceil(rng.lognormal(_COUNT_MEAN, _COUNT_SPREAD, connections))
    return Connectome(
        source=(pair % units).astype(np.int32),
        target=(pair // units).astype(np.int32),
        synapses=synapses.astype(np.int32),
        sign=np.where(rng.random(units) < inhibitory, -1, 1).astype(np.int8),
        ids=np.arange(units, dtype=np.int64),
    )


def _pairs(rng: np.random.Generator, gives: np.ndarray, gets: np.ndarray, wanted: int) -> Int64[np.ndarray, " pairs"]:
    """`target * units + source` of distinct pairs, in order, each end by its share."""
    units, found = len(gives), np.empty(0, np.int64)
    while len(found) < wanted:
        many = int(1.1 * (wanted - len(found))) + 16
        target = np.repeat(np.arange(units), rng.multinomial(many, gets / gets.sum()))
        source = rng.permutation(np.repeat(np.arange(units), rng.multinomial(many, gives / gives.sum())))
        both = np.sort(np.concatenate([found, (target * units + source)[target != source]]))
        found = both[np.diff(both, prepend=-1) > 0]
    keep = np.ones(len(found), bool)
    keep[rng.choice(len(found), len(found) - wanted, replace=False)] = False
    return found[keep]

"""Spikes over time, one row for each unit."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jax import Array
from jaxtyping import Shaped

from .._given import check_number
from ._axes import axes_for, colours

_MOST_VECTORS = 20_000
"""Spikes beyond which a picture in vectors takes megabytes, and seconds to open."""


def raster(
    spikes: Shaped[Array, "time units"] | Shaped[np.ndarray, "time units"],
    *,
    dt: int | float = 1.0,
    groups: Sequence[Any] | np.ndarray | None = None,
    ax: Any = None,
) -> Any:
    """Which unit spikes when: one mark for each spike.

    **Arguments**

    - `spikes`: `[time, units]`, ones and zeros, or counts. Several spikes of one step are drawn side by side within it.
    - `dt`: the length of a step (ms).
    - `groups`: the group of each unit, such as `["exc"] * 80 + ["inh"] * 20`: each has a colour and a line in the
      legend.
    - `ax`: the axes of matplotlib to draw into; those of a new figure if None.

    **Returns** the axes. With more than 20,000 spikes the marks are pixels in a picture of vectors.

    **Raises** `ValueError` for spikes of another rank, parts of spikes, a wrong number of groups;
    `ImportError` without the extra `eqx_etrace[plot]`.
    """
    counts = _counts(spikes)
    check_number("dt", dt, "the length of a step in ms")
    if not dt > 0:
        raise ValueError(f"`dt` is {dt}; a step must be longer than zero.")
    members = _members(groups, counts.shape[1])
    (ax,) = axes_for(ax, 1, 1, (7.0, 3.2))
    steps, units = counts.shape
    box = ax.get_window_extent()
    points = 72 / ax.figure.dpi
    # A mark is as high as its row, but not less than a point; and nearly as wide as a step, where that can be seen.
    half = max(0.4, 0.6 * units / (points * max(box.height, 1.0)))
    width = min(max(0.7 * points * box.width / max(steps, 1), 0.7), 1.6)
    for colour, (name, of_group) in zip(colours(len(members)), members.items(), strict=True):
        t, unit = _spikes_of(counts, of_group)
        style = {"colors": [colour if groups is not None else "black"], "linewidth": width, "label": str(name)}
        ax.vlines(dt * t, unit - half, unit + half, rasterized=counts.sum() > _MOST_VECTORS, **style)
    ax.set(xlabel="time (ms)", ylabel="unit", xlim=(0, dt * max(steps, 1)))
    ax.set_ylim(-0.5 - half, max(units, 1) - 0.5 + half)
    if groups is not None:
        lines = ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False).get_lines()
        for line in lines:
            line.set_linewidth(3)
    return ax


def _counts(spikes: Any) -> np.ndarray:
    """Whole numbers of spikes."""
    array = np.asarray(spikes)
    if array.ndim != 2:
        raise ValueError(
            f"`spikes` has the shape {list(array.shape)}; it must be [time, units]. Take one lane of a batch, and lay "
            "channels side by side, as by `spikes.reshape(len(spikes), -1)`."
        )
    counts = array.astype(np.int64)
    wrong = array[(counts != array) | (counts < 0)]
    if wrong.size:
        raise ValueError(
            f"`spikes` has {wrong.size:,} values that are no number of spikes, such as {wrong[0]}. Draw potentials and "
            "rates by `ax.plot`."
        )
    return counts


def _members(groups: Any, units: int) -> dict[Any, np.ndarray]:
    """The units of each group, in the order in which groups are named first."""
    if groups is None:
        return {"": np.arange(units)}
    named = list(groups)
    if len(named) != units:
        raise ValueError(f"`groups` has {len(named)} entries, and there are {units} units; pass one for each.")
    members: dict[Any, list[int]] = {}
    for unit, name in enumerate(named):
        members.setdefault(name, []).append(unit)
    return {name: np.asarray(of_group) for name, of_group in members.items()}


def _spikes_of(counts: np.ndarray, units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Time in steps and unit of each spike; the n spikes of one step are spread over it."""
    step, column = np.nonzero(counts[:, units])
    several = counts[step, units[column]]
    first = np.repeat(np.cumsum(several) - several, several)
    within = (np.arange(several.sum()) - first) / np.repeat(several, several)
    return np.repeat(step, several) + within, np.repeat(units[column], several)

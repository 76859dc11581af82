"""The traces and the learning signals of a recording."""

from typing import Any

import numpy as np

from ._axes import axes_for, colours, named_leaves, shown
from ._record import Recording

_LINES = ("-", "--", ":", "-.")


def traces(recording: Recording, *, dt: int | float = 1.0, most: int = 1, axes: Any = None) -> tuple[Any, Any, Any]:
    """Traces, the learning signals that they meet, and the gradients that come of it, over time.

    **Arguments**

    - `recording`: what `record` returns, of a few weights.
    - `dt`: the length of a step (ms).
    - `most`: of how many states each weight is shown: those through which most credit reaches it, the
      largest products of trace and signal.
    - `axes`: three axes of matplotlib to draw into; those of a new figure if None.

    **Returns** the three axes. Each weight has a colour, the states of one weight have lines of different style. The
    signal of a state that several weights reach is grey.

    **Raises** `ValueError` for less than one state; `ImportError` without the extra `eqx_etrace[plot]`.
    """
    if not 1 <= most <= len(_LINES):
        raise ValueError(f"`most` is {most}; of each weight 1 to {len(_LINES)} states can be shown.")
    top, middle, bottom = axes = axes_for(axes, 3, 1, (7.0, 5.2), sharex=True)
    time = dt * np.arange(np.shape(recording.loss)[0])
    rows = {path: np.asarray(row) for path, row in named_leaves(recording.trace).items()}
    signals = {path: np.asarray(signal) for path, signal in named_leaves(recording.signal).items()}
    met: dict[Any, list[Any]] = {}
    for number, (entry, colour) in enumerate(zip(recording.entries, colours(len(recording.entries)), strict=True)):
        for line, (path, index) in zip(_LINES, _largest(rows, signals, number, most), strict=False):
            name = f"{shown(path, 'state')}{list(index) if index else ''}"
            style = {"color": colour, "linestyle": line, "linewidth": 1.2}
            top.plot(time, rows[path][(slice(None), number, *index)], label=f"{list(entry)} at {name}", **style)
            met.setdefault((name, path, index), []).append(style)
        bottom.plot(time, np.asarray(recording.gradient)[:, number], color=colour, linewidth=1.2)
    for (name, path, index), styles in met.items():  # several weights may reach one state, which has one signal
        style = styles[0] if len(styles) == 1 else {**styles[0], "color": "0.4"}
        middle.plot(time, signals[path][(slice(None), *index)], label=name, **style)
    top.set(ylabel="trace")
    middle.set(ylabel="learning signal")
    bottom.set(ylabel="gradient of the step", xlabel="time (ms)")
    for ax in axes:
        ax.axhline(0, color="0.8", linewidth=0.8, zorder=0)
    beside = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0), "frameon": False}
    top.legend(title=shown(recording.parameter, "weight"), **beside)
    middle.legend(title="state", **beside)
    return top, middle, bottom


def _largest(
    rows: dict[Any, np.ndarray], signals: dict[Any, np.ndarray], number: int, most: int
) -> list[tuple[Any, tuple[int, ...]]]:
    """The states through which most credit reaches one weight, by path and index; one even where there is none."""
    found = []
    for path, row in rows.items():
        trace = np.abs(row[:, number])
        credit, peak = (np.max(a, 0, initial=0.0) for a in (trace * np.abs(signals[path]), trace))
        best = np.lexsort((-peak.ravel(), -credit.ravel()))[:most]
        found += [(credit.flat[i], peak.flat[i], path, np.unravel_index(i, credit.shape)) for i in best]
    found.sort(key=lambda one: (-one[0], -one[1]))
    return [
        (path, tuple(map(int, index))) for n, (_, peak, path, index) in enumerate(found[:most]) if peak > 0 or not n
    ]

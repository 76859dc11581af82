"""How good an online gradient was, over training."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from .._measure import Fidelity
from ._axes import axes_for, colours, named_leaves, shown


def fidelity(measurements: Fidelity | Sequence[Fidelity], *, axes: Any = None) -> tuple[Any, Any]:
    """The cosine and the norm ratio of each parameter, over the calls of the learner; 1 is exact.

    **Arguments**

    - `measurements`: what a `FidelityProbe` returned, call by call: a list, or one `Fidelity` whose arrays have a
      leading axis, as a scan gives it. A measurement that was returned several times is drawn once, and what was
      before the first is left out.
    - `axes`: two axes of matplotlib to draw into; those of a new figure if None.

    **Returns** the axes of the cosine and of the norm ratio. Where a measurement is NaN the line has a gap.

    **Raises** `ValueError` where nothing was measured; `ImportError` without the extra `eqx_etrace[plot]`.
    """
    several = [measurements] if isinstance(measurements, Fidelity) else list(measurements)
    if not all(isinstance(one, Fidelity) for one in several):
        kinds = ", ".join({type(one).__name__ for one in several})
        raise TypeError(
            f"`measurements` holds {kinds}; it must be made of `Fidelity`, the first of the two that a probe returns."
        )
    steps = _joined([one.step for one in several])
    calls, first = np.unique(steps, return_index=True)
    first, calls = first[calls >= 0], calls[calls >= 0]
    if not calls.size:
        raise ValueError("Nothing was measured yet: the probe was called less often than its `every`.")
    cosine, ratio = axes_for(axes, 2, 1, (7.0, 4.4), sharex=True)
    for ax, name in ((cosine, "cosine"), (ratio, "norm_ratio")):
        curves = list(named_leaves(getattr(several[0], name)))
        of_each = [named_leaves(getattr(one, name)) for one in several]
        for path, colour in zip(curves, colours(len(curves)), strict=True):
            values = _joined([found[path] for found in of_each])[first]
            # Marks show a measurement between two that are NaN.
            ax.plot(calls, values, color=colour, marker=".", markersize=4, linewidth=1.2, label=shown(path, "model"))
        ax.axhline(1, color="0.6", linewidth=1, linestyle="--", zorder=0)
    cosine.set(ylabel="cosine", ylim=(min(-0.05, cosine.get_ylim()[0]), 1.05))
    ratio.set(ylabel="norm ratio", xlabel="call", ylim=(min(0, ratio.get_ylim()[0]), max(1.1, ratio.get_ylim()[1])))
    cosine.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    return cosine, ratio


def _joined(parts: list[jax.Array]) -> np.ndarray:
    """One after the other, with or without a leading axis."""
    return np.concatenate([np.asarray(part).reshape(-1) for part in parts] or [np.zeros(0, int)])

"""Axes to draw into, and names to write beside what is drawn."""

import importlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np


def matplotlib(module: str) -> Any:
    """One of its modules, once it is needed."""
    try:
        return importlib.import_module(f"matplotlib.{module}")
    except ImportError as error:
        raise ImportError(
            "A picture needs matplotlib, which is not installed. Install the extra: `pip install 'eqx_etrace[plot]'`."
        ) from error


def axes_for(given: Any, rows: int, columns: int, size: tuple[float, float], **shared: Any) -> tuple[Any, ...]:
    """Those that were given, as many as are needed, or those of a new figure."""
    wanted = rows * columns
    if given is None:
        options = {"figsize": size, "layout": "constrained", "squeeze": False, **shared}
        return tuple(matplotlib("pyplot").subplots(rows, columns, **options)[1].flat)
    found = tuple(np.asarray(given, object).reshape(-1))
    if len(found) != wanted or not all(hasattr(ax, "transAxes") for ax in found):
        kinds = ", ".join(type(ax).__name__ for ax in found) or "nothing"
        raise ValueError(
            f"This picture is drawn into {wanted} axes; found {kinds}. Pass axes of matplotlib, such as those of "
            f"`plt.subplots({rows}, {columns})`, or none for a new figure."
        )
    return found


def colours(count: int) -> list[Any]:
    """So many, that can be told apart up to twenty."""
    some = matplotlib("pyplot").get_cmap("tab10" if count <= 10 else "tab20").colors
    return [some[i % len(some)] for i in range(count)]


def named_leaves(tree: Any) -> dict[tuple[Any, ...], Any]:
    """Leaves by path, as the reports name it."""
    return {tuple(map(_name_of, keys)): leaf for keys, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _name_of(key: Any) -> Any:
    """Of one step of a path: an attribute, a key or a place."""
    return next(getattr(key, a) for a in ("name", "key", "idx") if hasattr(key, a))


def shown(path: Sequence[Any], otherwise: str) -> str:
    """A path as one word."""
    return ".".join(map(str, path)) or otherwise

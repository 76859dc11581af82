"""How the arrays of a pytree are taken out and put back.

Only inexact arrays carry derivatives; every other array is carried along, every other leaf is static.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jaxtyping import PyTree

Path = tuple[Any, ...]


def _is_array(leaf: Any) -> bool:
    return eqx.is_array(leaf) or isinstance(leaf, jax.ShapeDtypeStruct)


def _is_inexact(leaf: Any) -> bool:
    return bool(jnp.issubdtype(leaf.dtype, jnp.inexact))


def _as_path(keys: Sequence[Any]) -> Path:
    """('layers', 2, 'V'): attribute and dict keys as they are, sequence positions as int."""
    names = ("name", "key", "idx")
    return tuple(next(getattr(k, n) for n in names if hasattr(k, n)) for k in keys)


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a pytree's arrays were taken out."""

    treedef: Any
    static: tuple[Any, ...]
    """Every leaf, with None in place of the arrays."""
    arrays: tuple[jax.ShapeDtypeStruct | None, ...]
    """Every leaf, with None in place of what is no array."""
    paths: tuple[Path, ...]

    @classmethod
    def of(cls, tree: PyTree) -> "Layout":
        found, treedef = jtu.tree_flatten_with_path(tree)
        leaves = [leaf for _, leaf in found]
        return cls(
            treedef,
            tuple(None if _is_array(x) else x for x in leaves),
            tuple(jax.ShapeDtypeStruct(x.shape, x.dtype) if _is_array(x) else None for x in leaves),
            tuple(_as_path(keys) for keys, _ in found),
        )

    @property
    def inexact_paths(self) -> tuple[Path, ...]:
        return tuple(p for p, a in zip(self.paths, self.arrays, strict=True) if a is not None and _is_inexact(a))

    def split(self, tree: PyTree) -> tuple[list[Any], list[Any]]:
        """The inexact arrays, then the other arrays."""
        leaves = [x for x in jtu.tree_leaves(tree) if _is_array(x)]
        return [x for x in leaves if _is_inexact(x)], [x for x in leaves if not _is_inexact(x)]

    def join(self, inexact: Sequence[Any], other: Sequence[Any] | None) -> PyTree:
        """The pytree again; with `other` None, only its inexact arrays and None elsewhere, as gradients are."""
        inexact_left, other_left = iter(inexact), iter(other or ())

        def leaf(array: Any, static: Any) -> Any:
            if array is None:
                return None if other is None else static
            if _is_inexact(array):
                return next(inexact_left)
            return None if other is None else next(other_left)

        return jtu.tree_unflatten(self.treedef, map(leaf, self.arrays, self.static))

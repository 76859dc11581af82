"""How the arrays of a pytree are taken out and put back.

Only inexact arrays carry derivatives; every other array is carried along, every other leaf is static. A complex array
of the state is taken out as a pair of real ones, its real and its imaginary part, so that nothing behind this page
knows of complex hidden states.
"""

import collections
import dataclasses
from collections.abc import Mapping, Sequence
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


def is_complex(leaf: Any) -> bool:
    return bool(jnp.issubdtype(leaf.dtype, jnp.complexfloating))


def _halves(leaf: Any) -> list[Any]:
    """The real and the imaginary part."""
    if isinstance(leaf, jax.ShapeDtypeStruct):
        return [jax.ShapeDtypeStruct(leaf.shape, jnp.finfo(leaf.dtype).dtype)] * 2
    return [jnp.real(leaf), jnp.imag(leaf)]


def _as_paths(found: Sequence[Sequence[Any]]) -> tuple[Path, ...]:
    """('layers', 2, 'V'): attribute and dict keys as they are, sequence positions as int.

    A node with one leaf, which it does not name, is that leaf: a quantity is its magnitude.
    """
    leaves = collections.Counter(tuple(keys[:i]) for keys in found for i in range(len(keys)))
    return tuple(_as_path(keys, leaves) for keys in found)


def _as_path(keys: Sequence[Any], leaves: Mapping[tuple[Any, ...], int]) -> Path:
    alone = [isinstance(k, jtu.FlattenedIndexKey) and leaves[tuple(keys[:i])] == 1 for i, k in enumerate(keys)]
    named = [k for k, only in zip(keys, alone, strict=True) if not only]
    return tuple(next(getattr(k, n) for n in ("name", "key", "idx") if hasattr(k, n)) for k in named)


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a pytree's arrays were taken out."""

    treedef: Any
    static: tuple[Any, ...]
    """Every leaf, with None in place of the arrays."""
    arrays: tuple[jax.ShapeDtypeStruct | None, ...]
    """Every leaf, with None in place of what is no array."""
    paths: tuple[Path, ...]
    in_halves: bool
    """Are complex arrays taken out as pairs of real ones?"""

    @classmethod
    def of(cls, tree: PyTree, *, in_halves: bool = False) -> "Layout":
        found, treedef = jtu.tree_flatten_with_path(tree)
        leaves = [leaf for _, leaf in found]
        return cls(
            treedef,
            tuple(None if _is_array(x) else x for x in leaves),
            tuple(jax.ShapeDtypeStruct(x.shape, x.dtype) if _is_array(x) else None for x in leaves),
            _as_paths([keys for keys, _ in found]),
            in_halves,
        )

    @property
    def inexact_paths(self) -> tuple[Path, ...]:
        """The path of every inexact array as `split` gives them; `real` and `imag` are attributes."""
        found: list[Path] = []
        for path, array in zip(self.paths, self.arrays, strict=True):
            if array is not None and _is_inexact(array):
                found += [(*path, "real"), (*path, "imag")] if self._is_halved(array) else [path]
        return tuple(found)

    @property
    def parts(self) -> tuple[tuple[int, ...], ...]:
        """For every inexact array, which of what `split` gives belongs to it."""
        found: list[tuple[int, ...]] = []
        for array in self.arrays:
            if array is not None and _is_inexact(array):
                start = sum(map(len, found))
                found.append((start, start + 1) if self._is_halved(array) else (start,))
        return tuple(found)

    def _is_halved(self, array: Any) -> bool:
        return self.in_halves and is_complex(array)

    def split(self, tree: PyTree) -> tuple[list[Any], list[Any]]:
        """The inexact arrays, then the other arrays."""
        leaves = [x for x in jtu.tree_leaves(tree) if _is_array(x)]
        inexact = [part for x in leaves if _is_inexact(x) for part in (_halves(x) if self._is_halved(x) else [x])]
        return inexact, [x for x in leaves if not _is_inexact(x)]

    def join(self, inexact: Sequence[Any], other: Sequence[Any] | None) -> PyTree:
        """The pytree again; with `other` None, only its inexact arrays and None elsewhere, as gradients are."""
        inexact_left, other_left = iter(inexact), iter(other or ())
        leaves: list[Any] = []
        for array, static in zip(self.arrays, self.static, strict=True):
            if array is None:
                leaves.append(None if other is None else static)
            elif self._is_halved(array):
                leaves.append(jax.lax.complex(next(inexact_left), next(inexact_left)))
            elif _is_inexact(array):
                leaves.append(next(inexact_left))
            else:
                leaves.append(None if other is None else next(other_left))
        return jtu.tree_unflatten(self.treedef, leaves)

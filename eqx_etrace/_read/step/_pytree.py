"""How the arrays of a pytree are taken out and put back.

Only inexact arrays carry derivatives; every other array is carried along, every other leaf is static. A complex array
of the state is taken out as a pair of real ones, its real and its imaginary part, so that nothing behind this page
knows of complex hidden states.
"""

import collections
import dataclasses
import functools
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


def _as_paths(leaves: Sequence[Sequence[Any]]) -> tuple[Path, ...]:
    """('layers', 2, 'V'): attribute and dict keys as they are, sequence positions as int.

    A node with one leaf, which it does not name, is that leaf: a quantity is its magnitude.
    """
    inside = collections.Counter(tuple(keys[:i]) for keys in leaves for i in range(len(keys)))
    return tuple(_as_path(keys, inside) for keys in leaves)


def _as_path(keys: Sequence[Any], inside: Mapping[tuple[Any, ...], int]) -> Path:
    """`inside` says how many leaves there are below a path."""
    path: list[Any] = []
    for i, key in enumerate(keys):
        is_alone = isinstance(key, jtu.FlattenedIndexKey) and inside[tuple(keys[:i])] == 1
        if not is_alone:
            path.append(next(getattr(key, name) for name in ("name", "key", "idx") if hasattr(key, name)))
    return tuple(path)


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
        with_keys, treedef = jtu.tree_flatten_with_path(tree)
        leaves = [leaf for _, leaf in with_keys]
        return cls(
            treedef=treedef,
            static=tuple(None if _is_array(x) else x for x in leaves),
            arrays=tuple(jax.ShapeDtypeStruct(x.shape, x.dtype) if _is_array(x) else None for x in leaves),
            paths=_as_paths([keys for keys, _ in with_keys]),
            in_halves=in_halves,
        )

    @functools.cached_property
    def inexact_paths(self) -> tuple[Path, ...]:
        """The path of every inexact array as `split` gives them; `real` and `imag` are attributes."""
        paths: list[Path] = []
        for path, array in zip(self.paths, self.arrays, strict=True):
            if array is not None and _is_inexact(array):
                paths += [(*path, "real"), (*path, "imag")] if self._is_halved(array) else [path]
        return tuple(paths)

    @property
    def parts(self) -> tuple[tuple[int, ...], ...]:
        """For every inexact array, which of what `split` gives belongs to it."""
        parts: list[tuple[int, ...]] = []
        for array in self.arrays:
            if array is not None and _is_inexact(array):
                start = sum(map(len, parts))
                parts.append((start, start + 1) if self._is_halved(array) else (start,))
        return tuple(parts)

    def _is_halved(self, array: Any) -> bool:
        return self.in_halves and is_complex(array)

    def split(self, tree: PyTree) -> tuple[list[Any], list[Any]]:
        """The inexact arrays, then the other arrays."""
        inexact: list[Any] = []
        other: list[Any] = []
        for leaf in filter(_is_array, jtu.tree_leaves(tree)):
            if _is_inexact(leaf):
                inexact += _halves(leaf) if self._is_halved(leaf) else [leaf]
            else:
                other.append(leaf)
        return inexact, other

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

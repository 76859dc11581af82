"""How the arrays of a pytree are taken out and put back.

Only inexact arrays carry derivatives; every other array is carried along, every other leaf is static. A complex array
of the state is taken out as a pair of real ones, its real and its imaginary part, so that nothing behind this page
knows of complex hidden states. An array that holds several states of a unit is taken out in parts.
"""

import collections
import dataclasses
import functools
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
from jaxtyping import Int, PyTree

from ._boxes import keys, Places, put_together, take_apart

Path = tuple[Any, ...]


def _is_array(leaf: Any) -> bool:
    return eqx.is_array(leaf) or isinstance(leaf, jax.ShapeDtypeStruct)


def _as_struct(leaf: Any) -> jax.ShapeDtypeStruct | None:
    """The shape and dtype of an array; None for what is none."""
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) if _is_array(leaf) else None


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
    places: tuple[Places, ...] = ()
    """Where each inexact array is taken apart; of no length if none is."""

    @classmethod
    def of(cls, tree: PyTree, *, in_halves: bool = False) -> "Layout":
        with_keys, treedef = jtu.tree_flatten_with_path(tree)
        leaves = [leaf for _, leaf in with_keys]
        return cls(
            treedef=treedef,
            static=tuple(None if _is_array(x) else x for x in leaves),
            arrays=tuple(map(_as_struct, leaves)),
            paths=_as_paths([keys for keys, _ in with_keys]),
            in_halves=in_halves,
        )

    @functools.cached_property
    def _inexact(self) -> list[tuple[int, Any, Places]]:
        """Of every inexact array: which leaf it is, its shape and dtype, and where it is taken apart."""
        which = [i for i, array in enumerate(self.arrays) if array is not None and _is_inexact(array)]
        places = self.places or ((),) * len(which)
        return [(i, self.arrays[i], at) for i, at in zip(which, places, strict=True)]

    @functools.cached_property
    def inexact_paths(self) -> tuple[Path, ...]:
        """The path of every inexact array as `split` gives them; `real` and `imag` are attributes."""
        paths: list[Path] = []
        for i, array, places in self._inexact:
            halves = [("real",), ("imag",)] if self._is_halved(array) else [()]
            every = itertools.product(halves, keys(array.shape, places))
            paths += [(*self.paths[i], *half, *key) for half, key in every]
        return tuple(paths)

    @property
    def parts(self) -> tuple[tuple[int, ...], ...]:
        """For every inexact array, which of what `split` gives belongs to it."""
        return tuple(tuple(itertools.chain(*halves)) for halves in self._numbers)

    @property
    def halves(self) -> tuple[tuple[int, ...], ...]:
        """The numbers of both halves of every part of a complex array, and of every part of a real one, alone."""
        return tuple(pair for halves in self._numbers for pair in zip(*halves, strict=True))

    def order_of(self, number: int) -> Int[np.ndarray, "..."]:
        """By element of a part, the element of the array that it is a part of."""
        for (_, array, places), halves in zip(self._inexact, self._numbers, strict=True):
            for half in halves:
                if number in half:
                    whole = np.arange(math.prod(array.shape)).reshape(array.shape)
                    return take_apart(whole, places)[half.index(number)]
        raise IndexError(number)

    @property
    def _numbers(self) -> list[list[range]]:
        """For every inexact array, by half, the numbers of its parts."""
        numbers: list[list[range]] = []
        start = 0
        for _, array, places in self._inexact:
            count = len(keys(array.shape, places))
            stop = start + count * (2 if self._is_halved(array) else 1)
            numbers.append([range(first, first + count) for first in range(start, stop, count)])
            start = stop
        return numbers

    def _is_halved(self, array: Any) -> bool:
        return self.in_halves and is_complex(array)

    def split(self, tree: PyTree) -> tuple[list[Any], list[Any]]:
        """The inexact arrays, then the other arrays."""
        arrays = list(filter(_is_array, jtu.tree_leaves(tree)))
        inexact, other = filter(_is_inexact, arrays), [leaf for leaf in arrays if not _is_inexact(leaf)]
        parts: list[Any] = []
        for leaf, (_, _, places) in zip(inexact, self._inexact, strict=True):
            for half in _halves(leaf) if self._is_halved(leaf) else [leaf]:
                parts += take_apart(half, places)
        return parts, other

    def join(self, inexact: Sequence[Any], other: Sequence[Any] | None) -> PyTree:
        """The pytree again; with `other` None, only its inexact arrays and None elsewhere, as gradients are."""
        other_left = iter(other or ())
        whole = dict(self._wholes(inexact))
        leaves: list[Any] = []
        for i, (array, static) in enumerate(zip(self.arrays, self.static, strict=True)):
            if i in whole:
                leaves.append(whole[i])
            elif other is None:
                leaves.append(None)
            else:
                leaves.append(static if array is None else next(other_left))
        return jtu.tree_unflatten(self.treedef, leaves)

    def _wholes(self, inexact: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """Every inexact array put together, with the leaf that it is."""
        for (i, array, places), numbers in zip(self._inexact, self._numbers, strict=True):
            halves = [put_together(inexact[half.start : half.stop], array.shape, places) for half in numbers]
            yield i, halves[0] if len(halves) == 1 else jax.lax.complex(*halves)

"""Positions, element by element.

A **position array** has the shape of a variable and says for each element which position of a hidden
group it belongs to: `NONE` if to none, `MANY` if to more than one. Where an index of the model decides it, it is
`DECIDED` or more: that number says which index, and equal numbers are equal positions. A **link** is how one operand of
one equation is connected to one output, element by element, as far as derivatives are concerned. It
carries position arrays both ways:

    forward    the labels of the operand's elements, as seen in the output
    backward   the labels of the output's elements, as they fall on the operand

Every data movement is one of two links, and so no primitive needs a rule of its own: `Moved` (each
output element copies one operand element: slice, transpose, broadcast, gather ...) and `Merged` (each
operand element enters one output element: a reduction, the rows of a matrix-vector product ...). What mixes within
blocks, such as the rows of a matrix product, is one after the other: `Mixed`.
"""

import dataclasses
import functools
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int

NONE = -1
MANY = -2
DECIDED = 1 << 40
"""Labels from n DECIDED to (n + 1) DECIDED are what the n-th index decides, n from 1 on."""

Positions = Int[np.ndarray, "..."]


@runtime_checkable
class Link(Protocol):
    def forward(self, labels: Positions, shape: tuple[int, ...]) -> Positions: ...

    def backward(self, labels: Positions, shape: tuple[int, ...]) -> Positions: ...


def _pick(labels: Positions, index: Positions) -> Positions:
    """`labels.flat[index]`, NONE where the index is NONE."""
    if labels.size == 0:
        return np.full(index.shape, NONE)
    return np.where(index >= 0, labels.ravel()[index], NONE)


def _drop(labels: Positions, index: Positions, shape: tuple[int, ...]) -> Positions:
    """Let each label fall on element `index`; where different labels meet, MANY."""
    out = np.full(int(np.prod(shape)), NONE)
    use = (index >= 0) & (labels != NONE)
    where, what = index[use], labels[use]
    out[where] = what
    out[where[out[where] != what]] = MANY
    return out.reshape(shape)


@dataclasses.dataclass(frozen=True)
class Aligned:
    """Element p of the output depends on element p of the operand."""

    def forward(self, labels: Positions, shape: tuple[int, ...]) -> Positions:
        return labels.reshape(shape)

    def backward(self, labels: Positions, shape: tuple[int, ...]) -> Positions:
        return labels.reshape(shape)


@dataclasses.dataclass(frozen=True)
class Moved:
    """Element j of the output depends on element `taken[j]` of the operand."""

    taken: Positions

    def forward(self, labels: Positions, shape: tuple[int, ...]) -> Positions:
        return _pick(labels, self.taken).reshape(shape)

    def backward(self, labels: Positions, shape: tuple[int, ...]) -> Positions:
        return _drop(labels, self.taken, shape)


@dataclasses.dataclass(frozen=True)
class Merged:
    """Element i of the operand enters element `target[i]` of the output, and no other."""

    target: Positions

    def forward(self, labels: Positions, shape: tuple[int, ...]) -> Positions:
        return _drop(labels, self.target, shape)

    def backward(self, labels: Positions, shape: tuple[int, ...]) -> Positions:
        return _pick(labels, self.target).reshape(shape)


@dataclasses.dataclass(frozen=True)
class Mixed:
    """All elements of a block of the operand enter all elements of the same block of the output."""

    into: Merged
    """By element of the operand, the number of its block."""
    out_of: Moved
    """By element of the output, too."""

    def forward(self, labels: Positions, shape: tuple[int, ...]) -> Positions:
        return self.out_of.forward(self.into.forward(labels, self.blocks), shape)

    def backward(self, labels: Positions, shape: tuple[int, ...]) -> Positions:
        return self.into.backward(self.out_of.backward(labels, self.blocks), shape)

    @functools.cached_property
    def blocks(self) -> tuple[int]:
        """How many there are, as a shape."""
        return (1 + max(int(link.max(initial=NONE)) for link in (self.into.target, self.out_of.taken)),)


@dataclasses.dataclass(frozen=True)
class Mixing:
    """Any other operation: nothing is known to stay in its position."""

    def forward(self, labels: Positions, shape: tuple[int, ...]) -> Positions:
        del labels
        return np.full(shape, NONE)

    def backward(self, labels: Positions, shape: tuple[int, ...]) -> Positions:
        return np.full(shape, MANY if (labels != NONE).any() else NONE)


@dataclasses.dataclass(frozen=True)
class Decided:
    """Each element of the operand enters one element of the output, and the index of this number says which."""

    number: int

    def forward(self, labels: Positions, shape: tuple[int, ...]) -> Positions:
        del labels
        return np.full(shape, NONE)

    def backward(self, labels: Positions, shape: tuple[int, ...]) -> Positions:
        if (labels == NONE).all():
            return np.full(shape, NONE)
        if not is_known(labels):
            return np.full(shape, MANY)
        return self.number * DECIDED + indices(shape)


def is_known(labels: Positions) -> bool:
    """Are these positions that no index decides?"""
    return bool((labels != MANY).all() and (labels < DECIDED).all())


def deciding(labels: Positions) -> int:
    """The number of the one index that decides these positions; 0 if none does, NONE if there is more to them."""
    last = labels.max(initial=0)
    first = labels.min(initial=last, where=labels >= 0)
    return int(last // DECIDED) if first // DECIDED == last // DECIDED else NONE


ALIGNED = Aligned()
MIXING = Mixing()


def indices(shape: tuple[int, ...]) -> Positions:
    """Every element its own label."""
    return np.arange(int(np.prod(shape))).reshape(shape)


def merged(target: Positions, shape: tuple[int, ...]) -> Link:
    """Each element enters one element of an output of this shape: the same one, or another."""
    is_aligned = target.shape == shape and ((target == indices(shape)) | (target == NONE)).all()
    return ALIGNED if is_aligned else Merged(target)


def merge(first: Positions, second: Positions) -> Positions:
    """What two sets of labels on the same elements say together."""
    if first is second:
        return first
    out = np.where(first == NONE, second, first)
    clash = (first != NONE) & (second != NONE) & (first != second)
    return np.where(clash, MANY, out) if clash.any() else out


def agree(first: Positions, second: Positions) -> bool:
    """Do two sets of labels name the same position wherever both name one?"""
    return first is second or not ((first >= 0) & (second >= 0) & (first != second)).any()

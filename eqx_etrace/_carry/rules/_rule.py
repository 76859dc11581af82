"""A rule is a choice of what is kept of an effective weight's past.

The estimator knows a rule by its **keepers** alone. A keeper holds one part of dh/dw~, the influence of all the past of
one effective weight w~ on the state:

    value  <-  init()                                before the first step
    value  <-  advance(value, transition)            J <- (dh'/dh) J + dh'/dw~, as far as the rule keeps it
    g . J   =  contract(value, signal)               a learning signal meets it: a cotangent of w~

and takes a whole window of steps at once where its recursion allows that (`advance_window`). By position, on blocks of
the state, factored, filtered, random: each is a keeper. The rule itself is a frozen configuration; what a keeper keeps
lives outside, in the `ETrace` that the user carries.
"""

import abc
import dataclasses
import functools
import hashlib
from collections.abc import Hashable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jaxtyping import Array, Inexact, PyTree

from ..._read import Cut
from .._head import FactoredShare
from .._status import Stored
from .._transition import Signal, Transition, Transitions
from ..by_position import TraceLayout
from ..on_blocks import BlockLayout, ProductLayout
from ._weight import Weight

Share = Inexact[Array, "..."] | FactoredShare
"""What a keeper adds to the gradient of its effective weight, multiplied out or as factors."""


@dataclasses.dataclass(frozen=True, eq=False)
class AbstractKeeper(abc.ABC):
    """What is kept of one effective weight's past, at one place where the weight enters the step."""

    rule: "AbstractRule"
    """The rule that keeps it."""
    weight: Weight
    layout: TraceLayout | BlockLayout | ProductLayout
    """Where the weight enters the step. What a step does there is what it asks of a `Transition`."""

    @abc.abstractmethod
    def init(self) -> PyTree[Array]:
        """The value before the first step: zeros."""

    @abc.abstractmethod
    def advance(self, value: PyTree[Array], transition: Transition) -> PyTree[Array]:
        """The value after one more step."""

    @abc.abstractmethod
    def advance_window(self, value: PyTree[Array], transitions: Transitions) -> PyTree[Array] | None:
        """The value after a window of steps, to rounding that of `advance` at each of them.

        None: there is no shorter way. Then the estimator takes the steps one by one, for all such keepers together.
        """

    @abc.abstractmethod
    def contract(self, value: PyTree[Array], signal: Signal) -> Share | None:
        """The cotangent of the effective weight, or its factors; None for none."""

    @property
    @abc.abstractmethod
    def follows_d(self) -> bool:
        """Is `advance` J <- D J + dh'/dw~ with the true D, by position, and `contract` g . J, and nothing else?

        Then learning signals of many steps, carried back by D, meet the value as one. False is always right: each meets
        it by itself.
        """

    @abc.abstractmethod
    def rows(self, transition: Transition, signal: Signal) -> Inexact[Array, "..."]:
        """g . dh/dy, by the rows of the head: times x, what one step alone puts into the value."""

    @property
    @abc.abstractmethod
    def work(self) -> int:
        """Multiply-adds of one step, to advance the value and to contract it."""

    @property
    @abc.abstractmethod
    def missed_at_window_0(self) -> int:
        """The old states, as bits, of which window 0 misses credit: the output takes it past the new states."""

    @property
    def is_missed_at_window_0(self) -> bool:
        """Does window 0 miss credit of the states that it lies in?"""
        return any(self.missed_at_window_0 >> leaf & 1 for leaf in self.layout.followed)

    @functools.cached_property
    def groups(self) -> frozenset[int]:
        """The hidden groups that it lies in; of a filter without a group of its own, those that it stands for."""
        leaves = frozenset(self.layout.own)
        return frozenset(g.index for g in self.weight.analysis.groups if not leaves.isdisjoint(g.leaves))

    @property
    def title(self) -> str:
        """What it is, for error messages."""
        paths = [path for g in sorted(self.groups) for path in self.weight.analysis.groups[g].paths]
        return f"{' and '.join(self.weight.names)} in {paths} by {self.rule}"

    @property
    def meaning(self) -> str:
        """What its numbers are about: how the weight is made of the parameters, and which states it enters where."""
        analysis, layout = self.weight.analysis, self.layout
        filters = analysis.tail(layout.group).filters if isinstance(layout, TraceLayout) else ()
        made = "\n".join([analysis.recipes[self.weight.variable], *map(analysis.map_of, filters)])
        told = hashlib.blake2b(made.encode(), digest_size=8)
        for array in (*layout.place, *(one.reads for one in filters)):
            told.update(array.tobytes())
        return told.hexdigest()

    @property
    def alike(self) -> Hashable:
        """Equal for keepers whose values have the same arrays."""
        return str(self.rule), self.layout.alike  # a rule may hold an array, which has no hash

    @property
    def is_ours(self) -> bool:
        """Is it one of this package, under a rule of this package?"""
        package = __name__.partition(".")[0]
        return all(type(one).__module__.partition(".")[0] == package for one in (self, self.rule))

    @functools.cached_property
    def _like(self) -> PyTree[jax.ShapeDtypeStruct]:
        return jax.eval_shape(self.init)

    @property
    def arrays(self) -> list[jax.ShapeDtypeStruct]:
        """All that it keeps."""
        return jtu.tree_leaves(self._like)

    @property
    def bytes(self) -> int:
        """The memory of all that it keeps."""
        return sum(array.size * array.dtype.itemsize for array in self.arrays)

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """The shapes of the trace itself, without what is counted or noted beside it."""
        value = self._like
        arrays = jtu.tree_leaves(value.e if isinstance(value, Stored) else value)
        return [tuple(array.shape) for array in arrays if jnp.issubdtype(array.dtype, jnp.inexact)]


class AbstractRule(eqx.Module):
    """What is kept of the influence of the past."""

    def __repr__(self) -> str:
        """Without what has the value of its default: a trace knows its rule by this, also by one that was pickled."""
        given = [(f.name, getattr(self, f.name), f.default) for f in dataclasses.fields(self)]
        told = [f"{name}={eqx.tree_pformat(value)}" for name, value, default in given if not _same(value, default)]
        return f"{type(self).__name__}({', '.join(told)})"

    def __hash__(self) -> int:
        try:
            return hash((type(self), *(getattr(self, f.name) for f in dataclasses.fields(self))))
        except TypeError:
            raise TypeError(
                f"`{self}` holds an array, and has no hash. `jax.jit`, `jax.checkpoint` and `jax.lax.scan` ask for one "
                "of a function: give them one around the transform, `lambda *args: online(*args)`, or use "
                "`eqx.filter_jit`."
            ) from None

    @abc.abstractmethod
    def keep(self, weight: Weight) -> Sequence[AbstractKeeper]:
        """What is kept of the past of one effective weight; nothing for none."""

    @abc.abstractmethod
    def drops(self, weight: Weight, parameter: int) -> Sequence[Cut]:
        """The credit of one parameter behind the weight that is dropped; nothing if the gradient is exact."""

    @abc.abstractmethod
    def holds_all(self, weight: Weight) -> bool:
        """Do its keepers hold all that the weight does to any new state, now and later, as exactly as the step is?"""


def _same(value: Any, default: Any) -> bool:
    """Are they one object, or numbers or names of one type that are equal?"""
    is_plain = type(value) is type(default) and isinstance(value, int | float | str)
    return value is default or (is_plain and value == default)

"""What can be said of a primitive.

How derivatives flow from its operands to its outputs is one of few ways, and the rest is a yes or a no. For `tanh`:

    Traits(Flow.ALIGNED, is_holomorphic=True, keeps_zero=True)
"""

import dataclasses
import enum
import functools
from collections.abc import Callable, Iterable
from typing import Any, Literal


class Flow(enum.Enum):
    """How a derivative gets from an operand to an output."""

    STOPPED = "it does not"
    ALIGNED = "element p of the output comes from element p of each operand"
    PAIRED = "output i comes from operand i"
    REDUCED = "the elements along some axes enter one element of the output"
    REARRANGED = "each element of the output is a copy of one element of the operand"
    PARTED = "the outputs are parts of the operand"
    JOINED = "the operands are parts of the output"
    INDEXED = "elements are read or written at indices, which are operands, too"
    SCATTERED = "updates meet elements of the operand at indices"
    WINDOWED = "the elements within a window enter one element of the output"
    CONTRACTED = "elements of the output are sums of products"
    CONVOLVED = "the same, with one kernel at every place"
    LINES = "the elements of each line along one axis mix"
    MIXED = "nothing is known"


class Runs(enum.Enum):
    """What an operation does with the programs that it runs."""

    SCAN = "it runs one, over and over"
    WHILE = "it runs one until another says stop"
    COND = "it runs one of several"
    SOLVE = "it runs one that solves a linear system"


NO_MATTER = (
    "accuracy sharding out_sharding precision preferred_element_type weak_type new_dtype out_dtype input_dtype "
    "exponent_bits mantissa_bits rounding_method index_dtype indices_are_sorted unique_indices is_stable"
)
"""Parameters that say how exactly, where, in which dtype, in which order of equals."""


@dataclasses.dataclass(frozen=True)
class Traits:
    """What is known of one primitive."""

    flow: Flow = Flow.MIXED
    """How derivatives get from its operands to its outputs."""
    parameters: str = ""
    """The names of the parameters that its traits account for, beside those that never matter."""
    linear: slice | None = None
    """The operands that it is linear in together, if the others are fixed and what is not asked about is zero."""
    is_multilinear: bool = False
    """Is it linear in each operand by itself?"""
    is_holomorphic: bool = False
    """Is it a holomorphic function of complex operands?"""
    keeps_zero: bool = False
    """Does it make zero of zero?"""
    is_flat_if_real: bool = False
    """Has it no derivative as a function of real numbers?"""
    copies: bool = False
    """Is its value that of its operand, but for rounding?"""
    rounds: bool = False
    """May it round?"""
    half: Literal["real", "imag"] | None = None
    """The part of a complex number that it takes."""
    axis: str = ""
    """The parameter that names the axis of the lines that it mixes."""
    move: Callable[..., Any] | None = None
    """What it does to NumPy arrays, as a function of the operands and its parameters; None if JAX must be asked."""
    head: str = ""
    """The kind of head that it is, where an effective weight meets data in it; nothing if it is none."""
    weights: tuple[int, ...] = ()
    """The operands that may be that weight of a sum of products; the other one is the data."""
    runs: Runs | None = None
    """What it does with the programs that it runs."""
    asks_if_finite: bool = False
    """Does it ask whether numbers are finite?"""

    @property
    def is_product(self) -> bool:
        """Is it a product, element by element?"""
        return self.flow is Flow.ALIGNED and self.is_multilinear

    @property
    def stops_gradient(self) -> bool:
        """Does it pass a value on, and no derivative?"""
        return self.flow is Flow.STOPPED and self.copies

    @functools.cached_property
    def _accounted(self) -> frozenset[str]:
        return frozenset(f"{NO_MATTER} {self.parameters}".split())

    def account_for(self, parameters: Iterable[str]) -> bool:
        """Do they hold for an equation with these parameters?"""
        return self._accounted.issuperset(parameters)

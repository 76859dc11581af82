"""RTRL, and what approximates it on blocks: SnAp, OSTL."""

import operator
from typing import Any

import equinox as eqx

from ._limit import as_bytes
from ._on_blocks import AbstractBlockRule


class RTRL(AbstractBlockRule):
    """Real-time recurrent learning at the cost of the structure: exact.

    The influence of an effective weight on everything that it can ever reach. The pattern of the step's Jacobian says
    what that is: a batch, a diagonal recurrence, heads side by side fall into small blocks by themselves; a dense
    recurrent network is one block per lane, and its trace then has the size of weights times units times lanes. Per
    block,

        e  <-  J e  +  dh/dy (x) x .

    `scan` takes many steps at once, at any window, with the products of their Jacobians: of a dense network of n units
    that is about 3 n^3 multiplications per step, where a call per step takes n^4. What the steps leave until then takes
    no more memory than the traces, or 64 MiB if that is more, beside them.

    Where the trace of `DRTRL` is exact already, it is used instead, and the report says `DRTRL`. A step whose Jacobian
    has too many entries that can be anything but zero (2^25) is refused before anything is computed.

    Exact means: for the output of the step; a state that never reaches it is not followed for its own sake. Credit
    through a call whose backward rule is not linear in the cotangent (clipping, rounding) is followed by no trace; the
    report names the call.

    **Arguments**

    - `limit`: the most bytes that the traces on blocks may take, 2^30 (1 GiB) by default: a dense network of 640 units
      in single precision and one lane. Above it, `ValueError` says how many they need.

    Source: Williams and Zipser, "A learning algorithm for continually running fully recurrent neural networks", Neural
    Computation 1989, equation 7, restricted to where it is not zero; over many steps Schmidhuber, "A fixed size storage
    O(n^3) time complexity learning algorithm for fully recurrent continually running networks", Neural Computation
    1992.
    """

    limit: int = eqx.field(default=2**30, static=True, converter=lambda limit: as_bytes("limit", limit))

    @property
    def steps(self) -> None:
        """Influence is kept however many steps it takes."""

    @property
    def in_layer(self) -> bool:
        """It is kept wherever it goes."""
        return False

    @property
    def most_bytes(self) -> int:
        """The limit."""
        return self.limit


class SnAp(AbstractBlockRule):
    """The sparse n-step approximation of RTRL.

    Of the influence of a weight it keeps that on the scalars of the state which the weight reaches within n steps, with
    the true Jacobian between them. SnAp(1) keeps the true diagonal, that of the recurrent weights included; of a weight
    that reaches several scalars in one step (by a normalisation over units, say) it keeps the block of those. Zeros of
    masked weights count: a weight that a constant mask holds at zero reaches nothing and has no trace. With n large
    enough it is RTRL. A mask is seen where the step closes over it; an array in the model counts as data.

    **Arguments**

    - `n`: how many steps, at least 1.
    - `limit`: the most bytes that the traces may take, 2^30 (1 GiB) by default. Above it, as for `RTRL`.

    Source: Menick et al., "Practical real time recurrent learning with a sparse approximation", ICLR 2021.
    """

    n: int = eqx.field(static=True, converter=lambda n: _as_steps(n))
    limit: int = eqx.field(default=2**30, static=True, converter=lambda limit: as_bytes("limit", limit))

    @property
    def steps(self) -> int:
        """Within how many steps."""
        return self.n

    @property
    def in_layer(self) -> bool:
        """It is kept wherever it goes."""
        return False

    @property
    def most_bytes(self) -> int:
        """The limit."""
        return self.limit


class OSTL(AbstractBlockRule):
    """Online spatio-temporal learning: the full Jacobian within a layer, none through the past of other layers.

    A layer is what feeds itself: a recurrent population, several that are coupled, a leaky readout. States that are
    joined unit by unit are one layer, too. Of the influence of a weight it keeps that on the states of the layer which
    the weight enters, with the full Jacobian between them. So a dense recurrent layer takes what `RTRL` takes for it
    alone. Credit from the loss gets to a layer through those behind it within the step, not through their own past. Of
    one layer, whose readout has no memory, it is `RTRL`.

    Published for window 0.

    **Arguments**

    - `limit`: the most bytes that the traces may take, 2^30 (1 GiB) by default. Above it, as for `RTRL`.

    Source: Bohnstingl et al., "Online spatio-temporal learning in deep neural networks", IEEE Transactions on Neural
    Networks and Learning Systems 2022.
    """

    limit: int = eqx.field(default=2**30, static=True, converter=lambda limit: as_bytes("limit", limit))

    @property
    def steps(self) -> None:
        """Influence is kept however many steps it takes."""

    @property
    def in_layer(self) -> bool:
        """It stays in the layer."""
        return True

    @property
    def most_bytes(self) -> int:
        """The limit."""
        return self.limit


def _as_steps(n: Any) -> int:
    if isinstance(n, bool) or not hasattr(n, "__index__"):
        raise TypeError(f"`n` is {n!r}; it must be an integer: it counts steps.")
    steps = operator.index(n)
    if steps < 1:
        raise ValueError(f"`n` is {steps}; it counts steps, at least 1. For no trace at all use `NoTrace()`.")
    return steps

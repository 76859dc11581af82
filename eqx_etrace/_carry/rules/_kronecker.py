"""KF-RTRL and OK: the influence as a random sum of Kronecker products."""

import abc
import dataclasses
import math
import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact, Int, PRNGKeyArray, PyTree

from ..._given import as_key
from ..._read import Cut
from .._transition import Signal, Transition, Transitions
from ..on_blocks import BlockLayout, entered_rows, in_order, on_slots
from ..xla import take_rows
from ._decompositions import orthogonal, svd
from ._random import balanced, estimated, first_key, KeyData, next_key, signs, squared_norm
from ._rule import AbstractKeeper, AbstractRule
from ._weight import Weight

U = Inexact[Array, "i k"]
"""The first factors of i products: of what the weight met."""
A = Inexact[Array, "i r s"]
"""The second: of the scalars of the state, by rows of the head."""


class AbstractKroneckerRule(AbstractRule):
    """A rule that keeps sum_i u_i (x) A_i for dh/dw, right in the mean."""

    key: eqx.AbstractVar[Any]

    @property
    @abc.abstractmethod
    def products(self) -> int:
        """How many."""

    @abc.abstractmethod
    def join(
        self, key: PRNGKeyArray, u: U, pushed: A, x: Inexact[Array, " k"], response: Inexact[Array, "r s"]
    ) -> tuple[U, A]:
        """As many products as before, which in the mean are sum_i u_i (x) pushed_i + x (x) response."""

    def keep(self, weight: Weight) -> "Sequence[KroneckerKeeper]":
        """One sum for every source."""
        return [KroneckerKeeper(self, weight, layout) for layout in weight.blocks(None)]

    def drops(self, weight: Weight, parameter: int) -> tuple[Cut, ...]:
        """It is an estimate; and what no Jacobian follows."""
        sources = [layout for layout in weight.blocks(None) if layout.head.has_features]
        what = "random Kronecker products stand for the influence"
        return (*weight.analysis.unfollowed[parameter], *(estimated(weight, one, what) for one in sources))

    def holds_all(self, weight: Weight) -> bool:
        """In the mean alone."""
        is_whole = not any(layout.head.has_features for layout in weight.blocks(None))
        return is_whole and not any(weight.analysis.unfollowed[p] for p in weight.parameters)


class KFRTRL(AbstractKroneckerRule):
    """Kronecker-factored real-time recurrent learning: the influence as one product u (x) A, right in the mean.

    A weight that meets x puts x (x) dh/dy into its influence, which is a Kronecker product. With random signs c1 and c2

        u  <-  c1 p1 u        +  c2 p2 x              as many numbers as features, per lane
        A  <-  c1 / p1 (J A)  +  c2 / p2 dh/dy        scalars of the state times units, per lane

        p1 = sqrt(|J A| / |u|)        p2 = sqrt(|dh/dy| / |x|)

    the mean of u (x) A is the influence, and its noise is less than that of `UORO` by about the number of features. The
    time of a step is that of n backward passes and of J A, cubic in the units of a dense network. A weight that meets
    no data, such as a bias or a leak, keeps its influence whole, as under `RTRL`.

    Randomness is a part of the trace, as of `UORO`. Lanes are independent.

    **Arguments**

    - `key`: a random key.

    Source: Mujika et al., "Approximating real-time recurrent learning with random Kronecker factors", NeurIPS 2018,
    algorithm 1.
    """

    key: Any = eqx.field(converter=as_key)

    @property
    def products(self) -> int:
        """One."""
        return 1

    def join(
        self, key: PRNGKeyArray, u: U, pushed: A, x: Inexact[Array, " k"], response: Inexact[Array, "r s"]
    ) -> tuple[U, A]:
        c1, c2 = signs(key, (2,), u.dtype)
        old = [part.astype(u.dtype) for part in balanced(squared_norm(u), squared_norm(pushed))]
        new = [part.astype(u.dtype) for part in balanced(squared_norm(x), squared_norm(response))]
        return c1 * old[0] * u + c2 * new[0] * x, c1 * old[1] * pushed + c2 * new[1] * response


class OK(AbstractKroneckerRule):
    """Optimal Kronecker sums: the influence as a sum of r products u_i (x) A_i, right in the mean, of least variance.

    After a step there are r + 1 of them. The singular values of the sum say which to keep as they are; the rest is
    mixed by random signs into fewer, with the least variance that r products can have. Up to r steps nothing is mixed,
    and the gradient is that of `RTRL`. It takes r times the memory and the products of `KFRTRL`, and small QR and
    singular value decompositions at every step.

    Randomness is a part of the trace, as of `UORO`. Lanes are independent. A weight that meets no data keeps its
    influence whole. It is not differentiated through: an outer derivative is refused.

    **Arguments**

    - `rank`: r, an integer, at least 1.
    - `key`: a random key.

    Source: Benzing et al., "Optimal Kronecker-sum approximation of real time recurrent learning", ICML 2019, algorithms
    1 and 2.
    """

    rank: int = eqx.field(static=True, converter=lambda rank: _as_rank(rank))
    key: Any = eqx.field(converter=as_key)

    @property
    def products(self) -> int:
        """The rank."""
        return self.rank

    def join(
        self, key: PRNGKeyArray, u: U, pushed: A, x: Inexact[Array, " k"], response: Inexact[Array, "r s"]
    ) -> tuple[U, A]:
        a = jnp.concatenate([pushed, response[None]]).reshape(self.rank + 1, -1)
        drawn = signs(key, (self.rank + 1,), jnp.finfo(u.dtype).dtype)
        new_u, new_a = _fewer(drawn, jnp.concatenate([u, x[None]]), a)
        return new_u, new_a.reshape(pushed.shape)


@jax.custom_jvp
def _fewer(
    draw: Inexact[Array, " i"], u: U, a: Inexact[Array, "i q"]
) -> tuple[Inexact[Array, "r k"], Inexact[Array, "r q"]]:
    """One product less, right in the mean over signs, from as many numbers."""
    (of_u, in_u), (of_a, in_a) = (orthogonal(rows.astype(_wide(rows))) for rows in (u, a))
    left, values, right = svd(in_u @ in_a.T)
    # What is rounding beside the largest is nothing: mixed with it, it would be noise of the root of its size.
    values = jnp.where(values > values.shape[0] * jnp.finfo(values.dtype).eps * values[0], values, 0)
    mixed = least_variance(draw, values).astype(in_u.dtype)
    first, second = left.T @ of_u, right @ of_a
    phase = _phase(first)
    return mixed.T @ (first * phase.conj()), mixed.T @ (second * phase)


@_fewer.defjvp
def _(primals: Any, tangents: Any) -> Any:
    raise NotImplementedError(
        "`OK` decomposes its products at every step, and that has no derivative where some are alike or zero. To "
        "differentiate through an online update use `KFRTRL`, `UORO` or a rule that is not random."
    )


def _phase(rows: Inexact[Array, "i k"]) -> Inexact[Array, "i 1"]:
    """The sign, or the phase, of the largest entry of each: without it the decompositions', which is rounding.

    A pair of vectors has two signs or none, and random signs meet them: the same key would give another draw on another
    device. Of entries that are alike it is the last one's.
    """
    among = jnp.abs(rows) * np.linspace(1, 1.01, rows.shape[1], dtype=jnp.finfo(rows.dtype).dtype)
    largest = jnp.take_along_axis(rows, among.argmax(1, keepdims=True), 1)
    length = jnp.abs(largest)
    return jnp.where(length > 0, largest / jnp.where(length > 0, length, 1).astype(rows.dtype), 1)


def _wide(rows: Inexact[Array, "i k"]) -> Any:
    """Half precision would mix rounding into what is kept."""
    return rows.dtype if jnp.finfo(rows.dtype).bits >= 32 else jnp.float32


def least_variance(drawn: Inexact[Array, " i"], values: Inexact[Array, " i"]) -> Inexact[Array, "i r"]:
    """From random signs, L of i rows and i - 1 columns with E[L L^T] = diag(values), descending, of least variance.

    Values before the k-th are kept as they are. The others, whose sum is s, are mixed: the rows of an orthonormal basis
    of what is orthogonal to z, z_i^2 = 1 - values_i (r - k) / s, with a random sign each. The rotation that takes the
    last axis to z makes the basis. Unlike a reflection it is near to nothing where z is near to that axis: what is
    rounding does not choose a sign.
    """
    count, eps = values.shape[0], jnp.finfo(values.dtype).eps
    r, index, rest = count - 1, np.arange(count), jnp.cumsum(values[::-1])[::-1]
    k = jnp.argmin(values * np.asarray(r - index, values.dtype) > rest)
    is_mixed = index >= k
    share = jnp.where(rest[k] > 0, (r - k).astype(values.dtype) / jnp.where(rest[k] > 0, rest[k], 1), 0)
    left_out = 1 - values * share
    left_out = jnp.where(is_mixed & (left_out > count * eps), left_out, 0)  # the root of rounding would be no rounding
    z = jnp.sqrt(left_out)
    z = z / jnp.maximum(jnp.linalg.norm(z), jnp.finfo(values.dtype).tiny)
    last = jnp.eye(count, dtype=values.dtype)[r]
    rotation = jnp.eye(count, dtype=values.dtype)[:, :r] - jnp.outer(z + last, z[:r]) / (1 + z[r])
    kept = jnp.sqrt(jnp.where(is_mixed, 0, values))
    scale = jnp.where(is_mixed, jnp.where(share > 0, 1 / jnp.sqrt(jnp.where(share > 0, share, 1)), 0), kept)
    return drawn.astype(values.dtype)[:, None] * rotation * scale[None, :r]


class Sum(NamedTuple):
    """sum_i u_i (x) A_i, by block of the state and by lane in it."""

    u: Inexact[Array, "g p i k"] | None
    """None for a weight that meets no data."""
    a: Inexact[Array, "g p i r s"]
    key: KeyData


@dataclasses.dataclass(frozen=True, eq=False)
class KroneckerKeeper(AbstractKeeper):
    """The sum of one source."""

    rule: AbstractKroneckerRule
    layout: BlockLayout

    @property
    def _lanes(self) -> Int[np.ndarray, "g p"]:
        """Rows that met the same data: those of one lane, or, if blocks hold several lanes, each row by itself."""
        if not self.layout.head.has_features:
            return np.zeros((self.layout.shape[0], 1), int)
        lanes = self.layout.lanes
        return lanes[:, :1] if (lanes == lanes[:, :1]).all() else lanes

    def init(self) -> Sum:
        layout, lanes = self.layout, self._lanes
        (g, r, q), p = layout.shape[:3], lanes.shape[1]
        has_features = layout.head.has_features
        i = self.rule.products if has_features else 1
        u = jnp.zeros((g, p, i, layout.head.shape[-1]), layout.dtype) if has_features else None
        return Sum(u, jnp.zeros((g, p, i, r, q // p), layout.dtype), first_key(self.rule.key, layout))

    def advance(self, value: PyTree[Array], transition: Transition) -> Sum:
        drive, (g, p, _, r, s) = transition.block_drive(self.layout), value.a.shape
        pushed = jnp.einsum("gij,gpcjs->gpcis", drive.jacobian.astype(value.a.dtype), value.a)
        response = jnp.moveaxis(drive.response.reshape(g, r, p, s), 2, 1)
        if value.u is None or drive.x is None:
            return Sum(None, pushed + response[:, :, None], value.key)
        held, key = next_key(self.rule.key, value.key)
        keys = jax.random.split(key, (g, p))
        x = take_rows(drive.x.reshape(-1, drive.x.shape[-1]), self._lanes)
        u, a = jax.vmap(jax.vmap(self.rule.join))(keys, value.u, pushed, x, response)
        return Sum(u.astype(value.u.dtype), a.astype(value.a.dtype), held)

    def advance_window(self, value: PyTree[Array], transitions: Transitions) -> None:
        """What is mixed at a step is found after the step before."""

    def contract(self, value: PyTree[Array], signal: Signal) -> Inexact[Array, "..."]:
        layout = self.layout
        head, g, on_block = layout.head, value.a.shape[0], on_slots(layout, signal.on_block(layout))
        met = jnp.einsum("gr,gpcrs->gpcs", on_block.astype(layout.dtype), value.a)
        if value.u is None:
            return head.to_weight(in_order(layout, met.reshape(g, -1)).reshape(head.shape))
        b, m, n, k = head.shape
        by_row = jnp.einsum("gpcs,gpck->gpsk", met, value.u).reshape(g, -1, k)
        return head.to_weight(in_order(layout, by_row).reshape(b, m, n, k).sum(1))

    def rows(self, transition: Transition, signal: Signal) -> Inexact[Array, "..."]:
        return entered_rows(self.layout, transition.block_drive(self.layout).response, signal.on_block(self.layout))

    @property
    def follows_d(self) -> bool:
        """It follows the whole Jacobian."""
        return False

    @property
    def work(self) -> int:
        """J A, and the contraction."""
        g, r, q = self.layout.shape[:3]
        return self.rule.products * g * r * q * (r + 2) + math.prod(self.layout.head.shape)

    @property
    def missed_at_window_0(self) -> int:
        return self.weight.analysis.past_new


def _as_rank(rank: Any) -> int:
    if isinstance(rank, bool) or not hasattr(rank, "__index__"):
        shown = f"a `{type(rank).__name__}`" if hasattr(rank, "dtype") else repr(rank)
        raise TypeError(f"`rank` is {shown}; it must be an integer: it counts products. The order is `OK(rank, key)`.")
    if operator.index(rank) < 1:
        raise ValueError(f"`rank` is {rank}; it counts products, at least 1. For no trace at all use `NoTrace()`.")
    return operator.index(rank)

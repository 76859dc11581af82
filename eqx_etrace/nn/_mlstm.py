"""A cell whose state is a matrix: `(x, state) -> (out, state)`."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, PRNGKeyArray

from .._given import as_key
from ._projection import Projection
from ._shapes import check_lanes, check_state, lanes, zeros


class MLSTMState(NamedTuple):
    """The state of `MLSTMCell`: the memory `C`, its normaliser `n`, and the logarithm `m` that both are divided by."""

    C: Float[Any, "*batch value key"]
    n: Float[Any, "*batch key"]
    m: Float[Any, "*batch"]


class MLSTMCell(eqx.Module):
    r"""The LSTM with a matrix for a memory: keys, values and queries, and exponential gates.

    $$C \leftarrow f \, C + i \, v k^T, \qquad n \leftarrow f \, n + i \, k, \qquad
    h = o \circ \frac{C q}{\max(|n^T q|, 1)}$$

    with $q$, $v$ and $k$ linear in x, $k$ divided by the root of its size, $o = \sigma(\tilde o)$, and two numbers,
    $f = \sigma(\tilde f)$ and $i = e^{\tilde i}$. C and n are kept divided by $e^m$, where m is the running maximum of
    their logarithm, so that nothing overflows; h does not depend on m, and no gradient goes through it. All that enters
    is made of x alone: by position nothing is dropped, and `DRTRL()` is exact.

    **Arguments**

    - `in_size`: how many inputs there are.
    - `key_size`, `value_size`: the sizes of keys and queries, and of values and the output.
    - `key`: for the weights, of variance `1 / in_size`. The forget gate begins with a bias of 3.

    Source: Beck et al., "xLSTM: extended long short-term memory", NeurIPS 2024, equations 19 to 27; stabilised as in
    its appendix. One head, without its block of projections and normalisations.
    """

    query: Projection
    key: Projection
    value: Projection
    admit: Projection
    forget: Projection
    out: Projection

    def __init__(self, in_size: int, key_size: int, value_size: int, *, key: PRNGKeyArray) -> None:
        keys = jax.random.split(as_key(key), 6)
        self.query = Projection(in_size, key_size, key=keys[0])
        self.key = Projection(in_size, key_size, key=keys[1])
        self.value = Projection(in_size, value_size, key=keys[2])
        self.admit = Projection(in_size, 1, key=keys[3])
        forget = Projection(in_size, 1, key=keys[4])
        self.forget = eqx.tree_at(lambda p: p.bias, forget, jnp.full(1, 3.0))
        self.out = Projection(in_size, value_size, key=keys[5])

    def init_state(self, batch: int | tuple[int, ...] = (), dtype: DTypeLike | None = None) -> MLSTMState:
        """An empty memory."""
        values, keys = len(self.value.weight), len(self.key.weight)
        return MLSTMState(*(zeros((*lanes(batch), *shape), dtype) for shape in ((values, keys), (keys,), ())))

    def __call__(
        self, x: Float[Array, "*batch in"], state: MLSTMState
    ) -> tuple[Float[Array, "*batch value"], MLSTMState]:
        """One step: the output, and the new state."""
        check_state(self, state, x)
        check_lanes(self, x, state.n, self.query.weight.shape[1], self.query.weight.shape[0])
        q, v, k = self.query(x), self.value(x), self.key(x) * len(self.key.weight) ** -0.5
        admit, forget = self.admit(x)[..., 0], jax.nn.log_sigmoid(self.forget(x)[..., 0])
        m = jax.lax.stop_gradient(jnp.maximum(forget + state.m, admit))
        i, f = jnp.exp(admit - m)[..., None], jnp.exp(forget + state.m - m)[..., None]
        C = f[..., None] * state.C + (i * v)[..., :, None] * k[..., None, :]
        n = f * state.n + i * k
        norm = jnp.maximum(jnp.abs((n * q).sum(-1)), jnp.exp(-m))
        h = jax.nn.sigmoid(self.out(x)) * (C * q[..., None, :]).sum(-1) / norm[..., None]
        return h, MLSTMState(C, n, m)

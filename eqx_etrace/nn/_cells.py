"""Recurrent cells whose units hear each other, or themselves: `(x, state) -> (h, state)`.

Like the neurons a cell takes an explicit state, made by `init_state`, and gives an output and the new state. All work
on one lane or on many: `x` has the shape `[*batch, in]`. A GRU and an LSTM are those of Equinox, `equinox.nn.GRUCell`
and `equinox.nn.LSTMCell`.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, PRNGKeyArray

from .._given import as_key, in_words
from ._projection import orthogonal, Projection
from ._shapes import check_lanes, lanes, zeros


class RNNCell(eqx.Module):
    r"""The vanilla recurrent cell, with a leak.

    $$h \leftarrow (1 - \alpha) h + \alpha \, \phi(W x + U h + b)$$

    **Arguments**

    - `in_size`, `hidden_size`: how many inputs and units there are.
    - `leak`: $\alpha$, in (0, 1]; 1 is the cell without a memory of its own. A constant.
    - `activation`: $\phi$.
    - `key`: for the weights. W has variance `1 / in_size`, U is orthogonal.

    Source: Elman, "Finding structure in time", Cognitive Science 1990; the leak after Jaeger et al., "Optimization and
    applications of echo state networks with leaky-integrator neurons", Neural Networks 2007.
    """

    into: Projection
    recurrent: Float[Array, "n n"]
    leak: float = eqx.field(static=True)
    activation: Callable[[Array], Array] = eqx.field(static=True)

    def __init__(
        self,
        in_size: int,
        hidden_size: int,
        *,
        leak: float = 1.0,
        activation: Callable[[Array], Array] = jnp.tanh,
        key: PRNGKeyArray,
    ) -> None:
        if not 0 < leak <= 1:
            raise ValueError(f"`leak` is {leak}; it is the part of h that is new in every step and must lie in (0, 1].")
        into, recurrent = jax.random.split(as_key(key))
        self.into = Projection(in_size, hidden_size, key=into)
        self.recurrent = orthogonal(hidden_size, recurrent)
        self.leak, self.activation = leak, _function(activation)

    def init_state(self, batch: int | tuple[int, ...] = (), dtype: DTypeLike | None = None) -> Float[Array, "*batch n"]:
        """h = 0, in an array of shape `(*batch, hidden_size)`."""
        return zeros((*lanes(batch), len(self.recurrent)), dtype)

    def __call__(
        self, x: Float[Array, "*batch in"], h: Float[Array, "*batch n"]
    ) -> tuple[Float[Array, "*batch n"], Float[Array, "*batch n"]]:
        """One step: h as the output, and as the new state."""
        check_lanes(self, x, h, self.into.weight.shape[1], self.into.weight.shape[0])
        h = (1 - self.leak) * h + self.leak * self.activation(self.into(x) + h @ self.recurrent.T)
        return h, h


class IndRNNCell(eqx.Module):
    r"""The independently recurrent cell: each unit hears itself alone.

    $$h \leftarrow \phi(W x + u \circ h + b)$$

    So by position nothing is dropped: `DRTRL()` is exact.

    **Arguments**

    - `in_size`, `hidden_size`: how many inputs and units there are.
    - `activation`: $\phi$.
    - `key`: for the weights. W has variance `1 / in_size`, u is uniform in [0, 1].

    Source: Li et al., "Independently recurrent neural network (IndRNN): building a longer and deeper RNN", CVPR 2018,
    equation 3.
    """

    into: Projection
    recurrent: Float[Array, " n"]
    activation: Callable[[Array], Array] = eqx.field(static=True)

    def __init__(
        self,
        in_size: int,
        hidden_size: int,
        *,
        activation: Callable[[Array], Array] = jax.nn.relu,
        key: PRNGKeyArray,
    ) -> None:
        into, recurrent = jax.random.split(as_key(key))
        self.into = Projection(in_size, hidden_size, key=into)
        self.recurrent = jax.random.uniform(recurrent, (hidden_size,))
        self.activation = _function(activation)

    def init_state(self, batch: int | tuple[int, ...] = (), dtype: DTypeLike | None = None) -> Float[Array, "*batch n"]:
        """h = 0, in an array of shape `(*batch, hidden_size)`."""
        return zeros((*lanes(batch), len(self.recurrent)), dtype)

    def __call__(
        self, x: Float[Array, "*batch in"], h: Float[Array, "*batch n"]
    ) -> tuple[Float[Array, "*batch n"], Float[Array, "*batch n"]]:
        """One step: h as the output, and as the new state."""
        check_lanes(self, x, h, self.into.weight.shape[1], self.into.weight.shape[0])
        h = self.activation(self.into(x) + self.recurrent * h)
        return h, h


class MGUCell(eqx.Module):
    r"""The minimal gated unit: one gate.

    $$f = \sigma(W_f x + U_f h + b_f), \qquad \tilde h = \tanh(W x + U (f \circ h) + b), \qquad
    h \leftarrow (1 - f) \circ h + f \circ \tilde h$$

    **Arguments**

    - `in_size`, `hidden_size`: how many inputs and units there are.
    - `key`: for the weights. Those of inputs have variance `1 / in_size`, recurrent ones are orthogonal.

    Source: Zhou et al., "Minimal gated unit for recurrent neural networks", International Journal of Automation and
    Computing 2016, equations 8 to 10.
    """

    gate_into: Projection
    gate_recurrent: Float[Array, "n n"]
    into: Projection
    recurrent: Float[Array, "n n"]

    def __init__(self, in_size: int, hidden_size: int, *, key: PRNGKeyArray) -> None:
        gate_into, gate_recurrent, into, recurrent = jax.random.split(as_key(key), 4)
        self.gate_into = Projection(in_size, hidden_size, key=gate_into)
        self.gate_recurrent = orthogonal(hidden_size, gate_recurrent)
        self.into = Projection(in_size, hidden_size, key=into)
        self.recurrent = orthogonal(hidden_size, recurrent)

    def init_state(self, batch: int | tuple[int, ...] = (), dtype: DTypeLike | None = None) -> Float[Array, "*batch n"]:
        """h = 0, in an array of shape `(*batch, hidden_size)`."""
        return zeros((*lanes(batch), len(self.recurrent)), dtype)

    def __call__(
        self, x: Float[Array, "*batch in"], h: Float[Array, "*batch n"]
    ) -> tuple[Float[Array, "*batch n"], Float[Array, "*batch n"]]:
        """One step: h as the output, and as the new state."""
        check_lanes(self, x, h, self.into.weight.shape[1], self.into.weight.shape[0])
        f = jax.nn.sigmoid(self.gate_into(x) + h @ self.gate_recurrent.T)
        new = jnp.tanh(self.into(x) + (f * h) @ self.recurrent.T)
        h = (1 - f) * h + f * new
        return h, h


class MinGRUCell(eqx.Module):
    r"""The minimal GRU: its gate and its candidate hear the input alone.

    $$z = \sigma(W_z x + b_z), \qquad h \leftarrow (1 - z) \circ h + z \circ (W x + b)$$

    So by position nothing is dropped: `DRTRL()` is exact.

    **Arguments**

    - `in_size`, `hidden_size`: how many inputs and units there are.
    - `key`: for the weights, of variance `1 / in_size`.

    Source: Feng et al., "Were RNNs all we needed?", 2024, section 3.1.
    """

    gate: Projection
    into: Projection

    def __init__(self, in_size: int, hidden_size: int, *, key: PRNGKeyArray) -> None:
        gate, into = jax.random.split(as_key(key))
        self.gate = Projection(in_size, hidden_size, key=gate)
        self.into = Projection(in_size, hidden_size, key=into)

    def init_state(self, batch: int | tuple[int, ...] = (), dtype: DTypeLike | None = None) -> Float[Array, "*batch n"]:
        """h = 0, in an array of shape `(*batch, hidden_size)`."""
        return zeros((*lanes(batch), len(self.into.weight)), dtype)

    def __call__(
        self, x: Float[Array, "*batch in"], h: Float[Array, "*batch n"]
    ) -> tuple[Float[Array, "*batch n"], Float[Array, "*batch n"]]:
        """One step: h as the output, and as the new state."""
        check_lanes(self, x, h, self.into.weight.shape[1], self.into.weight.shape[0])
        z = jax.nn.sigmoid(self.gate(x))
        h = (1 - z) * h + z * self.into(x)
        return h, h


class MinLSTMCell(eqx.Module):
    r"""The minimal LSTM: its gates and its candidate hear the input alone, and the gates share what there is.

    $$f = \sigma(W_f x + b_f), \quad i = \sigma(W_i x + b_i), \qquad
    h \leftarrow \frac{f}{f + i} \circ h + \frac{i}{f + i} \circ (W x + b)$$

    So by position nothing is dropped: `DRTRL()` is exact.

    **Arguments**

    - `in_size`, `hidden_size`: how many inputs and units there are.
    - `key`: for the weights, of variance `1 / in_size`.

    Source: Feng et al., "Were RNNs all we needed?", 2024, section 3.2.
    """

    forget: Projection
    admit: Projection
    into: Projection

    def __init__(self, in_size: int, hidden_size: int, *, key: PRNGKeyArray) -> None:
        forget, admit, into = jax.random.split(as_key(key), 3)
        self.forget = Projection(in_size, hidden_size, key=forget)
        self.admit = Projection(in_size, hidden_size, key=admit)
        self.into = Projection(in_size, hidden_size, key=into)

    def init_state(self, batch: int | tuple[int, ...] = (), dtype: DTypeLike | None = None) -> Float[Array, "*batch n"]:
        """h = 0, in an array of shape `(*batch, hidden_size)`."""
        return zeros((*lanes(batch), len(self.into.weight)), dtype)

    def __call__(
        self, x: Float[Array, "*batch in"], h: Float[Array, "*batch n"]
    ) -> tuple[Float[Array, "*batch n"], Float[Array, "*batch n"]]:
        """One step: h as the output, and as the new state."""
        check_lanes(self, x, h, self.into.weight.shape[1], self.into.weight.shape[0])
        # f / (f + i) as a sigmoid of log f - log i: two gates that are shut do not make 0 / 0.
        kept = jax.nn.sigmoid(jax.nn.log_sigmoid(self.forget(x)) - jax.nn.log_sigmoid(self.admit(x)))
        h = kept * h + (1 - kept) * self.into(x)
        return h, h


def _function(activation: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """An activation, and not its name."""
    if isinstance(activation, type) or not callable(activation):
        raise TypeError(f"`activation` is {in_words(activation)}; it must be a function such as `jnp.tanh`.")
    return activation

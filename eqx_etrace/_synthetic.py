"""Synthetic gradients: credit from the future, guessed from the state."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree


class SyntheticGradient(eqx.Module):
    r"""A linear guess of what all later losses owe to a state.

    $$c(h) = A h + b \approx \sum_{k > t} \frac{d \ell_k}{d h_t}$$

    It starts at zero, which is BPTT truncated after one step, and is learned while it is used: by
    `synthetic_value_and_grad`.

    **Arguments**

    - `state`: a state of the step, of which shapes and dtypes are read; all its inexact arrays in one precision. For a
      batch make one from the state of one lane, and map over lanes with `jax.vmap`.
    """

    weight: Float[Array, "n n"]
    bias: Float[Array, " n"]

    def __init__(self, state: PyTree):
        flat, _ = _flat(state)
        self.weight, self.bias = jnp.zeros((flat.size, flat.size), flat.dtype), jnp.zeros_like(flat)

    def __call__(self, state: PyTree) -> PyTree:
        """A cotangent of the state: its inexact arrays, None elsewhere."""
        flat, back = _flat(state)
        if flat.size != self.bias.size:
            raise ValueError(
                f"The state has {flat.size} numbers, and this guess was made for {self.bias.size}. Make one for this "
                "state: `SyntheticGradient(state)`."
            )
        return back(self.weight @ flat + self.bias)


def _flat(state: PyTree) -> tuple[Float[Array, " n"], Callable[[Array], PyTree]]:
    arrays = eqx.filter(state, eqx.is_inexact_array)
    leaves = jax.tree.leaves(arrays)
    dtypes = {leaf.dtype for leaf in leaves}
    if len(dtypes) != 1 or not jnp.issubdtype(next(iter(dtypes)), jnp.floating):
        held = ", ".join(sorted(map(str, dtypes))) or "no inexact arrays"
        raise TypeError(f"The state holds {held}; a synthetic gradient needs real numbers of one dtype.")
    return ravel_pytree(arrays)


def synthetic_value_and_grad(loss_step: Callable[..., Any]) -> Callable[..., Any]:
    r"""Online gradients without a trace: the future's credit is guessed, and the guess learns from the next one.

        learner = SyntheticGradient(state)
        step = synthetic_value_and_grad(loss_step)
        (loss, (grads, on_learner)), state = step(model, learner, state, x, y)

    With $c$ the guess, one step from $h_0$ to $h_1$ gives

    $$\frac{d \ell}{d \theta} + c(h_1) \frac{d h_1}{d \theta}, \qquad
      c(h_0) \to \frac{d \ell}{d h_0} + c(h_1) \frac{d h_1}{d h_0} :$$

    the gradient of the model, and what the guess at the old state should have been; `on_learner` is the gradient of
    half the squared distance to that, which is held fixed. Memory and time are those of one step and of the guess.
    Where the guess is right the sum of gradients over many steps is that of BPTT. Reset the state inside the step where
    an episode ends (`h = jnp.where(done, 0, h)`): then nothing is guessed across the end.

    **Arguments**

    - `loss_step`: `loss_step(model, state, *inputs) -> (loss, new_state)`, pure; the loss is a real scalar.

    **Returns** `f(model, learner, state, *inputs) -> ((loss, (grads, learner_grads)), new_state)`.

    Source: Jaderberg et al., "Decoupled neural interfaces using synthetic gradients", ICML 2017, with the bootstrapped
    target of section 2.1; as an online rule in Marschall et al., "A unified framework of online learning algorithms for
    training recurrent neural networks", JMLR 2020.
    """

    def run(model: PyTree, learner: SyntheticGradient, state: PyTree, *inputs: Any) -> Any:
        _check_learner(learner)
        trained, rest = eqx.partition(model, eqx.is_inexact_array)
        moving, still = eqx.partition(state, eqx.is_inexact_array)

        def one(trained: PyTree, moving: PyTree) -> tuple[tuple[Array, PyTree], PyTree]:
            loss, new = loss_step(eqx.combine(trained, rest), eqx.combine(moving, still), *inputs)
            _check_loss(loss)
            new_moving, new_still = eqx.partition(new, eqx.is_inexact_array)
            return (loss, new_moving), new_still

        (loss, new_moving), pull, new_still = jax.vjp(one, trained, moving, has_aux=True)
        grads, wanted = pull((jnp.ones_like(loss), jax.lax.stop_gradient(learner(new_moving))))

        def distance(learner: SyntheticGradient) -> Array:
            (guessed, _), (target, _) = map(ravel_pytree, (learner(moving), wanted))
            return jnp.sum((guessed - target) ** 2) / 2

        return (loss, (grads, jax.grad(distance)(learner))), eqx.combine(new_moving, new_still)

    return run


def _check_learner(learner: Any) -> None:
    if not isinstance(learner, SyntheticGradient):
        raise TypeError(
            f"The second argument is `{type(learner).__name__}`; it must be a `SyntheticGradient(state)`. The "
            "arguments are `(model, learner, state, *inputs)`."
        )


def _check_loss(loss: Any) -> None:
    if jnp.shape(loss) != () or not jnp.issubdtype(jnp.result_type(loss), jnp.floating):
        raise TypeError(
            f"The loss must be a real scalar; it has shape {jnp.shape(loss)} and dtype {jnp.result_type(loss)}. Reduce "
            "it, for example with `jnp.mean`."
        )

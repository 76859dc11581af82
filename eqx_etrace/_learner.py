"""The loop around an online gradient: an optimiser's update every step, or every few."""

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, PyTree

from ._given import check_one_flag, in_words
from ._grad import ETraceGrad
from ._sharding import scan
from ._spend import check_inputs, ETrace, time_steps


class Learning(NamedTuple):
    """All that an `OnlineLearner` carries from step to step: a pytree, to be saved, mapped over or looked into."""

    model: PyTree
    state: PyTree
    trace: ETrace
    moments: PyTree
    """What the optimiser remembers."""


@runtime_checkable
class _Optimiser(Protocol):
    """What Optax calls a `GradientTransformation`."""

    @property
    def init(self) -> Any: ...

    @property
    def update(self) -> Any: ...


class OnlineLearner(eqx.Module):
    """Online gradients and an optimiser, in one loop.

        online = etrace_value_and_grad(loss_step, DRTRL())
        learner = OnlineLearner(online, optax.adam(1e-3))
        learning = learner.init(model, state, xs[0], ys[0])
        learning, losses = eqx.filter_jit(learner.scan)(learning, xs, ys)  # an update at every step

        for learning, losses in tqdm(learner.chunks(learning, xs, ys, steps=1000)):
            ...  # look, log, save, stop: `learning.model` is the latest

    Everything but `chunks` is pure, and may be inside `jax.jit`, `jax.vmap` over seeds, and `jax.grad`.

    **Arguments**

    - `online`: what `etrace_value_and_grad` returns.
    - `optimiser`: of Optax, or any pair of `init(params)` and `update(grads, moments, params)`. Gradients of complex
      parameters are conjugated for it, as Optax asks: steps against them go down.
    - `every`: how many steps make an update, by the gradient of the sum of their losses. 1 is online learning. None
      is one update for each call of `scan`, as for a batch of sequences. How many of them are differentiated exactly
      is another question: that is the window of `online`, 1 if it was not told.

    **Raises** `TypeError` or `ValueError` for a transform without the loss, an optimiser that is none, an `every` that
    counts no steps or does not divide a sequence.
    """

    online: ETraceGrad
    optimiser: Any
    every: int | None = eqx.field(default=1, static=True)

    def __check_init__(self) -> None:
        if not isinstance(self.online, ETraceGrad) or not self.online.with_value:
            found = "etrace_grad(...)" if isinstance(self.online, ETraceGrad) else f"a `{type(self.online).__name__}`"
            raise TypeError(
                f"`online` must be what `etrace_value_and_grad` returns; found {found}. The order is "
                "`OnlineLearner(online, optimiser)`."
            )
        if isinstance(self.optimiser, type) or not isinstance(self.optimiser, _Optimiser):
            advice = " Call it: an optimiser is what it returns." if callable(self.optimiser) else ""
            raise TypeError(
                "`optimiser` must have `init` and `update`, as `optax.adam(1e-3)` has; found "
                f"{in_words(self.optimiser)}.{advice}"
            )
        if self.every is not None:
            _check_every(self.every, self.online.window)

    def init(self, model: PyTree, state: PyTree, *inputs: Any) -> Learning:
        """Before the first step: traces that are empty, an optimiser that has seen nothing. Inputs are of one step."""
        trace = self.online.init(model, state, *inputs)
        return Learning(model, state, trace, self.optimiser.init(eqx.filter(model, eqx.is_inexact_array)))

    def restart(self, learning: Learning, state: PyTree, where: Bool[Array, ""] | bool = True) -> Learning:
        """The same model and moments, another state, and traces that are empty: a new sequence.

        Random keys, which are the arrays of uint32 in a trace, go on: every sequence has signs of its own.

        **Arguments**

        - `state`: where the new sequence starts.
        - `where`: False goes on as it was. It may be traced, as in `learner.restart(learning, fresh, done)` inside a
          scan, and under `jax.vmap` for learners side by side.

        **Raises** `ValueError` for a state of another structure or other shapes: a trace is of a fixed batch.
        `TypeError` or `ValueError` for a `where` that is not one flag.
        """
        _check_learning(learning)
        check_one_flag("where", where)
        if _shapes(state) != _shapes(learning.state):
            raise ValueError(
                f"The state has {_shown(state)}, the one before {_shown(learning.state)}. A trace is for states of one "
                "structure and fixed shapes, the batch included: begin anew with `init`."
            )
        if where is not True:
            state = jax.tree.map(lambda new, old: _chosen(where, new, old), state, learning.state)
        return learning._replace(state=state, trace=learning.trace.emptied(where))

    def __call__(self, learning: Learning, *inputs: Any) -> tuple[Learning, Any]:
        """One step and one update: what to carry on, and the loss (with `has_aux`, the loss and the auxiliary output).

        **Raises** `ValueError` where an update takes more steps than one.
        """
        if self.every != 1:
            raise ValueError(f"A call sees one step, and this learner has `every={self.every}`. Pass many to `.scan`.")
        _check_learning(learning)
        (value, grads), state, trace = self.online(learning.model, learning.state, learning.trace, *inputs)
        return self._updated(learning, grads, state, trace), value

    def scan(self, learning: Learning, *inputs: Any) -> tuple[Learning, Any]:
        """Many steps: what to carry on, and the losses of all steps.

        **Arguments**

        - `inputs`: every array among them has a leading time axis, of one length, which `every` divides.

        **Returns** the new `Learning`, and the losses (with `has_aux`, losses and auxiliary outputs) along time.
        """
        _check_learning(learning)
        length = time_steps(inputs)
        every = length if self.every is None else self.every
        self._check_length(f"The inputs have {length} steps", length)
        if every == length:
            return self._stretch(learning, inputs)
        arrays, rest = eqx.partition(inputs, eqx.is_array)
        if every > 1:
            arrays = jax.tree.map(lambda x: x.reshape(length // every, every, *x.shape[1:]), arrays)
        carried, fixed = eqx.partition(learning, eqx.is_array)
        first = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), eqx.filter(inputs, eqx.is_array))
        check_inputs(learning.trace.inputs, eqx.combine(first, rest), self.online.loss_step, length)

        def body(carried: PyTree, now: PyTree) -> tuple[PyTree, Any]:
            learn = self._stretch if every > 1 else self._step
            after, value = learn(eqx.combine(carried, fixed), eqx.combine(now, rest))
            return eqx.filter(after, eqx.is_array), value

        carried, values = scan(body, carried, arrays)
        if every > 1:
            values = jax.tree.map(lambda v: v.reshape(length, *v.shape[2:]), values)
        return eqx.combine(carried, fixed), values

    def chunks(self, learning: Learning, *inputs: Any, steps: int) -> "Chunks":
        """The same as `scan` in pieces, compiled, to be gone through in Python: `(learning, losses)` after each.

        It has a length, so that `tqdm(learner.chunks(...))` knows how far it is. The last piece may be shorter.

        **Arguments**

        - `inputs`: as those of `scan`.
        - `steps`: how many steps make a piece; `every` divides it, and all steps together.

        **Raises** `ValueError` for pieces, or a last piece, that `every` does not divide.
        """
        _check_learning(learning)
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
            raise ValueError(f"`steps` is {steps!r}; it counts the steps of a piece, at least 1.")
        length = time_steps(inputs)
        self._check_length(f"A piece has {steps} steps", steps)
        self._check_length(f"The inputs have {length} steps", length)
        return Chunks(self, learning, inputs, steps)

    def _check_length(self, found: str, length: int) -> None:
        left = 0 if self.every is None else length % self.every
        if left:
            raise ValueError(
                f"{found}, and an update takes {self.every}: {left} would be left over. Take {length - left}, or make "
                f"a learner with an `every` that divides {length}."
            )

    def _step(self, learning: Learning, inputs: tuple[Any, ...]) -> tuple[Learning, Any]:
        return self(learning, *inputs)

    def _check_moments(self, params: PyTree, moments: PyTree) -> None:
        """Are they of this optimiser, and of these parameters?"""
        wanted = jax.eval_shape(self.optimiser.init, params)
        if _shapes(eqx.filter(moments, eqx.is_array)) != _shapes(eqx.filter(wanted, _has_shape)):
            raise ValueError(
                "`moments` is not what this optimiser remembers of this model: they were made by another optimiser, or "
                "for a model of other parameters, sizes or constants. Begin anew with `init`, or put "
                "`learner.optimiser.init(eqx.filter(model, eqx.is_inexact_array))` in their place."
            )

    def _stretch(self, learning: Learning, inputs: tuple[Any, ...]) -> tuple[Learning, Any]:
        """One update for all steps of `inputs`."""
        (value, grads), state, trace = self.online.scan(learning.model, learning.state, learning.trace, *inputs)
        return self._updated(learning, grads, state, trace), value

    def _updated(self, learning: Learning, grads: PyTree, state: PyTree, trace: ETrace) -> Learning:
        params, fixed = eqx.partition(learning.model, eqx.is_inexact_array)
        self._check_moments(params, learning.moments)
        downwards = jax.tree.map(jnp.conj, grads)  # JAX's gradient of a complex number is the conjugate of the way up
        updates, moments = self.optimiser.update(downwards, learning.moments, params)
        return Learning(eqx.combine(jax.tree.map(_moved, params, updates), fixed), state, trace, moments)


def _check_every(every: Any, window: int) -> None:
    if isinstance(every, bool) or not isinstance(every, int):
        raise TypeError(f"`every` is {every!r}; it counts steps and must be an integer, or None.")
    if every < 1:
        raise ValueError(f"`every` is {every}; an update needs at least 1 step.")
    if every == 1 and window > 1:
        raise ValueError(
            f"The transform has `window={window}`, but with `every=1` parameters change at every step. "
            f"Pass `every={window}` or more, or make the transform with `window=1`."
        )


def _check_learning(given: Any) -> None:
    """What a learner carries, in its place before the inputs."""
    if not isinstance(given, Learning):
        is_result = isinstance(given, tuple) and any(isinstance(part, Learning) for part in given)
        advice = " This is the pair that a learner returns: `learning, losses = ...`." if is_result else ""
        raise TypeError(
            f"The first argument is {in_words(given)}; it must be a `Learning`, which `learner.init(model, state, "
            f"*inputs)` makes, and holds model, state, trace and moments. Pass it on: `learner(learning, *inputs)`."
            f"{advice}"
        )


def _shapes(tree: PyTree) -> Any:
    return jax.tree.structure(tree), [jnp.shape(leaf) for leaf in jax.tree.leaves(tree)]


def _chosen(where: Any, new: Any, old: Any) -> Any:
    return jnp.where(where, new, old) if eqx.is_array(old) else old


def _shown(tree: PyTree) -> str:
    return ", ".join(str(list(jnp.shape(leaf))) for leaf in jax.tree.leaves(tree)) or "no arrays"


class Chunks(eqx.Module):
    """Pieces of a sequence that a learner goes through, one after the other."""

    learner: OnlineLearner
    learning: Learning
    inputs: tuple[Any, ...]
    steps: int = eqx.field(static=True)

    def __len__(self) -> int:
        """How many pieces."""
        return -(-time_steps(self.inputs) // self.steps)

    def __iter__(self) -> Iterator[tuple[Learning, Any]]:
        """Learn from one piece after the other."""
        learning = self.learning
        for begin in range(0, time_steps(self.inputs), self.steps):
            learning, values = _scan(self.learner, learning, _piece(self.inputs, slice(begin, begin + self.steps)))
            yield learning, values


def _piece(inputs: tuple[Any, ...], steps: slice) -> tuple[Any, ...]:
    return jax.tree.map(lambda x: x[steps] if eqx.is_array(x) else x, inputs)


@eqx.filter_jit
def _scan(learner: OnlineLearner, learning: Learning, inputs: tuple[Any, ...]) -> tuple[Learning, Any]:
    return learner.scan(learning, *inputs)


def _has_shape(leaf: Any) -> bool:
    return hasattr(leaf, "shape")


def _moved(param: Array, update: Array) -> Array:
    """In the dtype that it has: a scan carries no other."""
    return (param + update).astype(param.dtype)

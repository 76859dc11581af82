"""The eligibility traces that a user carries, and what they were made for."""

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
from jaxtyping import Array, Bool, Float, PyTree, UInt32

from .._carry import NoTrace
from .._given import check_one_flag, in_words
from .._read import Step
from ._inputs import arrays_of, values_of


class ETrace(eqx.Module):
    """The eligibility traces of a graph under a rule: a pytree of arrays, carried by the user like the state.

    Make one with `.init`. Batch, donate, checkpoint and shard it like any other pytree.
    """

    values: tuple[PyTree[Array], ...]
    """One entry for each place where a trace is kept: each effective weight that enters a hidden group, or each source
    of an influence on blocks."""
    made_for_step_and_rule: tuple[Float[Array, "_"], ...]
    """Zeros, whose lengths are a fingerprint of `owner` and `inputs`: a file holds arrays alone, and loading it checks
    their shapes."""
    owner: tuple[str, ...] = eqx.field(static=True)
    """Which relation and rule each entry belongs to."""
    inputs: tuple[str, ...] = eqx.field(static=True)
    """The inputs of one step that it was made for."""
    meanings: tuple[str, ...] = eqx.field(static=True)
    """For each entry, a digest of how its weight is made of the parameters, and of where that enters."""
    closed_over: tuple[UInt32[Array, ""], ...] = ()
    """A fingerprint of the arrays that the step closes over and weights are made of; nothing if there are none."""

    def holding(self, values: tuple[PyTree[Array], ...]) -> "ETrace":
        """The same traces with other values."""
        return ETrace(values, self.made_for_step_and_rule, self.owner, self.inputs, self.meanings, self.closed_over)

    def emptied(self, where: Bool[Array, ""] | bool = True) -> "ETrace":
        """The same traces without their past, for a new sequence; if `where` is False, as they are.

        Random keys, which are the arrays of uint32, go on: every sequence has signs of its own. Of lanes that were made
        by `jax.vmap` around the transform, `jax.vmap(ETrace.emptied)(traces, done)` empties those that are done.

        **Raises** `TypeError` or `ValueError` for a `where` that is not one flag.
        """
        check_one_flag("where", where)

        def one(e: Array) -> Array:
            return e if e.dtype == jnp.uint32 else jnp.where(where, jnp.zeros_like(e), e)

        return self.holding(jax.tree.map(one, self.values))


def check_trace(trace: Any, *before: Any) -> None:
    """An `ETrace`, in its place among the arguments, of which these come before it."""
    if not isinstance(trace, ETrace):
        raise TypeError(
            f"The third argument must be an `ETrace` made by `.init`; found {in_words(trace)}. "
            f"The arguments are `(model, state, trace, *inputs)`.{_mistaken(trace, before)}"
        )


def _mistaken(found: Any, before: tuple[Any, ...]) -> str:
    """What was probably done, where something else stands in the place of a trace."""
    place = next((i for i, one in enumerate(before) if isinstance(one, ETrace)), None)
    if place is not None:
        return f" The trace is {('first', 'second')[place]} here."
    if isinstance(found, tuple) and any(isinstance(one, ETrace) for one in found):
        return " This is all that a call returns: take it apart, `gradients, state, trace = online(...)`."
    return " Was it left out?" if eqx.is_array(found) else ""


def check_no_trace(given: tuple[Any, ...]) -> None:
    """What makes a trace takes none."""
    if any(isinstance(one, ETrace) for one in given):
        raise TypeError(
            "`.init` makes an `ETrace` and takes none, and one is among its arguments. They are `(model, state, "
            "*inputs)`, with the inputs of one step."
        )


@dataclasses.dataclass(frozen=True)
class Purpose:
    """What a trace is made for: the traces of some rules, and inputs of some shapes."""

    owner: tuple[str, ...]
    inputs: tuple[str, ...]
    meanings: tuple[str, ...]

    def trace(
        self, values: tuple[PyTree[Array], ...], dtype: np.dtype, closed_over: tuple[UInt32[Array, ""], ...]
    ) -> ETrace:
        """A trace that is made for it."""
        return ETrace(values, self._fingerprint(dtype), self.owner, self.inputs, self.meanings, closed_over)

    def _fingerprint(self, dtype: np.dtype) -> tuple[Array, ...]:
        """Five arrays of 1 to 64 zeros: by chance the same of two traces in a billion."""
        digest = hashlib.sha256(repr((self.owner, self.inputs)).encode()).digest()
        return tuple(jnp.zeros(1 + byte % 64, dtype) for byte in digest[:5])

    def check(self, trace: ETrace, wanted: Sequence[tuple[str, PyTree]]) -> None:
        """Is this trace made for it? `wanted` are the titles of what is kept, and the arrays of it."""
        if trace.owner != self.owner:
            raise ValueError(f"This trace belongs to another graph or rule. {self._difference(trace)} {_MAKE_ONE}")
        if trace.inputs != self.inputs:
            raise ValueError(
                f"The inputs of one step are {', '.join(self.inputs) or 'none'} here, but this trace was made for "
                f"{', '.join(trace.inputs) or 'none'}. {self._advice(trace)}"
            )
        for (title, arrays), held in zip(wanted, trace.values, strict=True):
            if not _same_arrays(held, arrays):
                raise ValueError(
                    f"The trace of {title} belongs to another graph: it holds {_show(held)}, this step needs "
                    f"{_show(arrays)}. {_MAKE_ONE} If only what the step closes over has changed, pass it as an input."
                )
        for (title, _), held, mine in zip(wanted, trace.meanings, self.meanings, strict=True):
            if held != mine:
                raise ValueError(
                    f"The trace of {title} was made for a step that makes another weight of the same parameters, or "
                    "adds it to other units: a number or an index that stands in the step is another one there. Pass "
                    "what changes from call to call as an array among the inputs: `step(model, state, *inputs)`."
                )

    def _advice(self, trace: ETrace) -> str:
        differ = set(self.inputs) ^ set(trace.inputs)
        if any(" = " in name for name in differ):
            return (
                "What is no array is part of the step, and what weights become by it is part of the trace. Pass what "
                "changes from call to call as an array (`jnp.asarray`)."
            )
        if any(name.startswith(_CLOSED_OVER) for name in differ):
            return (
                "What the step closes over is an array in one place and a number in another. Pass what changes from "
                "call to call as an input."
            )
        return (
            "A trace is for inputs of fixed shapes, the size of the batch included: make one for these with "
            "`.init(model, state, *inputs)`, or pass inputs of those shapes."
        )

    def _difference(self, trace: ETrace) -> str:
        made, used = _rules(trace.owner), _rules(self.owner)
        if made != used:
            is_traced = ["[]" in rules for rules in (made, used)]
            hint = " A traced number is not a known one: make the trace where it is traced, too."
            return f"It was made under {made}; this is {used}.{hint if is_traced[0] != is_traced[1] else ''}"
        theirs, ours = _only_in(trace.owner, self.owner), _only_in(self.owner, trace.owner)
        hint = " (`jax.jit` makes an array, which is trained, of a Python number in a dict or a list of the model.)"
        return f"It holds {theirs}, where this step needs {ours}.{hint if theirs == 'nothing else' else ''}"


_CLOSED_OVER = "closed over"
_MAKE_ONE = "Make a trace for this step and rule with `.init(model, state, *inputs)`."


def inputs_of(step: Step) -> tuple[str, ...]:
    """The inputs of one step by name: the shapes of arrays, and the values of what is no array."""
    read = [f"{_CLOSED_OVER} {list(step.program.shape(var))}" for var in sorted(step.read_as_data)]
    given = (*arrays_of(step.inputs), *values_of("input", step.inputs))
    return (*given, *values_of("state", step.state), *read)


def _kept(owner: tuple[str, ...]) -> list[str]:
    """Without what the rule keeps no trace of, if it keeps any."""
    return [title for title in owner if not title.endswith(f" by {NoTrace()}")] or list(owner)


def _only_in(first: tuple[str, ...], second: tuple[str, ...]) -> str:
    return "; ".join(dict.fromkeys(title for title in _kept(first) if title not in second)) or "nothing else"


def _rules(owner: tuple[str, ...]) -> str:
    return " and ".join(sorted({title.rpartition(" by ")[2] for title in _kept(owner)})) or "no rule"


def _leaves(tree: PyTree) -> list[tuple[tuple[int, ...], str]]:
    return [(tuple(x.shape), str(x.dtype)) for x in jtu.tree_leaves(tree)]


def check_kept(method: str, before: PyTree, after: PyTree) -> None:
    """Has what a rule's method gives the structure, the shapes and the dtypes of what it was given?"""
    if not _same_arrays(after, before):
        raise TypeError(
            f"`{method}` must return a trace like the one it is given, {_show(before)} in the same structure; it "
            f"returned {_show(after)}."
        )


def _same_arrays(held: PyTree, wanted: PyTree) -> bool:
    return jtu.tree_structure(held) == jtu.tree_structure(wanted) and _leaves(held) == _leaves(wanted)


def _show(tree: PyTree) -> str:
    return " and ".join(f"{dtype}{list(shape)}" for shape, dtype in _leaves(tree)) or "nothing"

"""What to do about a step that failed while it was traced. Nothing here runs where it does not fail."""

import contextlib
import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jaxtyping import PyTree

from ..._source import definition_line
from ._check import describe
from ._pytree import Layout

_TRACED = (
    (
        jax.errors.TracerArrayConversionError,
        "NumPy takes no traced values: call the function of that name in `jax.numpy`.",
    ),
    (
        (jax.errors.ConcretizationTypeError, jax.errors.NonConcreteBooleanIndexError),
        "A step is traced, so that no value is known inside. Choose by `jnp.where(condition, a, b)` or `jax.lax.cond` "
        "in place of `if`, print by `jax.debug.print`, and let numbers stay arrays: no `float(x)`, no `x.item()`.",
    ),
)


def hints(
    run: Callable[..., Any],
    step: Callable[..., Any],
    error: Exception,
    model: PyTree,
    state: PyTree,
    inputs: tuple[Any, ...],
) -> Iterator[str]:
    """What to do, as far as it can be told by trying: the error is that of `run`, which traces `step`."""
    yield from _of_traced_values(error)
    takes = _takes_others(step, 2 + len(inputs))
    if takes:
        yield takes
        return
    if _runs(run, state, model, inputs):
        yield "It runs with its first two arguments the other way round: pass `(model, state, *inputs)`, in this order."
    yield from _lists(inputs)
    axes = list(_axis_too_many(run, model, state, inputs))
    yield from axes
    if not axes and re.search("shape|dimension|broadcast", str(error)):
        yield (
            "Where arrays do not fit, one of them has another size than the model, whose arrays are "
            f"{describe(Layout.of(model))}. Make state and inputs for these sizes."
        )


def _of_traced_values(error: Exception) -> Iterator[str]:
    """What to do about an error of JAX that says by its kind what was done with a traced value."""
    return (advice for kind, advice in _TRACED if isinstance(error, kind))


def _takes_others(step: Callable[..., Any], count: int) -> str:
    """What to say of a step that takes another number of arguments."""
    try:
        signature = inspect.signature(step)
    except (TypeError, ValueError):  # a builtin has none
        return ""
    try:
        signature.bind(*range(count))
    except TypeError:
        inputs = f"{count - 2} input{'s' * (count != 3)}"
        return (
            f"A step takes `(model, state, *inputs)`; this one takes `({_names(signature)})`, and was called with "
            f"model, state and {inputs}. Pass as many inputs as it takes, to `init` and to every call. (What takes one "
            "argument alone, as a layer does, is no step: write a function that calls it.)"
        )
    return ""


def _names(signature: inspect.Signature) -> str:
    """Of the parameters, without their types."""
    bare = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()]
    return str(inspect.Signature(bare))[1:-1]


@contextlib.contextmanager
def naming_leaks(step: Callable[..., Any]) -> Iterator[None]:
    """What was kept of an earlier call is found wherever it is used: say so."""
    try:
        yield
    except jax.errors.UnexpectedTracerError as error:
        error.add_note(
            f"The step {definition_line(step)} uses a value that was kept outside of it in an earlier call (in a list, "
            "a global, `self`). What a step remembers goes in as its second argument and comes out second: "
            "`step(model, state, *inputs) -> (out, new_state)`."
        )
        raise


def _lists(inputs: tuple[Any, ...]) -> Iterator[str]:
    for i, given in enumerate(inputs):
        if _is_list_of_numbers(given):
            yield (
                f"inputs[{i}] is a {type(given).__name__} of {len(given)} numbers, which JAX takes for as many inputs. "
                "Make it an array: `jnp.asarray(x)`."
            )


def _is_list_of_numbers(given: Any) -> bool:
    is_listed = isinstance(given, list | tuple) and len(given) > 0 and jtu.all_leaves(given)
    return is_listed and all(jnp.shape(x) == () for x in given)


def _axis_too_many(run: Callable[..., Any], model: PyTree, state: PyTree, inputs: tuple[Any, ...]) -> Iterator[str]:
    """What to do about a step that fails, if it runs without the leading axis of its inputs."""
    length = _leading_axis(inputs)
    if length is None:
        return
    # A batch first: where the state is one, inputs without that axis are often broadcast to it.
    if _leading_axis(state) == length and _runs(run, model, _without_axis(state), _without_axis(inputs)):
        yield (
            f"It runs without the leading axis of its inputs and its state, of length {length}. If that is a batch, "
            "map over it with `jax.vmap`, inside the step or around the transform."
        )
    elif _runs(run, model, state, _without_axis(inputs)):
        yield (
            f"It runs on inputs without their leading axis, of length {length}. Did you mean `.scan`, which takes a "
            "sequence? A call takes the inputs of one step. (If that axis is a batch, the state must have one of that "
            "length, too; map over both with `jax.vmap`.)"
        )


def _leading_axis(tree: PyTree) -> int | None:
    """The length of the first axis of every array, if they share one."""
    shapes = {array.shape[:1] for array in Layout.of(tree).arrays if array is not None}
    return next(iter(shapes))[0] if len(shapes) == 1 and () not in shapes else None


def _without_axis(tree: PyTree) -> PyTree:
    layout = Layout.of(tree)
    leaves = [
        static if array is None else jax.ShapeDtypeStruct(array.shape[1:], array.dtype)
        for array, static in zip(layout.arrays, layout.static, strict=True)
    ]
    return jtu.tree_unflatten(layout.treedef, leaves)


def _runs(run: Callable[..., Any], *arguments: Any) -> bool:
    try:
        eqx.filter_eval_shape(run, *arguments)
    except Exception:  # whatever a user's step may raise
        return False
    return True

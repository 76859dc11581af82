"""The user's step, staged: which variables are parameters, hidden states, inputs and outputs.

`step(model, state, *inputs) -> (out, new_state)` takes arbitrary pytrees; what is staged is a function of their arrays.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from ... import _source
from ..program import flatten, Links, Program, with_fresh_outputs, without_derivative
from ._check import check_arguments, check_numbers, check_pair, check_returned, check_trained, describe, stands
from ._hints import hints
from ._leaves import check_leaves
from ._pytree import Layout


@dataclasses.dataclass(frozen=True)
class Step:
    """A staged step. The fields from `parameters` on are variables of `program`."""

    program: Program
    model: Layout
    state: Layout
    inputs: Layout
    out: Layout
    aux: Layout
    """What the step returns beside its output, without derivatives."""
    parameters: tuple[int, ...]
    model_rest: tuple[int, ...]
    states: tuple[int, ...]
    """Real, as the new ones: a complex array of the state gives two."""
    states_rest: tuple[int, ...]
    inputs_inexact: tuple[int, ...]
    inputs_rest: tuple[int, ...]
    out_inexact: tuple[int, ...]
    out_rest: tuple[int, ...]
    aux_inexact: tuple[int, ...]
    aux_rest: tuple[int, ...]
    new_states: tuple[int, ...]
    new_states_rest: tuple[int, ...]
    wholes: tuple[int, ...]
    """For every new state, the array that it is a part of: mostly itself."""
    read_as_data: Mapping[int, Any] = dataclasses.field(default_factory=dict)
    """What it closes over, by variable, and may be another array in another call."""
    where: str = ""
    """Its name, and the line of its definition."""
    closes_over: tuple[str, ...] = ()
    """The names of the user's that it closes over."""
    is_still: bool = False
    """Does it return the state that it was given?"""
    pulls_state: bool = False
    """May the new state get a cotangent beside the output? Then credit into all of it counts."""

    @property
    def pulled(self) -> tuple[int, ...]:
        """What may get a cotangent."""
        return (*self.out_inexact, *self.new_states) if self.pulls_state else self.out_inexact

    @property
    def still(self) -> frozenset[int]:
        """The states that carry credit of no parameter, by number: nothing differentiates by them, BPTT neither."""
        return frozenset(leaf for leaf, var in enumerate(self.states) if not self.program.is_moved(var))

    def check_trained(self) -> None:
        """Is there something to learn: is the model read, does the state change?"""
        used = set(self.program.outputs).union(*(eqn.inputs for eqn in self.program.equations))
        is_used = not used.isdisjoint(self.parameters)
        check_trained(self.where, is_used, self.is_still, self.model, self.closes_over)

    @property
    def starts(self) -> tuple[int, ...]:
        """What credit starts at: the parameters, then the states. Each has a bit, in this order."""
        return (*self.parameters, *self.states)

    def state_bits(self, leaves: Iterable[int]) -> int:
        """The bits of these states."""
        return sum(1 << (len(self.parameters) + leaf) for leaf in leaves)

    def reading(self, constants: Collection[int]) -> "Step":
        """The same step, these of its constants being data."""
        kept = {var: value for var, value in self.program.constants.items() if var not in constants}
        data = {**self.read_as_data, **{var: self.program.constants[var] for var in constants}}
        return dataclasses.replace(self, program=dataclasses.replace(self.program, constants=kept), read_as_data=data)

    def without_credit_from(self, leaves: Collection[int]) -> "Step":
        """The same step, not differentiated by these of its old states."""
        assert self.program.moved is not None
        moved = self.program.moved.difference(self.states[leaf] for leaf in leaves)
        return dataclasses.replace(self, program=dataclasses.replace(self.program, moved=moved))

    def without_credit_into(self, leaves: Sequence[int]) -> "Step":
        """The same step, no derivative reaching these of its new states."""
        start = len(self.program.outputs) - len(self.new_states) - len(self.new_states_rest)
        outputs = [start + leaf for leaf in leaves]
        program = without_derivative(self.program, outputs)
        new = {leaf: program.outputs[i] for leaf, i in zip(leaves, outputs, strict=True)}
        new_states = tuple(new.get(leaf, v) for leaf, v in enumerate(self.new_states))
        return dataclasses.replace(self, program=program, new_states=new_states)

    @property
    def is_loss(self) -> bool:
        """Is the output one real scalar?"""
        avals = [self.program.avals[v] for v in self.out_inexact]
        is_scalar = len(self.out.arrays) == 1 and [a.shape for a in avals] == [()]
        return is_scalar and jnp.issubdtype(avals[0].dtype, jnp.floating)


def _checked(
    step: Callable[..., Any], where: str, has_aux: bool, model: PyTree, state: PyTree, inputs: tuple[Any, ...]
) -> tuple[Any, Any, Any]:
    """What the step returns, `(out, aux, new_state)`, if it is what a step must return."""
    try:
        result = step(model, state, *inputs)
    except Exception as error:
        at = _source.raised_at(error)
        error.add_note(
            f"This happened{f' at {at}' if at else ''} while `eqx_etrace` traced the step {where} with state "
            f"{describe(Layout.of(state))} and inputs {describe(Layout.of(inputs))}. (Arguments come in the order "
            "`(model, state, *inputs)`.)"
        )
        raise
    out, new_state = check_pair(result, f"The step {where} must return a pair `(out, new_state)`")
    out, aux = (
        check_pair(out, f"With `has_aux` the step {where} must return `((out, aux), new_state)`")
        if has_aux
        else (out, ())
    )
    check_returned(where, state, out, new_state)
    return out, aux, new_state


def stage_step(
    step: Callable[..., Any], model: PyTree, state: PyTree, inputs: tuple[Any, ...], *, has_aux: bool = False
) -> Step:
    """Stage a step on arrays or `ShapeDtypeStruct`s. With `has_aux` its output is a pair `(out, aux)`."""
    layouts = Layout.of(model), Layout.of(state, in_halves=True), Layout.of(inputs)
    arguments = [part for lay, tree in zip(layouts, (model, state, inputs), strict=True) for part in lay.split(tree)]
    where = _source.definition_line(step)
    check_leaves(where, *layouts)
    check_arguments(where, *layouts[:2])
    check_numbers(where, model, layouts[0])
    run = functools.partial(_checked, step, where, has_aux)
    returned: list[Any] = []

    def flat(*parts: Any) -> Any:
        trees = [lay.join(*parts[2 * i : 2 * i + 2]) for i, lay in enumerate(layouts)]
        before = jax.tree.map(lambda leaf: leaf, trees[1])  # a step may write into the containers that it is given
        out, aux, new_state = run(*trees)
        returned[:] = [Layout.of(out), Layout.of(aux), stands(before, new_state)]
        return *returned[0].split(out), *returned[1].split(aux), *layouts[1].split(new_state)

    try:
        closed, shapes = jax.make_jaxpr(flat, return_shape=True)(*arguments)
    except Exception as error:
        for advice in hints(run, step, error, model, state, inputs):
            error.add_note(advice)
        raise
    program = flatten(closed, Links)
    sizes = list(map(len, shapes))
    start = sum(sizes[:4])
    program = with_fresh_outputs(program, range(start, start + sizes[4]))
    names = ("parameters", "model_rest", "states", "states_rest", "inputs_inexact", "inputs_rest")
    names += ("out_inexact", "out_rest", "aux_inexact", "aux_rest", "new_states", "new_states_rest")
    roles = [*_cut(program.inputs, list(map(len, arguments))), *_cut(program.outputs, sizes)]
    program = dataclasses.replace(program, moved=frozenset(roles[0] + roles[2]))
    out, aux, is_still = returned
    by_name = dict(zip(names, roles, strict=True))
    outside = getattr(getattr(step, "__code__", None), "co_freevars", ())
    staged = Step(program, *layouts, out, aux, **by_name, wholes=by_name["new_states"])
    return dataclasses.replace(staged, where=where, closes_over=outside, is_still=is_still)


def _cut(variables: tuple[int, ...], sizes: Sequence[int]) -> list[tuple[int, ...]]:
    left = iter(variables)
    return [tuple(itertools.islice(left, n)) for n in sizes]

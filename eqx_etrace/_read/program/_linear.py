"""Is a staged function linear in some of its inputs?

Every variable is of one kind, found from its operands, loops and branches included:

    ZERO     zero, whatever the inputs; or nowhere finite, as what takes the place of a result that failed
    FIXED    the same whatever the inputs that are asked about
    LINEAR   a linear function of them
    OTHER    could not be shown to be any of these

A sum of what is linear and of what is fixed is none of these (`x + 1`), a sum with zero is. The inputs are finite;
whether a multiple of them is finite, too, is fixed.
"""

import enum
import functools
from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from ... import _jax
from ..primitives import Flow, Runs
from ._inline import flatten
from ._program import Equation, Program
from ._propagate import propagate


class Kind(enum.IntEnum):
    """What a variable is as a function of the inputs that are asked about."""

    ZERO = 0
    FIXED = 1
    LINEAR = 2
    OTHER = 3


def kinds_of_outputs(program: Program, inputs: Sequence[Kind], *, is_known_linear: bool = False) -> list[Kind]:
    """Of a program whose inputs are of these kinds.

    With `is_known_linear`, what has no row is linear: the function is known to be linear, but for rounding.
    """

    def transfer(eqn: Equation, operands: Sequence[Kind | None]) -> list[Kind]:
        # An open jaxpr does not say what its constants are.
        return _through(program, eqn, [Kind.FIXED if kind is None else kind for kind in operands], is_known_linear)

    start = {var: _constant_kind(value) for var, value in program.constants.items()}
    start.update(zip(program.inputs, inputs, strict=True))
    kinds = propagate(program.equations, start, transfer, max)
    return [kinds.get(v, Kind.FIXED) for v in program.outputs]


def _constant_kind(value: object) -> Kind:
    if isinstance(value, Tracer) or _jax.is_key(value):
        return Kind.FIXED
    number = np.asarray(value)
    has_failed = jnp.issubdtype(number.dtype, jnp.floating) and not np.isfinite(number).any()
    return Kind.ZERO if has_failed or not number.any() else Kind.FIXED


def _through(program: Program, eqn: Equation, operands: list[Kind], is_known_linear: bool) -> list[Kind]:
    if eqn.traits.runs is not None:
        return _THROUGH[eqn.traits.runs](eqn, operands, is_known_linear)
    if eqn.traits.flow is Flow.PAIRED:
        return operands
    return [_through_operation(program, eqn, operands, is_known_linear)] * len(eqn.outputs)


def _through_operation(program: Program, eqn: Equation, operands: list[Kind], is_known_linear: bool) -> Kind:
    """Of an operation that is neither a loop nor a branch."""
    together = range(len(operands))[linear_operands(eqn)]
    hit = [i for i, kind in enumerate(operands) if kind >= Kind.LINEAR]
    if not hit:
        return Kind.ZERO if _is_zero(program, eqn, [operands[i] for i in together], operands) else Kind.FIXED
    if Kind.OTHER in operands:
        return Kind.OTHER
    if eqn.traits.asks_if_finite:
        return Kind.FIXED
    is_linear = _keeps_precision(program, eqn, hit) and _is_linear(eqn, operands, hit, together, is_known_linear)
    return Kind.LINEAR if is_linear else Kind.OTHER


def _is_linear(
    eqn: Equation, operands: list[Kind], hit: list[int], together: Sequence[int], is_known_linear: bool
) -> bool:
    """Is it linear in those that are hit, if nothing is rounded?"""
    if eqn.traits.is_multilinear:
        return len(hit) == 1
    if eqn.traits.linear is None:
        return is_known_linear
    return set(together).issuperset(hit) and all(operands[i] is Kind.ZERO for i in together if i not in hit)


def is_fixed_map(eqn: Equation, operand: int, fixed: Callable[[int], bool]) -> bool:
    """Is it a linear map of this operand, the same one whenever what is `fixed` is?"""
    together = range(len(eqn.inputs))[linear_operands(eqn)]
    if eqn.traits.runs is not None or not (eqn.traits.is_multilinear or operand in together):
        return False
    return all(fixed(eqn.inputs[i]) for i in _making_the_map(eqn, operand, together))


def _making_the_map(eqn: Equation, operand: int, together: Sequence[int]) -> list[int]:
    """The operands that say which map of this one it is: the other factors, or those that it is not linear in."""
    return [i for i in range(len(eqn.inputs)) if i != operand and (eqn.traits.is_multilinear or i not in together)]


def linear_operands(eqn: Equation) -> slice:
    """The operands that it is linear in together."""
    if eqn.params.get("fill_value"):  # what a `gather` reads out of bounds
        return slice(0)
    if eqn.traits.flow is Flow.INDEXED and eqn.params.get("update_jaxpr") is not None:  # `x.at[i].apply(f)`
        return slice(0)
    return eqn.traits.linear or slice(0)


def _is_zero(program: Program, eqn: Equation, together: list[Kind], operands: list[Kind]) -> bool:
    """Is the result zero or nowhere finite? Integers that are made of infinite numbers are finite."""
    if any(map(program.is_inexact, eqn.inputs)) and not all(map(program.is_inexact, eqn.outputs)):
        return False
    if eqn.traits.is_multilinear:
        return Kind.ZERO in operands
    return bool(together) and all(kind is Kind.ZERO for kind in together)


def _keeps_precision(program: Program, eqn: Equation, hit: list[int]) -> bool:
    """Is nothing rounded on the way?"""
    dtypes = [program.avals[eqn.inputs[i]].dtype for i in hit]
    return all(_holds(program.avals[out].dtype, dtype) for out in eqn.outputs for dtype in dtypes)


def _holds(wide: np.dtype, narrow: np.dtype) -> bool:
    """Is every number of one dtype a number of the other, both inexact?"""
    if not all(jnp.issubdtype(dtype, jnp.inexact) for dtype in (wide, narrow)):
        return False
    a, b = jnp.finfo(wide), jnp.finfo(narrow)
    return a.nmant >= b.nmant and a.maxexp >= b.maxexp


def either(first: Kind, second: Kind) -> Kind:
    """What is one or the other, and the choice is fixed."""
    if Kind.ZERO in (first, second) or first is second:
        return max(first, second)
    return Kind.OTHER


def _until_stable(carried: list[Kind], after: Callable[[list[Kind]], list[Kind]]) -> list[Kind]:
    """What is carried through a loop of any length; `after` gives it after one more round."""
    while True:
        grown = [either(a, b) for a, b in zip(carried, after(carried), strict=True)]
        if grown == carried:
            return carried
        carried = grown


def _through_scan(eqn: Equation, operands: list[Kind], is_known_linear: bool) -> list[Kind]:
    constants, carried = _jax.scan_sizes(eqn.params)
    body = flatten(eqn.params["jaxpr"], None, by_value=True)
    fixed, slices = operands[:constants], operands[constants + carried :]

    def run(carry: list[Kind]) -> list[Kind]:
        return kinds_of_outputs(body, [*fixed, *carry, *slices], is_known_linear=is_known_linear)

    carry = _until_stable(operands[constants : constants + carried], lambda carry: run(carry)[:carried])
    return [*carry, *run(carry)[carried:]]


def _through_while(eqn: Equation, operands: list[Kind], is_known_linear: bool) -> list[Kind]:
    """How often it runs must not depend on what is asked about."""
    condition, body = (flatten(eqn.params[name], None, by_value=True) for name in ("cond_jaxpr", "body_jaxpr"))
    for_condition, for_body = eqn.params["cond_nconsts"], eqn.params["body_nconsts"]
    asked, fixed = operands[:for_condition], operands[for_condition : for_condition + for_body]

    def run(carry: list[Kind]) -> list[Kind]:
        return kinds_of_outputs(body, [*fixed, *carry], is_known_linear=is_known_linear)

    carry = _until_stable(operands[for_condition + for_body :], run)
    (goes_on,) = kinds_of_outputs(condition, [*asked, *carry])
    return carry if goes_on <= Kind.FIXED else [Kind.OTHER] * len(carry)


def _through_solve(eqn: Equation, operands: list[Kind], is_known_linear: bool) -> list[Kind]:
    run, constants, first = _jax.solver(eqn.params)
    body = flatten(run, None, by_value=True)
    return kinds_of_outputs(body, operands[constants] + operands[first:], is_known_linear=is_known_linear)


def _through_cond(eqn: Equation, operands: list[Kind], is_known_linear: bool) -> list[Kind]:
    inputs = operands[1:]
    by_branch = [kinds_of_outputs(branch, inputs, is_known_linear=is_known_linear) for branch in _branches(eqn)]
    if operands[0] > Kind.FIXED:
        return [Kind.OTHER] * len(eqn.outputs)
    return [functools.reduce(either, kinds) for kinds in zip(*by_branch, strict=True)]


def _branches(eqn: Equation) -> list[Program]:
    """Those that give something; all if none does."""
    every = [flatten(branch, None, by_value=True) for branch in eqn.params["branches"]]
    return [branch for branch in every if not _only_raises(branch)] or every


def _only_raises(branch: Program) -> bool:
    """Does it give nothing but what a callback that raises would have given (`eqx.error_if`)?"""
    made = [branch.producer.get(v) for v in branch.outputs]
    return all(eqn is not None and _jax.is_callback_that_raises(eqn) for eqn in made)


_THROUGH = {
    Runs.SCAN: _through_scan,
    Runs.WHILE: _through_while,
    Runs.COND: _through_cond,
    Runs.SOLVE: _through_solve,
}

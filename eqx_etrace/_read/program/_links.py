"""The table: how each primitive links its operands to its outputs.

`Links(program)(eqn, i, j)` answers for operand i and output j: a `Link`, or None where no derivative
flows. A primitive in no table is `MIXING`, which is always right and is reported, never guessed.

Data movements need no rule: the primitive itself is run on an array of element numbers.
"""

import functools
from collections.abc import Sequence
from typing import Any, SupportsIndex

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from ... import _jax
from ._backward_rule import find_rule, Rule
from ._link import ALIGNED, indices, Link, Merged, MIXING, Moved, NONE, Positions
from ._program import Equation, flatten, Program

ELEMENTWISE = frozenset(
    _jax.primitives(
        "abs acos acosh add add_jaxvals asin asinh atan atan2 atanh bessel_i0e bessel_i1e cbrt clamp "
        "complex conj convert_element_type copy cos cosh digamma div erf erf_inv erfc exp exp2 "
        "expm1 igamma igammac imag integer_pow lgamma log log1p log2 logistic max min mul name neg nextafter "
        "one_minus_square polygamma polynomial pow real reduce_precision regularized_incomplete_beta rem rsqrt "
        "select_n sharding_constraint sign sin sinh sqrt square sub tan tanh zeta"
    )
)
STOPS = frozenset(_jax.primitives("stop_gradient"))
WITHOUT_DERIVATIVE = STOPS | frozenset(
    _jax.primitives("floor ceil round is_finite eq ne lt le gt ge and or xor not argmax argmin")
)
WITHOUT_DERIVATIVE_IF_REAL = frozenset(_jax.primitives("sign"))
"""Elementwise otherwise: JAX 0.12 differentiates the sign of a complex number, which is its phase."""
PAIRWISE = frozenset(_jax.primitives("optimization_barrier device_put"))
REDUCTIONS = frozenset(_jax.primitives("reduce_sum reduce_max reduce_min reduce_prod"))
SHAPED = {
    primitive: rule
    for name, rule in {
        "reshape": lambda a, new_sizes, dimensions, **_: a.transpose(dimensions or range(a.ndim)).reshape(new_sizes),
        "squeeze": lambda a, dimensions, **_: np.squeeze(a, dimensions),
        "transpose": lambda a, permutation, **_: a.transpose(permutation),
        "rev": lambda a, dimensions, **_: np.flip(a, dimensions),
        "tile": lambda a, reps, **_: np.tile(a, reps),
        "slice": lambda a, start_indices, limit_indices, strides, **_: a[
            tuple(map(slice, start_indices, limit_indices, strides or (None,) * a.ndim))
        ],
        "broadcast_in_dim": lambda a, shape, broadcast_dimensions, **_: np.broadcast_to(
            a.reshape(
                [a.shape[broadcast_dimensions.index(d)] if d in broadcast_dimensions else 1 for d in range(len(shape))]
            ),
            shape,
        ),
    }.items()
    for primitive in _jax.primitives(name)
}
ROUNDS = frozenset(_jax.primitives("convert_element_type reduce_precision"))
COPIES = ROUNDS | frozenset(_jax.primitives("copy"))
"""Elementwise, and the identity but for rounding."""
HALVES = _jax.primitives("real imag")
(SPLIT,) = _jax.primitives("split")
(CONCATENATE,) = _jax.primitives("concatenate")
(DOT,) = _jax.primitives("dot_general")
(TRANSPOSE,) = _jax.primitives("transpose")
(CONV,) = _jax.primitives("conv_general_dilated")
INDEXED = frozenset(_jax.primitives("dynamic_slice dynamic_update_slice gather scatter"))
JOINED = frozenset(_jax.primitives("concatenate stack pad"))
UNSTACK = frozenset(_jax.primitives("unstack"))


def has_no_derivative(program: Program, eqn: Equation) -> bool:
    """Is its derivative zero wherever it has one?"""
    is_real = not any(jnp.issubdtype(program.avals[v].dtype, jnp.complexfloating) for v in eqn.inputs)
    return eqn.primitive in WITHOUT_DERIVATIVE or (is_real and eqn.primitive in WITHOUT_DERIVATIVE_IF_REAL)


def meets_data(eqn: Equation, operand: int) -> bool:
    """Is a weight that is this operand the weight of a head: that of a contraction, or the kernel of a convolution?"""
    if eqn.primitive is CONV:
        return operand == 1 and eqn.params["batch_group_count"] == 1
    return eqn.primitive is DOT


class Links:
    """How one operand of an equation reaches one of its outputs, worked out once and kept: `program.links`."""

    def __init__(self, program: Program):
        self.program = program
        self._known: dict[tuple[int, int, int], Link | None] = {}
        self._rules: dict[int, Rule] = {}

    def __call__(self, eqn: Equation, operand: int, output: int) -> Link | None:
        """A `Link`, or None where no derivative flows."""
        key = (eqn.outputs[0], operand, output)
        if key not in self._known:
            self._known[key] = self._find(eqn, operand, output)
        return self._known[key]

    @staticmethod
    def broadcasts(eqn: Equation) -> bool:
        """Does the equation broadcast its operands without saying so?"""
        return eqn.primitive in ELEMENTWISE

    def unproven(self, eqn: Equation) -> list[Equation]:
        """What could not be shown to pull cotangents back by a linear map: the equation, or calls inside a loop."""
        if eqn.is_custom or eqn.may_have_a_rule:
            return [] if not eqn.outputs or self._rule(eqn).is_linear else [eqn]
        inside = [(program.links, inner) for program in _inside(eqn) for inner in program.equations]
        return [found for links, inner in inside for found in links.unproven(inner)]

    def _rule(self, eqn: Equation) -> Rule:
        if eqn.outputs[0] not in self._rules:
            moved = [i for i, v in enumerate(eqn.inputs) if v in self._moved]
            self._rules[eqn.outputs[0]] = find_rule(self.program, eqn, moved, Links)
        return self._rules[eqn.outputs[0]]

    @functools.cached_property
    def _moved(self) -> set[int]:
        """What has a tangent. A rule of `equinox.filter_custom_vjp` may assert that other operands have none."""
        program = self.program
        moved = set(filter(program.is_inexact, program.inputs if program.moved is None else program.moved))
        for eqn in program.equations:
            if moved.intersection(eqn.inputs) and not has_no_derivative(program, eqn):
                moved.update(filter(program.is_inexact, eqn.outputs))
        return moved

    def _find(self, eqn: Equation, operand: int, output: int) -> Link | None:
        program = self.program
        if not (program.is_inexact(eqn.inputs[operand]) and program.is_inexact(eqn.outputs[output])):
            return None
        if has_no_derivative(program, eqn):
            return None
        if eqn.primitive is None or eqn.primitive in ELEMENTWISE:
            return ALIGNED if program.shape(eqn.inputs[operand]) == program.shape(eqn.outputs[output]) else MIXING
        if eqn.primitive in PAIRWISE:
            return ALIGNED if operand == output else None
        if eqn.is_custom:
            return self._rule(eqn).links.get((operand, output))
        source = _source(program, eqn, operand, output)
        if source is not None:
            return Moved(source)
        if eqn.primitive in REDUCTIONS:
            return Merged(_rows(program.shape(eqn.inputs[operand]), eqn.params["axes"]))
        return _dot(program, eqn, operand) if eqn.primitive is DOT else MIXING


def is_collective(eqn: Equation) -> bool:
    """Does it, or anything that it runs, reach over a named axis around the step?"""
    inside = [inner for program in _inside(eqn) for inner in program.equations]
    return eqn.is_collective or any(map(is_collective, inside))


def _inside(eqn: Equation) -> list[Program]:
    return [flatten(held, Links) for held in _jax.inner_jaxprs(eqn)]


def _source(program: Program, eqn: Equation, operand: int, output: int) -> Positions | None:
    """Which element of the operand each element of the output copies; None if it is no movement."""
    shape = program.shape(eqn.inputs[operand])
    if eqn.primitive in SHAPED:
        return np.asarray(SHAPED[eqn.primitive](indices(shape), **eqn.params))
    if eqn.primitive is SPLIT:
        cuts = np.cumsum(eqn.params["sizes"])[:-1]
        return np.split(indices(shape), cuts, eqn.params["axis"])[output]
    if eqn.primitive in UNSTACK:
        return np.asarray(np.moveaxis(indices(shape), eqn.params["axis"], 0)[output])
    if eqn.primitive in JOINED:
        return _run(eqn, [_numbered(program, v, i == operand) for i, v in enumerate(eqn.inputs)])
    if eqn.primitive in INDEXED:
        return _indexed(program, eqn, operand)
    return None


def _numbered(program: Program, var: int, numbered: bool) -> Positions:
    shape = program.shape(var)
    return indices(shape) if numbered else np.full(shape, NONE)


def _run(eqn: Equation, arrays: list[Positions]) -> Positions:
    """Run a data movement on element numbers, with NumPy where that is simple."""
    if eqn.primitive in JOINED and "dimension" in eqn.params:
        return np.concatenate(arrays, eqn.params["dimension"])
    with jax.ensure_compile_time_eval():
        return np.asarray(eqn.bind([jnp.asarray(a, np.int32) for a in arrays])[0])


def _indexed(program: Program, eqn: Equation, operand: int) -> Positions | None:
    """Slices, gathers and scatters: a movement if the indices are known, otherwise mixing."""
    if eqn.params.get("update_jaxpr") is not None:  # `x.at[i].apply(f)` is more than a movement
        return None
    arrays: list[Positions] = []
    for i, var in enumerate(eqn.inputs):
        if program.is_inexact(var):
            arrays.append(_numbered(program, var, i == operand))
        else:
            known = constant_value(program, var)
            if known is None:
                return None
            arrays.append(known)
    with jax.ensure_compile_time_eval():
        fill = {"fill_value": NONE} if "fill_value" in eqn.params else {}
        numbers = [
            jnp.asarray(a, np.int32) if program.is_inexact(v) else jnp.asarray(a)
            for a, v in zip(arrays, eqn.inputs, strict=True)
        ]
        params = {**eqn.params, **fill}
        assert eqn.primitive is not None
        return np.asarray(eqn.primitive.bind(*numbers, **params))


def constant_value(program: Program, var: int, found: dict[int, Any] | None = None) -> np.ndarray | None:
    """The value of a variable made from constants alone, None if there is no such value.

    `found` is what earlier calls on this program found.
    """
    with jax.ensure_compile_time_eval():
        value = _known(program, var, {} if found is None else found)
    return None if value is None else np.asarray(value)


def _known(program: Program, var: int, found: dict[int, Any]) -> Any:
    """The same as JAX has it: a typed key has no NumPy array."""
    left = [var]
    while left:
        now = left[-1]
        eqn = program.producer.get(now)
        if now in program.constants:
            value = program.constants[now]
            found[now] = None if isinstance(value, Tracer) else value
        elif eqn is None or eqn.has_effects or eqn.is_collective:
            found[now] = None
        elif now not in found:
            waiting = [v for v in eqn.inputs if v not in found]
            if waiting and all(found.get(v, 0) is not None for v in eqn.inputs):
                left.append(waiting[0])
                continue
            operands = [found.get(v) for v in eqn.inputs]
            lacks = any(value is None for value in operands)
            found.update(dict.fromkeys(eqn.outputs) if lacks else zip(eqn.outputs, eqn.bind(operands), strict=True))
        left.pop()
    return found[var]


def _rows(shape: tuple[int, ...], axes: Sequence[SupportsIndex]) -> Positions:
    """Where each element goes when `axes` are reduced."""
    kept = tuple(1 if d in axes else n for d, n in enumerate(shape))
    return np.broadcast_to(indices(kept), shape)


def _dot(program: Program, eqn: Equation, operand: int) -> Link:
    """A contraction keeps positions apart only where an operand's element enters one output."""
    contracting, batch = eqn.params["dimension_numbers"]
    shape, other = program.shape(eqn.inputs[operand]), program.shape(eqn.inputs[1 - operand])
    free = [d for d in range(len(other)) if d not in (*contracting[1 - operand], *batch[1 - operand])]
    mine = [d for d in range(len(shape)) if d not in (*contracting[operand], *batch[operand])]
    if not contracting[0]:
        return Moved(_outer(shape, batch[operand], mine, [other[d] for d in free], operand))
    if any(other[d] != 1 for d in free):
        return MIXING
    kept = [*batch[operand], *mine]
    order = indices(tuple(shape[d] for d in kept))
    padded = order.reshape(*order.shape, *(1,) * len(contracting[operand]))
    inverse = np.argsort([*kept, *contracting[operand]])
    return Merged(np.broadcast_to(padded.transpose(inverse), shape))


def _outer(shape: tuple[int, ...], batch: tuple[int, ...], mine: list[int], free: list[int], operand: int) -> Positions:
    """`dot_general` with nothing to contract: an outer product, (batch, left, right)."""
    source = indices(shape).transpose([*batch, *mine])
    lead = [shape[d] for d in batch]
    own = [shape[d] for d in mine]
    split = [*lead, *own, *(1,) * len(free)] if operand == 0 else [*lead, *(1,) * len(free), *own]
    full = [*lead, *own, *free] if operand == 0 else [*lead, *free, *own]
    return np.broadcast_to(source.reshape(split), full)
